"""The networks of `xray_core.model.architectures` as OpenVINO graphs, built without TensorFlow.

The weights are those of the bundle: layers are found in its HDF5 file by the names that
`architectures` gives them. `tests/model/test_engine.py` compares the outputs with those of Keras
for every recipe, since the architecture is written twice.

Convolutions of OpenVINO take images with the channels first. The inputs and outputs of the whole
network have the channels last, as in Keras. A batch normalisation that follows a convolution is
multiplied into its weights, in double precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_core.model.engine import import_openvino
from xray_core.model.recipes import CAFFE_MEANS, INPUT_SIZE, Recipe

FloatArray = NDArray[np.float32]
Doubles = NDArray[np.float64]
Weights = dict[str, list[FloatArray]]
"""The arrays of each layer that has any, by the name of the layer, in the order of Keras."""

# Blocks and filters of each stage of ResNet50; convolutions and filters of each block of VGG16.
_RESNET50 = {"conv2": (3, 64), "conv3": (4, 128), "conv4": (6, 256), "conv5": (3, 512)}
_VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
_EPSILON = 1e-3  # default of Keras, for all but the normalisations of ResNet50
_RESNET_EPSILON = 1.001e-5


def read_weights(file: Path) -> Weights:
    """Read the weights of a network from an HDF5 file that Keras wrote.

    Parameters
    ----------
    file : Path
        Checked by `bundle_checks.check_weights`.

    Returns
    -------
    dict of str to list of ndarray of float32
        The arrays of each layer, by the name of the layer.

    Raises
    ------
    KeyError, OSError
        The file does not have the structure of Keras's files.
    """
    import h5py

    weights: Weights = {}
    with h5py.File(file, "r") as root:
        for layer in root["layers"].values():
            stored = layer["vars"]
            if len(stored):
                weights[str(stored.attrs["name"])] = [
                    stored[str(number)][()].astype(np.float32) for number in range(len(stored))
                ]
    return weights


class Graph(NamedTuple):
    """A network as an OpenVINO model.

    Attributes
    ----------
    model : openvino.Model
        Input (B, H, W, 1) float32, grey in [0, 255]. Outputs of a classifier, in this order:
        `features` (B, D), `logit` (B, 1) and `activations` (B, h, w, C), which are those of
        `architectures.last_spatial_layer`; of a segmentation: `lungs` (B, H, W, 1).
    linear_head : ndarray of float32, shape (C,), or None
        The weights of a logit that is linear in the averaged activations; None for other heads.
    """

    model: Any
    linear_head: FloatArray | None

    @property
    def feature_count(self) -> int:
        """Number of features D of a classifier."""
        return int(self.model.output("features").partial_shape[1].get_length())


def build_graph(
    recipe: Recipe, weights: Weights, input_size: tuple[int, int] = INPUT_SIZE
) -> Graph:
    """Build the network of a recipe as an OpenVINO model.

    Parameters
    ----------
    recipe : Recipe
        Settings of the network.
    weights : dict of str to list of ndarray
        As `read_weights` returns them.
    input_size : (int, int)
        Height H and width W of the input in pixels.

    Returns
    -------
    Graph
        The network, for `xray_core.model.engine.compile_graph`.

    Raises
    ------
    ValueError
        The weights are not those of the recipe's network: a layer is missing, unknown or of
        another shape.
    """
    model = _Builder(recipe, weights, input_size).model()
    return Graph(model, weights["logit"][0][:, 0] if recipe.has_linear_head else None)


class _Builder:
    """Builds one graph; every layer's weights must be used exactly once."""

    def __init__(self, recipe: Recipe, weights: Weights, input_size: tuple[int, int]) -> None:
        self.ops: Any = import_openvino().opset13
        self.recipe = recipe
        self.input_size = input_size
        self.unused = dict(weights)

    def model(self) -> Any:
        image = self.ops.parameter([-1, *self.input_size, 1], np.float32, name="image")
        # (B, H, W, 1) -> (B, 1, H, W)
        x = self.ops.reshape(image, np.array([0, 1, *self.input_size]), special_zero=True)
        if self.recipe.kind == "segmentation":
            outputs = {"lungs": self._lung_mask(x)}
        else:
            outputs = self._classifier(x)
        if self.unused:
            raise ValueError(f"The network of the recipe has no layer {next(iter(self.unused))}.")
        for name, output in outputs.items():
            output.output(0).set_names({name})
        return import_openvino().Model(list(outputs.values()), [image], self.recipe.name)

    def _classifier(self, x: Any) -> dict[str, Any]:
        recipe = self.recipe
        channels = 1 if recipe.backbone is None else 3
        x = self._preprocess(x, channels)  # (B, 1, H, W) -> (B, channels, H, W)
        if recipe.backbone == "resnet50":
            x = self._resnet50(x)
        elif recipe.backbone == "vgg16":
            for block, (count, filters) in enumerate(_VGG16, start=1):
                for number in range(1, count + 1):
                    x = self._relu(self._convolution(x, f"block{block}_conv{number}", filters))
                x = self._max_pool(x, 2, 2)
        else:
            for block, filters in enumerate(recipe.filters, start=1):
                x = self._relu(self._convolution(x, f"block{block}_conv", filters))
                x = self._max_pool(x, recipe.pool, recipe.pool)
        activations = self.ops.transpose(x, np.array([0, 2, 3, 1]))  # (B, C, h, w) -> (B, h, w, C)
        if recipe.pooling == "flatten":
            features = self.ops.reshape(activations, np.array([0, -1]), special_zero=True)
        else:
            features = self.ops.reduce_mean(activations, np.array([1, 2]))
        return {
            "features": features,
            "logit": self._head(features),
            "activations": activations,
        }

    def _preprocess(self, x: Any, channels: int) -> Any:
        if channels > 1:
            x = self.ops.concat([x] * channels, axis=1)
        if self.recipe.preprocessing == "standardize":
            return self.ops.mvn(x, np.array([1, 2, 3]), True, _EPSILON, "inside_sqrt")
        if self.recipe.preprocessing == "rescale":
            return self.ops.multiply(x, _constant(1 / 255))
        offset = CAFFE_MEANS if channels == 3 else (sum(CAFFE_MEANS) / 3,)
        return self.ops.subtract(x, _per_channel(np.array(offset)))

    def _resnet50(self, x: Any) -> Any:
        x = self._relu(
            self._convolution(x, "conv1_conv", 64, side=7, stride=2, padding=3, norm="conv1_bn")
        )  # (B, 3, H, W) -> (B, 64, H/2, W/2)
        x = self._max_pool(x, 3, 2, padding=1)
        for stage, (blocks, filters) in _RESNET50.items():
            for block in range(1, blocks + 1):
                stride = 2 if block == 1 and stage != "conv2" else 1
                x = self._residual_block(x, f"{stage}_block{block}", filters, stride, block == 1)
            if stage == self.recipe.last_stage:
                break
        return x

    def _residual_block(self, x: Any, name: str, filters: int, stride: int, projects: bool) -> Any:
        def convolution(x: Any, number: int, filters: int, side: int = 1, stride: int = 1) -> Any:
            names = f"{name}_{number}_conv", f"{name}_{number}_bn"
            return self._convolution(x, names[0], filters, side=side, stride=stride, norm=names[1])

        shortcut = convolution(x, 0, 4 * filters, stride=stride) if projects else x
        x = self._relu(convolution(x, 1, filters, stride=stride))
        x = self._relu(convolution(x, 2, filters, side=3))
        return self._relu(self.ops.add(shortcut, convolution(x, 3, 4 * filters)))

    def _lung_mask(self, x: Any) -> Any:
        def convolution(x: Any, name: str, filters: int, stride: int = 1) -> Any:
            norm = f"{name}_norm"
            return self._relu(
                self._convolution(x, f"{name}_conv", filters, stride=stride, norm=norm, bias=False)
            )

        filters = self.recipe.filters
        x = self._preprocess(x, 1)
        skipped = []
        for number, count in enumerate(filters, start=1):
            x = convolution(x, f"down{number}a", count, 2)  # (B, c, h, w) -> (B, f, h/2, w/2)
            x = convolution(x, f"down{number}b", count)
            skipped.append(x)
        for number, (count, skip) in enumerate(
            zip(filters[-2::-1], skipped[-2::-1], strict=True), start=1
        ):
            x = self._double(x, "nearest")  # (B, c, h, w) -> (B, c, 2h, 2w)
            x = convolution(self.ops.concat([x, skip], axis=1), f"up{number}a", count)
        x = self._double(self._convolution(x, "half", 1), "linear")  # (B, 1, H, W)
        x = self.ops.reshape(x, np.array([0, *self.input_size, 1]), special_zero=True)
        return self.ops.sigmoid(x)

    def _head(self, x: Any) -> Any:
        recipe = self.recipe
        if recipe.dense:
            x = self._relu(self._dense(x, "hidden", recipe.dense))  # (B, D) -> (B, dense)
        if recipe.batch_norm:
            scale, offset = self._normalisation("hidden_norm", _width(x, 1), _EPSILON)
            x = self.ops.add(self.ops.multiply(x, _constant(scale)), _constant(offset))
        if recipe.output == "sigmoid":
            return self._dense(x, "logit", 1)
        both = self.ops.softmax(self._dense(x, "softmax", 2), axis=1)  # (B, 2)
        logs = self.ops.log(self.ops.clamp(both, 1e-30, 1.0))
        return self.ops.matmul(logs, _constant([[-1.0], [1.0]]), False, False)  # (B, 2) -> (B, 1)

    def _convolution(
        self,
        x: Any,
        name: str,
        filters: int,
        *,
        side: int = 3,
        stride: int = 1,
        padding: int | None = None,
        norm: str = "",
        bias: bool = True,
    ) -> Any:
        """Convolve with zeros around the image: `padding` on each side, or as Keras's "same"."""
        shapes = [(side, side, _width(x, 1), filters), (filters,)]
        kernel, *rest = self._take(name, *shapes[: 1 + bias])  # (h, w, c, f)
        offset = rest[0] if rest else np.zeros(filters)
        if norm:
            epsilon = _EPSILON if self.recipe.backbone is None else _RESNET_EPSILON
            scale, shift = self._normalisation(norm, filters, epsilon)
            kernel, offset = kernel * scale, offset * scale + shift
        sides = [padding or 0] * 2
        result = self.ops.convolution(
            x,
            _constant(kernel.transpose(3, 2, 0, 1)),  # (h, w, c, f) -> (f, c, h, w)
            strides=[stride] * 2,
            pads_begin=sides,
            pads_end=sides,
            dilations=[1, 1],
            auto_pad="same_upper" if padding is None else "explicit",
        )
        return self.ops.add(result, _per_channel(offset))

    def _normalisation(self, name: str, width: int, epsilon: float) -> tuple[Doubles, Doubles]:
        """Return a batch normalisation as a factor and an offset of each channel."""
        gamma, beta, mean, variance = self._take(name, *[(width,)] * 4)
        scale = gamma / np.sqrt(variance + epsilon)
        return scale, beta - mean * scale

    def _take(self, name: str, *shapes: tuple[int, ...]) -> list[Doubles]:
        """Return the weights of a layer, of the given shapes; each layer is taken once.

        The shapes are checked, since a foreign file could ask for activations of any size.
        """
        arrays = self.unused.pop(name, [])
        if [array.shape for array in arrays] != list(shapes):
            raise ValueError(f"The layer {name} is missing or has another shape.")
        return [array.astype(np.float64) for array in arrays]

    def _max_pool(self, x: Any, side: int, stride: int, padding: int = 0) -> Any:
        # ResNet50 pads with zeros; a pooling that leaves out what is outside is the same, since
        # its inputs are not negative.
        pooled = self.ops.max_pool(
            x, [stride] * 2, [1, 1], [padding] * 2, [padding] * 2, [side] * 2, "floor"
        )
        return pooled.output(0)  # the other output: the positions of the maxima

    def _double(self, x: Any, mode: str) -> Any:
        nearest = mode == "nearest"
        return self.ops.interpolate(
            x,
            np.array([2.0, 2.0], np.float32),
            "nearest" if nearest else "linear_onnx",
            "scales",
            axes=np.array([2, 3]),
            coordinate_transformation_mode="asymmetric" if nearest else "half_pixel",
            nearest_mode="floor",
        )

    def _dense(self, x: Any, name: str, units: int) -> Any:
        kernel, bias = self._take(name, (_width(x, 1), units), (units,))
        return self.ops.add(self.ops.matmul(x, _constant(kernel), False, False), _constant(bias))

    def _relu(self, x: Any) -> Any:
        return self.ops.relu(x)


def _width(x: Any, axis: int) -> int:
    """Return the size of an axis that is known before the graph runs."""
    output = x if hasattr(x, "partial_shape") else x.output(0)
    return int(output.partial_shape[axis].get_length())


def _constant(values: Any) -> Any:
    return import_openvino().opset13.constant(np.ascontiguousarray(values, dtype=np.float32))


def _per_channel(values: NDArray[np.floating]) -> Any:
    return _constant(values.reshape(1, -1, 1, 1))
