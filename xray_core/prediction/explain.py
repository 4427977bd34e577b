"""Class-activation maps: which areas of an image raised the network's score for pneumonia.

Every map is of the logit, the log-odds of pneumonia, whatever the verdict: where no pneumonia is
detected it shows which areas contributed most to the pneumonia score. It does not outline disease.
Grad-CAM is computed here, for every image, as a caution rests on it; the other methods are those of
tf-keras-vis.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import keras

METHODS = ("gradcam", "gradcam++", "scorecam", "layercam")
METHOD_NAMES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "scorecam": "Score-CAM",
    "layercam": "Layer-CAM",
}
SCORECAM_CHANNELS = 32
"""Channels that Score-CAM tries, those that vary most over the image: one forward pass each."""

BORDER_BAND = 0.1
"""Width of the border, as a share of the image's height and width."""


class GradCam:
    """Grad-CAM of the logit from the last spatial layer's activations alone, for whole batches.

    The weight of a channel is the mean of the logit's gradient over that channel's activations
    (Selvaraju et al., ICCV 2017). Where the logit is a dense unit on globally averaged activations
    (but for dropout, which does nothing here), that gradient is the unit's own weight over h x w,
    the same for every image. Behind any other head the gradient is taken, through the head only.
    """

    def __init__(self, network: "keras.Model") -> None:
        from xray_core.model.architectures import last_spatial_layer

        self.layer = last_spatial_layer(network)
        kernel = _linear_head(network, self.layer)
        self._weights: Callable[
            ..., NDArray[np.float32]
        ]  # activations -> (N, C), or (1, C) for all
        if kernel is None:
            self._weights = _channel_gradient(network, self.layer)
        else:
            self._weights = lambda _: kernel[np.newaxis]

    def coarse_maps(self, activations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps (N, h, w) of activations (N, h, w, C), each as `stretched` has it."""
        weights = self._weights(activations)[:, np.newaxis, :, np.newaxis]  # (N or 1, 1, C, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            raw = activations @ weights  # (N, h, w, C) -> (N, h, w, 1)
        return np.stack([stretched(one) for one in raw[..., 0]])


def _linear_head(network: "keras.Model", layer: str) -> NDArray[np.float32] | None:
    """Return the weights (C,) of a dense logit on averaged activations, None for another head."""
    import keras

    logit = network.get_layer("logit")
    if not isinstance(logit, keras.layers.Dense) or logit.units != 1:
        return None
    if logit.activation is not keras.activations.linear:
        return None
    before = _source(logit)
    while isinstance(before, keras.layers.Dropout):
        before = _source(before)
    averaged = isinstance(before, keras.layers.GlobalAveragePooling2D)
    if not averaged or _source(before) is not network.get_layer(layer):
        return None
    return np.asarray(logit.get_weights()[0][:, 0], dtype=np.float32)


def _source(layer: Any) -> Any:
    """Return the layer that feeds a layer with a single input."""
    return layer.input._keras_history.operation


def _channel_gradient(network: "keras.Model", layer: str) -> Callable[..., NDArray[np.float32]]:
    """Return a function of activations (N, h, w, C): the logit's mean gradient a channel, (N, C).

    It is traced once, for every N, so that threads do not trace at once.
    """
    import keras
    import tensorflow as tf

    head = keras.Model(network.get_layer(layer).output, network.get_layer("logit").output)

    def mean_gradient(activations: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(activations)
            logit = head(activations, training=False)  # (N, 1)
        return tf.reduce_mean(tape.gradient(logit, activations), axis=(1, 2))

    signature = tf.TensorSpec((None, *head.input_shape[1:]), tf.float32)
    traced = tf.function(mean_gradient, autograph=False).get_concrete_function(signature)
    return lambda activations: traced(tf.constant(activations)).numpy()


def stretched(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the positive part of a map, scaled to a maximum of 1; all zero where there is none."""
    positive = np.maximum(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    top = float(positive.max())
    return (positive / (top if top > 0 else 1.0)).astype(np.float32)


class Explainer:
    """Draws maps of one network with tf-keras-vis, whose objects are built once and kept.

    Those objects hold state, so one lock lets one map be drawn at a time. Grad-CAM++ and Layer-CAM
    need the network only from its last spatial layer on and take that layer's activations from the
    forward pass that predicted; Score-CAM runs the network again. Grad-CAM is `GradCam`'s.
    """

    def __init__(self, network: "keras.Model") -> None:
        import keras

        self.gradcam = GradCam(network)
        self.layer = self.gradcam.layer
        activations = network.get_layer(self.layer).output  # (B, h, w, C)
        logit = network.get_layer("logit").output
        self._head = keras.Model(activations, logit)
        # tf-keras-vis takes a softmax over the outputs for Score-CAM, which is 1 for a single
        # unit: two units, 0 and the logit, make it the probability.
        pair = keras.layers.ZeroPadding1D((1, 0))(keras.layers.Reshape((1, 1))(logit))
        self._whole = keras.Model(network.inputs, keras.layers.Flatten()(pair))
        # It would draw a progress bar for the run over the channels.
        self._whole.predict = partial(self._whole.predict, verbose=0)
        self._channels = min(SCORECAM_CHANNELS, int(activations.shape[-1]))
        self._lock = threading.Lock()
        self._kept: dict[str, Callable[..., Any]] = {}

    def coarse_map(
        self, method: str, image: NDArray[np.float32], activations: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the map (h, w) on the network's own grid, in [0, 1] with its maximum at 1.

        `image` is the model input (1, H, W, 1), `activations` (1, h, w, C) what the last spatial
        layer made of it. Where nothing spoke for pneumonia the map is all zero. Raises ValueError
        for an unknown method.
        """
        if method not in METHODS:
            raise ValueError(f"The methods are {', '.join(METHODS)}. Received: {method!r}")
        if method == "gradcam":
            return self.gradcam.coarse_maps(activations)[0]
        with self._lock:
            if method not in self._kept:
                self._kept[method] = self._visualiser(method)
            seed = image if method == "scorecam" else activations
            raw = np.asarray(self._kept[method](seed_input=seed), dtype=np.float32)[0]
        return stretched(raw)

    def _visualiser(self, method: str) -> Callable[..., Any]:
        from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
        from tf_keras_vis.layercam import Layercam
        from tf_keras_vis.scorecam import Scorecam

        plain = {"expand_cam": False, "normalize_cam": False}
        if method == "scorecam":
            return partial(
                Scorecam(self._whole),
                _pneumonia_of_two,
                penultimate_layer=self.layer,
                seek_penultimate_conv_layer=False,
                max_N=self._channels,
                **plain,
            )
        kinds = {"gradcam++": GradcamPlusPlus, "layercam": Layercam}
        return partial(
            kinds[method](self._head),
            _logit,
            penultimate_layer=self._head.layers[0],
            seek_penultimate_conv_layer=False,
            **plain,
        )


def _logit(output: Any) -> Any:
    return output[:, 0]


def _pneumonia_of_two(output: Any) -> Any:
    return output[:, 1]


def on_image(coarse: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map (h, w) as smooth float32 (H, W) in [0, 1] on the image's own pixels.

    The network sees the image squashed to its input size, so each direction stretches on its own.
    """
    image = Image.fromarray(np.ascontiguousarray(coarse, dtype=np.float32))
    resized = image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0)


def border_share(heatmap: NDArray[np.float32], band: float = BORDER_BAND) -> float:
    """Return the share in [0, 1] of a map's energy that lies in the outer `band` on each side.

    An even map has 1 - (1 - 2 band)^2 there, 36% for a band of 10%. An empty map has 0.
    """
    total = float(heatmap.sum(dtype=np.float64))
    if total <= 0:
        return 0.0
    height, width = heatmap.shape
    rows, columns = round(height * band), round(width * band)
    inner = heatmap[rows : height - rows, columns : width - columns]
    return 1.0 - float(inner.sum(dtype=np.float64)) / total
