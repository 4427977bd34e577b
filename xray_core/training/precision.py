"""Choice of the training precision by a short measurement on the machine at hand.

Some processors compute in bfloat16 twice as fast as in float32. Others have no instructions for it,
and bfloat16 is emulated there, several times slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xray_core.model.recipes import Recipe

FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"
NEEDED_GAIN = 1.2  # float32 rounds less, so bfloat16 has to be clearly faster
REPEATS = 5


def choose_precision(recipe: Recipe, *, log: Callable[[str], None] = print) -> str:
    """Return the precision that a recipe is trained in on this machine.

    Parameters
    ----------
    recipe : Recipe
        With precision "auto", both precisions are measured, which takes a few seconds.
    log : callable
        Receives one line of text about the measurement.

    Returns
    -------
    str
        "float32" or "mixed_bfloat16".
    """
    if recipe.precision != "auto":
        return recipe.precision
    seconds = measure_precisions()
    gain = seconds[FLOAT32] / seconds[BFLOAT16]
    chosen = BFLOAT16 if gain >= NEEDED_GAIN else FLOAT32
    log(f"A training step in bfloat16 is {gain:.1f} times as fast as in float32: using {chosen}.")
    return chosen


def measure_precisions() -> dict[str, float]:
    """Measure a training step of one residual block in both precisions.

    Returns
    -------
    dict of str to float
        Seconds, the shortest of five steps, by precision. The steps alternate, so that other load
        affects both.
    """
    steps = {policy: _training_step(policy) for policy in (FLOAT32, BFLOAT16)}
    seconds = dict.fromkeys(steps, float("inf"))
    for step in steps.values():
        step()  # compiles
    for _ in range(REPEATS):
        for policy, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[policy] = min(seconds[policy], time.perf_counter() - start)
    return seconds


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build layers in a precision within a `with` block.

    Parameters
    ----------
    policy : str
        "float32" or "mixed_bfloat16".
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _training_step(policy: str) -> Callable[[], Any]:
    """Forward pass and gradients of a bottleneck block of ResNet50's conv3, for 16 images."""
    with precision(policy):
        pixels = keras.Input((28, 28, 256))
        y = keras.layers.Conv2D(128, 1, activation="relu")(pixels)
        y = keras.layers.Conv2D(128, 3, padding="same", activation="relu")(y)
        y = keras.layers.Conv2D(256, 1)(y)
        block = keras.Model(pixels, keras.layers.Add()([pixels, y]))
    batch = tf.constant(np.random.default_rng(0).random((16, 28, 28, 256), np.float32))

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(block(batch, training=True), tf.float32) ** 2)
        # A sum of every gradient, so that none is optimised away.
        return [tf.reduce_sum(g) for g in tape.gradient(loss, block.trainable_variables)]

    return lambda: [value.numpy() for value in step()]
