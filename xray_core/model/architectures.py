"""Networks built from recipes: flat Keras graphs that include their preprocessing.

Only Keras is used, so that a network can be built and trained on any of its backends. Every
network has one input of grey levels in [0, 255], shape (B, 224, 224, 1), and three layers with
fixed names: `features` (B, D), the input of the head; `logit` (B, 1), the log-odds of pneumonia;
and `probability` (B, 1).

The graph is flat: the layers of the backbone are layers of the network. If the backbone were one
nested layer, class activation maps could not access its activations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from xray_core.errors import RecipeError
from xray_core.model.recipes import CAFFE_MEANS, INPUT_SIZE, Recipe

_LAST_LAYER = {"conv4": "conv4_block6_out", "conv5": "conv5_block3_out"}


def build_network(
    recipe: Recipe,
    *,
    input_size: tuple[int, int] = INPUT_SIZE,
    backbone_weights: str | Path | None = None,
) -> keras.Model:
    """Build the network of a recipe.

    Parameters
    ----------
    recipe : Recipe
        Settings of the network.
    input_size : (int, int)
        Height and width of the input in pixels.
    backbone_weights : str or Path, optional
        "imagenet" (downloaded by Keras), a weights file of the complete backbone, or None for
        random weights. Ignored if the recipe has no backbone.

    Returns
    -------
    keras.Model
        Input (B, H, W, 1) float32, grey in [0, 255]. Output of a classifier: probability of
        pneumonia (B, 1); of a segmentation: probability of lung (B, H, W, 1), both float32.

    Raises
    ------
    RecipeError
        The weights do not fit the backbone, or cannot be downloaded.
    """
    image = keras.Input((*input_size, 1), name="image")  # (B, H, W, 1)
    if recipe.kind == "segmentation":
        return keras.Model(image, _lung_mask(recipe, image), name=recipe.name.replace("-", "_"))
    if recipe.backbone is None:
        x = _preprocess(image, recipe.preprocessing, channels=1)  # (B, H, W, 1)
        for number, filters in enumerate(recipe.filters, start=1):
            x = layers.Conv2D(
                filters, 3, padding="same", activation="relu", name=f"block{number}_conv"
            )(x)  # (B, h, w, c) -> (B, h, w, filters)
            # (B, h, w, filters) -> (B, h / pool, w / pool, filters)
            x = layers.MaxPooling2D(recipe.pool, name=f"block{number}_pool")(x)
    else:
        # (B, H, W, 1) -> (B, H / 16, W / 16, 1024) up to conv4, (B, H / 32, W / 32, C) otherwise
        image, x = _backbone(recipe, image, backbone_weights)
    pool = layers.Flatten if recipe.pooling == "flatten" else layers.GlobalAveragePooling2D
    # (B, h, w, C) -> (B, D): D is C if averaged, h * w * C if flattened
    x = pool(name="features", dtype="float32")(x)
    return keras.Model(image, _head(recipe, x), name=recipe.name.replace("-", "_"))


def last_spatial_layer(network: keras.Model) -> str:
    """Return the name of the last layer with an output of shape (B, h, w, C).

    Class activation maps are computed from its activations.

    Raises
    ------
    ValueError
        There is no such layer.
    """
    for layer in reversed(network.layers):
        if len(getattr(layer.output, "shape", ())) == 4:
            return str(layer.name)
    raise ValueError(f"{network.name} has no layer with a height and a width.")


def describe_layers(network: keras.Model) -> list[dict[str, Any]]:
    """Describe every layer of a network, for a bundle's `config.json`.

    Returns
    -------
    list of dict
        `name`, `type`, `shape` of the output without the batch, number of `parameters`, and
        whether the layer is `trained`.
    """
    return [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "shape": list(layer.output.shape[1:]),
            "parameters": int(layer.count_params()),
            "trained": bool(layer.trainable_weights),
        }
        for layer in network.layers
    ]


def _preprocess(image: Any, kind: str, *, channels: int) -> Any:
    x = image  # (B, H, W, 1)
    if channels > 1:
        # (B, H, W, 1) -> (B, H, W, channels)
        x = layers.Concatenate(name="three_channels", dtype="float32")([image] * channels)
    if kind == "standardize":
        # Per image, so that brightness and contrast do not matter.
        return layers.LayerNormalization(
            axis=(1, 2, 3), center=False, scale=False, name="preprocessing", dtype="float32"
        )(x)
    if kind == "rescale":
        return layers.Rescaling(1 / 255, name="preprocessing", dtype="float32")(x)
    # All channels hold the same grey levels, so the channel order affects only the means.
    offset = [-mean for mean in CAFFE_MEANS] if channels == 3 else -sum(CAFFE_MEANS) / 3
    return layers.Rescaling(1.0, offset=offset, name="preprocessing", dtype="float32")(x)


def _lung_mask(recipe: Recipe, image: Any) -> Any:
    """Return the probability of lung for every pixel: (B, H, W, 1) -> (B, H, W, 1).

    A small U-Net (Ronneberger et al., MICCAI 2015). Its finest resolution is half of the input's.
    """
    x = _preprocess(image, recipe.preprocessing, channels=1)
    skipped = []
    for number, filters in enumerate(recipe.filters, start=1):
        x = _convolution(
            x, filters, f"down{number}a", strides=2
        )  # (B, h, w, c) -> (B, h/2, w/2, f)
        x = _convolution(x, filters, f"down{number}b")
        skipped.append(x)
    for number, (filters, skip) in enumerate(
        zip(recipe.filters[-2::-1], skipped[-2::-1], strict=True), start=1
    ):
        x = layers.UpSampling2D(2, name=f"up{number}")(x)  # (B, h, w, c) -> (B, 2h, 2w, c)
        x = layers.Concatenate(name=f"join{number}")([x, skip])
        x = _convolution(x, filters, f"up{number}a")
    x = layers.Conv2D(1, 3, padding="same", name="half")(x)  # (B, H/2, W/2, 1)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="lung_logit")(x)  # (B, H, W, 1)
    return layers.Activation("sigmoid", name="lungs", dtype="float32")(x)


def _convolution(x: Any, filters: int, name: str, strides: int = 1) -> Any:
    x = layers.Conv2D(
        filters, 3, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _backbone(recipe: Recipe, image: Any, weights: str | Path | None) -> tuple[Any, Any]:
    """Return the input and the output of the backbone: (B, H, W, 1) -> (B, h, w, C)."""
    resnet = recipe.backbone == "resnet50"
    application = keras.applications.ResNet50 if resnet else keras.applications.VGG16
    last = _LAST_LAYER[recipe.last_stage] if resnet else "block5_pool"
    x = _preprocess(image, recipe.preprocessing, channels=3)  # (B, H, W, 1) -> (B, H, W, 3)
    complete = application(include_top=False, weights=None, input_tensor=x)
    if weights is not None:
        pretrained = _pretrained(application, x.shape[1:], weights)
        complete.set_weights(pretrained.get_weights())
    body = keras.Model(image, complete.get_layer(last).output)
    clone = keras.models.clone_model(body, clone_function=_clone_layer)
    clone.set_weights(body.get_weights())
    for layer in clone.layers:
        layer.trainable = recipe.train_backbone
    return clone.input, clone.output


@keras.saving.register_keras_serializable("xray_core")
class FixedBatchNormalization(layers.BatchNormalization):
    """Batch normalisation with fixed mean and variance, in training as well.

    A batch of chest X-rays is too small and too homogeneous to estimate these statistics. With
    batch statistics in training and running averages in inference, the features would differ
    between the two. Scale and offset are trained.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs, training=False, mask=mask)


def _clone_layer(layer: layers.Layer) -> layers.Layer:
    kind = type(layer)
    if kind is layers.BatchNormalization:
        kind = FixedBatchNormalization
    return kind.from_config(layer.get_config())


def _pretrained(application: Any, shape: tuple[int, ...], weights: str | Path) -> keras.Model:
    name = application.__name__
    if str(weights) == "imagenet":
        try:
            return application(include_top=False, weights="imagenet", input_shape=shape)
        except Exception as error:  # urllib, ssl, http and the hash check raise many types
            raise RecipeError(
                f"The ImageNet weights of {name} could not be downloaded. Check the internet "
                "connection, or give a file with --backbone-weights FILE (or --backbone-weights "
                "none to start from random weights)."
            ) from error
    if not Path(weights).is_file():
        raise RecipeError(f"There is no weights file {weights}.")
    try:
        return application(include_top=False, weights=str(weights), input_shape=shape)
    except Exception as error:  # h5py and Keras raise many types
        raise RecipeError(f"The weights in {weights} do not fit {name} without its top.") from error


def _head(recipe: Recipe, x: Any) -> Any:
    """Return the probability (B, 1) for features (B, D), in float32 with any training precision."""
    dropout = layers.Dropout(recipe.dropout, name="dropout", dtype="float32")
    if recipe.dropout_first:
        x = dropout(x)
    if recipe.dense:
        # (B, D) -> (B, dense)
        x = layers.Dense(recipe.dense, activation="relu", name="hidden", dtype="float32")(x)
    if recipe.batch_norm:
        # The default momentum of 0.99 is too slow for trainings with so few steps.
        x = layers.BatchNormalization(momentum=0.9, name="hidden_norm", dtype="float32")(x)
    if recipe.dropout and not recipe.dropout_first:
        x = dropout(x)
    if recipe.output == "softmax":
        # (B, D) -> (B, 2): probabilities of normal and of pneumonia
        both = layers.Dense(2, activation="softmax", name="softmax", dtype="float32")(x)
        logs = keras.ops.log(keras.ops.clip(both, 1e-30, 1.0))
        # (B, 2) -> (B, 1)
        logit = layers.Subtract(name="logit", dtype="float32")([logs[:, 1:2], logs[:, 0:1]])
    else:
        logit = layers.Dense(1, name="logit", dtype="float32")(x)  # (B, D) -> (B, 1)
    return layers.Activation("sigmoid", name="probability", dtype="float32")(logit)
