"""The outputs of a network for the images of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from xray_core.errors import BundleError
from xray_core.training.batches import image_batches
from xray_core.training.data import ImageSet


@dataclass(frozen=True)
class Outputs:
    """A network's outputs for a set of images.

    Attributes
    ----------
    images : ImageSet
        The whole images, not cropped.
    features : numpy.ndarray
        float32 (N, D).
    logit : numpy.ndarray
        float32 (N,), log-odds of pneumonia.
    """

    images: ImageSet
    features: np.ndarray
    logit: np.ndarray


def two_output_model(network: keras.Model) -> keras.Model:
    """A model with the features (N, D) and the log-odds (N, 1) of a classifier as outputs.

    Build it once per network: the first prediction of each model traces its graph, which is slow.
    """
    return keras.Model(
        network.input, [network.get_layer("features").output, network.get_layer("logit").output]
    )


def run_network(two_outputs: keras.Model, images: ImageSet, inputs: ImageSet) -> Outputs:
    """Run a network on a set of images.

    Parameters
    ----------
    two_outputs : keras.Model
        From `two_output_model`.
    images : ImageSet
        The whole images.
    inputs : ImageSet
        The model inputs made from them, in the same order.

    Returns
    -------
    Outputs

    Raises
    ------
    BundleError
        An output is not finite.
    """
    features, logit = two_outputs.predict(image_batches(inputs), verbose=0)
    check_finite(features, logit)
    return Outputs(images, features, logit[:, 0])


def check_finite(*outputs: np.ndarray) -> None:
    """Check that all outputs of a network are finite.

    Raises
    ------
    BundleError
        One is not.
    """
    if not all(np.isfinite(output).all() for output in outputs):
        raise BundleError(
            "An output of the network is not finite, so no bundle can be written. Train it again "
            "with a lower learning rate."
        )
