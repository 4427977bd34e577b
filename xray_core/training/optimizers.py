"""The loss and the optimizer of a recipe, with a lower learning rate for the stem."""

from __future__ import annotations

from typing import Any

import keras

from xray_core.model.recipes import Recipe

STEM = ("conv1_", "conv2_")


def build_loss(recipe: Recipe) -> keras.losses.Loss:
    """Build the recipe's loss.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    keras.losses.Loss
        Cross-entropy, binary for a sigmoid output, categorical for softmax; `OverlapLoss` for a
        segmentation.
    """
    if recipe.kind == "segmentation":
        return OverlapLoss()
    if recipe.output == "softmax":
        return keras.losses.SparseCategoricalCrossentropy()
    return keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)


class OverlapLoss(keras.losses.Loss):
    """Loss of a segmentation: cross-entropy, averaged over the pixels, plus the soft Dice loss.

    With y the mask and p the probability, the Dice loss of an image is
    1 - (2 sum(y p) + 1) / (sum(y) + sum(p) + 1) (Milletari, Navab and Ahmadi, 3DV 2016, with p in
    place of its square).
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image: two (B, H, W, 1) -> (B,)."""
        entropy = keras.ops.mean(keras.losses.binary_crossentropy(y_true, y_pred), axis=(1, 2))
        both = keras.ops.sum(y_true * y_pred, axis=(1, 2, 3))
        total = keras.ops.sum(y_true + y_pred, axis=(1, 2, 3))
        return entropy + 1 - (2 * both + 1) / (total + 1)


class StemRate:
    """Optimizer mixin: conv1 and conv2 use a fraction of the learning rate.

    `build` receives Keras variables, which have names; `update_step` receives the TensorFlow
    variables behind them (`Variable.value`), which have none. They are matched by identity.
    """

    stem_rate = 1.0
    built: bool

    def build(self, variables: list[keras.Variable]) -> None:
        """Build the optimizer and remember which variables belong to the stem."""
        if not self.built:
            self._is_stem = {id(v.value): v.path.startswith(STEM) for v in variables}
        super().build(variables)  # type: ignore[misc]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable, at a fraction of the learning rate in the stem."""
        if self._is_stem[id(variable)]:
            learning_rate = learning_rate * self.stem_rate
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]


class StemAdam(StemRate, keras.optimizers.Adam):
    """Adam with a lower learning rate for the stem."""


class StemAdamW(StemRate, keras.optimizers.AdamW):
    """AdamW with a lower learning rate for the stem."""


def build_optimizer(recipe: Recipe, model: keras.Model, steps: int) -> keras.optimizers.Optimizer:
    """Build the recipe's optimizer for all weights that are ever trained, stem included.

    Parameters
    ----------
    recipe : Recipe
        Optimizer, learning rate, schedule and weight decay.
    model : keras.Model
        The model to be trained.
    steps : int
        Batches per epoch.

    Returns
    -------
    keras.optimizers.Optimizer
    """
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        warmup = max(1, steps // 2)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, recipe.epochs * steps - warmup),
            warmup_target=recipe.learning_rate,
            warmup_steps=warmup,
        )
    if recipe.optimizer == "adamw":
        optimizer = StemAdamW(rate, weight_decay=recipe.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    else:
        optimizer = StemAdam(rate)
    optimizer.stem_rate = recipe.stem_rate
    set_stem_trainable(model, recipe, trainable=True)
    optimizer.build(model.trainable_variables)
    return optimizer


def set_stem_trainable(model: keras.Model, recipe: Recipe, *, trainable: bool) -> None:
    """Freeze or unfreeze conv1 and conv2; no effect if the recipe does not train the backbone.

    Parameters
    ----------
    model : keras.Model
    recipe : Recipe
    trainable : bool
    """
    if recipe.train_backbone:
        for layer in model.layers:
            if layer.name.startswith(STEM):
                layer.trainable = trainable
