"""The recipe's loss and optimizer, and the stem's own pace."""

from __future__ import annotations

from typing import Any

import keras

from xray_core.model.recipes import Recipe

STEM = ("conv1_", "conv2_")


def build_loss(recipe: Recipe) -> keras.losses.Loss:
    if recipe.output == "softmax":
        return keras.losses.SparseCategoricalCrossentropy()
    return keras.losses.BinaryCrossentropy(label_smoothing=recipe.label_smoothing)


class StemRate:
    """Mixed into an optimizer: conv1 and conv2 learn at a share of the learning rate.

    `build` is given the network's variables, which have names, and `update_step` what TensorFlow
    keeps behind each of them (`Variable.value`), which has none.
    """

    stem_rate = 1.0
    built: bool

    def build(self, variables: list[keras.Variable]) -> None:
        if not self.built:
            self._is_stem = {id(v.value): v.path.startswith(STEM) for v in variables}
        super().build(variables)  # type: ignore[misc]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self._is_stem[id(variable)]:
            learning_rate = learning_rate * self.stem_rate
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]


class StemAdam(StemRate, keras.optimizers.Adam):
    pass


class StemAdamW(StemRate, keras.optimizers.AdamW):
    pass


def build_optimizer(recipe: Recipe, model: keras.Model, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, built for every weight that is trained in the end."""
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
    if recipe.train_backbone:
        for layer in model.layers:
            if layer.name.startswith(STEM):
                layer.trainable = trainable
