"""Load the networks of a bundle from their weights, with Keras or OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xray_core.errors import BundleError
from xray_core.model import bundle_checks
from xray_core.model.openvino_network import Graph, build_graph, read_weights
from xray_core.model.recipes import Recipe

if TYPE_CHECKING:
    import keras


def load_network(file: Path, recipe: Recipe, weights: str) -> keras.Model:
    """Build the network of a recipe and load a file; `weights` names them in messages."""
    _check_weights(file, recipe, weights)

    from xray_core.model.architectures import build_network

    try:
        network = build_network(recipe)
        _load_all_weights(network, file)
    except Exception as error:  # Keras and h5py raise many types of exceptions
        raise BundleError(f"{weights} do not fit its recipe. Train it again.") from error
    network.trainable = False
    return network


def load_graph(file: Path, recipe: Recipe, weights: str) -> Graph:
    """Build the OpenVINO graph of a recipe from a file; `weights` names them in messages."""
    _check_weights(file, recipe, weights)
    try:
        return build_graph(recipe, read_weights(file))
    except (ValueError, OSError, KeyError) as error:
        raise BundleError(f"{weights} do not fit its recipe. Train it again.") from error


def _check_weights(file: Path, recipe: Recipe, weights: str) -> None:
    try:
        bundle_checks.check_weights(file, recipe)
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        why = f": {error}" if type(error) is ValueError else ""
        raise BundleError(f"{weights} do not fit its recipe{why}. Train it again.") from error


def _load_all_weights(network: keras.Model, path: Path) -> None:
    import numpy as np

    # Keras only warns about layers that the file lacks. Their weights stay NaN.
    network.set_weights([np.full_like(weight, np.nan) for weight in network.get_weights()])
    network.load_weights(path)
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise ValueError("A weight is missing or not finite.")
