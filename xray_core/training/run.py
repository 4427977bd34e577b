"""One training from beginning to end: data, network, fit, finish, bundle."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from xray_core.dataset.index import build_index, check_folds, find_dataset, fingerprint, limited
from xray_core.errors import BundleError, DatasetError
from xray_core.model.architectures import build_network
from xray_core.model.bundle import Bundle, free_name, open_bundle
from xray_core.model.recipes import Recipe
from xray_core.training.finish import finish
from xray_core.training.fit import fit
from xray_core.training.pipeline import load_films


def train(
    recipe: Recipe,
    *,
    data: str | None = None,
    models: Path = Path("models"),
    name: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    limit: int | None = None,
    backbone_weights: str = "imagenet",
    seed: int = 0,
    say: Callable[[str], None] = print,
    verbose: int = 1,
) -> Bundle:
    """Train a recipe and leave a whole bundle in `models`.

    Everything that can be refused is refused before the first film is read. The state of the run
    lies in `models/.NAME.training` until the bundle is in place.

    Args:
        data: the dataset's folder; None: `CHEST_XRAY_DIR`, then `data/chest_xray`.
        name: of the bundle; None: the recipe's, or the next free one.
        limit: at most so many films per class and fold, drawn after the split.
        backbone_weights: "imagenet", "none" or a file.

    Raises:
        DatasetError, RecipeError, BundleError: with a sentence that says what to do.
    """
    folder = find_dataset(data)
    index = build_index(folder, seed=seed)
    check_folds(index)
    if limit is not None:
        index = limited(index, limit, seed)
    _check_folds_filled(index)
    name = _chosen_name(
        models,
        name or recipe.name,
        fixed=name is not None,
        **{
            "overwrite": overwrite,
            "resume": resume,
        },
    )
    run_folder = models / f".{name}.training"
    weights = None if backbone_weights == "none" else backbone_weights
    identity = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "data": fingerprint(index),
        "backbone weights": _weights_identity(weights) if recipe.backbone else None,
    }
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    with _sole(run_folder):
        with _precision(recipe.precision):
            network = build_network(recipe, backbone_weights=weights)
        training = load_films(index, folder, "train")
        validation = load_films(index, folder, "validation")
        fitted = fit(
            network,
            recipe,
            training,
            validation,
            run_folder,
            seed=seed,
            identity=identity,
            resume=resume,
            say=say,
            verbose=verbose,
        )
        bundle = finish(
            network,
            recipe,
            index,
            folder,
            fitted,
            models / name,
            training=training,
            validation=validation,
            seed=seed,
            limit=limit,
            say=say,
        )
    shutil.rmtree(run_folder, ignore_errors=True)
    return bundle
