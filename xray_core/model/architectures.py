"""From a recipe to a network: flat Keras graphs that take grey images and hold their preprocessing.

Pure Keras, so that a network can be built and trained on any of its backends. Every network has
one input, grey levels in [0, 255] of shape (B, 224, 224, 1), and three layers that others find by
name: `features` (B, D), pooled, before the head; `logit` (B, 1), the log-odds of pneumonia; and
`probability` (B, 1).

Flat means that the backbone's layers are layers of the network itself. A backbone nested as one
layer would hide its activations from class-activation maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from xray_core.errors import RecipeError
from xray_core.model.recipes import INPUT_SIZE, Recipe

# ImageNet's mean blue, green and red, taken off by the preprocessing called "caffe" (Keras' own
# for ResNet50 and VGG16: the networks were trained on images read in this order).
CAFFE_MEANS = (103.939, 116.779, 123.68)

_LAST_LAYER = {"conv4": "conv4_block6_out", "conv5": "conv5_block3_out"}


def build_network(
    recipe: Recipe,
    *,
    input_size: tuple[int, int] = INPUT_SIZE,
    backbone_weights: str | Path | None = None,
) -> keras.Model:
    """Build the network of a recipe.

    Args:
        recipe: which network.
        input_size: height and width in pixels; tests use small ones.
        backbone_weights: "imagenet" (downloaded by Keras), a weights file for the whole backbone,
            or None for random ones. Ignored where there is no backbone.

    Returns:
        Model from (B, H, W, 1) float32 in [0, 255] to `probability` (B, 1) float32.

    Raises:
        RecipeError: the weights do not fit, or cannot be downloaded.
    """
    image = keras.Input((*input_size, 1), name="image")  # (B, H, W, 1)
    if recipe.backbone is None:
        x = _preprocessed(image, recipe.preprocessing, channels=1)
        for number, filters in enumerate(recipe.filters, start=1):
            # (B, h, w, c) -> (B, h/pool, w/pool, filters)
            x = layers.Conv2D(
                filters, 3, padding="same", activation="relu", name=f"block{number}_conv"
            )(x)
            x = layers.MaxPooling2D(recipe.pool, name=f"block{number}_pool")(x)
    else:
        image, x = _backbone(recipe, image, backbone_weights)  # (B, h, w, C)
    pool = layers.Flatten if recipe.pooling == "flatten" else layers.GlobalAveragePooling2D
    x = pool(name="features", dtype="float32")(x)  # (B, h, w, C) -> (B, D)
    return keras.Model(image, _head(recipe, x), name=recipe.name.replace("-", "_"))


def last_spatial_layer(network: keras.Model) -> str:
    """Name of the last layer that still has a height and a width: the one that maps are made of."""
    for layer in reversed(network.layers):
        if len(getattr(layer.output, "shape", ())) == 4:
            return str(layer.name)
    raise ValueError(f"{network.name} has no layer with a height and a width.")


def layer_table(network: keras.Model) -> list[dict[str, Any]]:
    """One row a layer: name, type, output shape without the batch, parameters, whether trained."""
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


def _preprocessed(image: Any, kind: str, *, channels: int) -> Any:
    """Grey levels to what the network expects: (B, H, W, 1) -> (B, H, W, channels)."""
    x = (
        image
        if channels == 1
        else layers.Concatenate(name="three_channels", dtype="float32")([image] * channels)
    )
    if kind == "rescale":
        return layers.Rescaling(1 / 255, name="preprocessing", dtype="float32")(x)
    # Grey has no channel order: blue, green and red differ in the mean that is taken off alone.
    offset = [-mean for mean in CAFFE_MEANS] if channels == 3 else -sum(CAFFE_MEANS) / 3
    return layers.Rescaling(1.0, offset=offset, name="preprocessing", dtype="float32")(x)


def _backbone(recipe: Recipe, image: Any, weights: str | Path | None) -> tuple[Any, Any]:
    """The convolutional part after `image`, flat: (B, H, W, 1) -> (B, h, w, C)."""
    resnet = recipe.backbone == "resnet50"
    make = keras.applications.ResNet50 if resnet else keras.applications.VGG16
    last = _LAST_LAYER[recipe.last_stage] if resnet else "block5_pool"
    rgb = _preprocessed(image, recipe.preprocessing, channels=3)  # (B, H, W, 3)
    flat = make(include_top=False, weights=None, input_tensor=rgb)
    if weights is not None:
        flat.set_weights(_pretrained(make, rgb.shape[1:], weights).get_weights())
    body = keras.Model(image, flat.get_layer(last).output)
    clone = keras.models.clone_model(body, clone_function=_fixed)
    clone.set_weights(body.get_weights())
    for layer in clone.layers:
        layer.trainable = recipe.train_backbone
    return clone.input, clone.output


@keras.saving.register_keras_serializable("xray_core")
class FixedBatchNormalization(layers.BatchNormalization):
    """Batch normalisation that keeps the statistics it was given, in training too.

    A batch of images is too small and too alike to estimate statistics from, and a network that is
    normalised by one batch while it learns and by running averages in use sees other features
    there. Scale and offset are trained like any other weight.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs, training=False, mask=mask)


def _fixed(layer: layers.Layer) -> layers.Layer:
    kind = type(layer)
    if kind is layers.BatchNormalization:
        kind = FixedBatchNormalization
    return kind.from_config(layer.get_config())


def _pretrained(make: Any, shape: tuple[int, ...], weights: str | Path) -> keras.Model:
    """The whole backbone as Keras ships it, with its weights, to copy them from."""
    if str(weights) == "imagenet":
        try:
            return make(include_top=False, weights="imagenet", input_shape=shape)
        except Exception as error:  # urllib, ssl, http and the hash check raise what they like
            raise RecipeError(_NO_DOWNLOAD.format(name=make.__name__)) from error
    if not Path(weights).is_file():
        raise RecipeError(f"There is no weights file {weights}.")
    try:
        return make(include_top=False, weights=str(weights), input_shape=shape)
    except Exception as error:  # h5py and Keras raise what they like
        raise RecipeError(
            f"The weights in {weights} do not fit {make.__name__} without its top."
        ) from error


_NO_DOWNLOAD = (
    "The ImageNet weights of {name} could not be downloaded. Check the network, or give a file "
    "with --backbone-weights FILE (or --backbone-weights none to start from random weights)."
)


def _head(recipe: Recipe, x: Any) -> Any:
    """(B, D) -> (B, 1): hidden layer, dropout, log-odds, probability; in float32 throughout."""
    dropout = layers.Dropout(recipe.dropout, name="dropout", dtype="float32")
    if recipe.dropout_first:
        x = dropout(x)
    if recipe.dense:
        x = layers.Dense(recipe.dense, activation="relu", name="hidden", dtype="float32")(x)
    if recipe.batch_norm:
        # Keras' default momentum of .99 lags behind runs as short as these.
        x = layers.BatchNormalization(momentum=0.9, name="hidden_norm", dtype="float32")(x)
    if recipe.dropout and not recipe.dropout_first:
        x = dropout(x)
    if recipe.output == "softmax":
        shares = layers.Dense(2, activation="softmax", name="softmax", dtype="float32")(x)  # (B, 2)
        logs = keras.ops.log(keras.ops.clip(shares, 1e-30, 1.0))
        logit = layers.Subtract(name="logit", dtype="float32")([logs[:, 1:2], logs[:, 0:1]])
    else:
        logit = layers.Dense(1, name="logit", dtype="float32")(x)
    return layers.Activation("sigmoid", name="probability", dtype="float32")(logit)
