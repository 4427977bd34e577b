"""Running a network on batches of any size, from several threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

FloatArray = NDArray[np.float32]
Outputs = list[FloatArray]


def trace(network: keras.Model) -> Callable[[FloatArray], Outputs]:
    """Return a network as a function of its inputs, traced once for batches of any size.

    Calling a Keras model runs layer by layer, at a third of the speed, and `Model.predict` has a
    larger overhead than the network for a single image. Tracing here rather than on first use keeps
    threads from tracing at the same time.

    Parameters
    ----------
    network : keras.Model
        One input and one or several outputs.

    Returns
    -------
    callable
        Inputs (N, H, W, C) float32 -> the outputs in a list, each with N as its first dimension.
    """
    import tensorflow as tf

    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    # Without autograph, which would write generated code to the temporary folder.
    forward = tf.function(
        lambda images: tf.nest.flatten(network(images, training=False)), autograph=False
    )
    traced = forward.get_concrete_function(signature)
    return lambda images: [output.numpy() for output in traced(tf.constant(images))]
