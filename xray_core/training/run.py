"""One training from beginning to end: data, network, fit, finish, bundle."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

from xray_core.dataset.index import build_index, check_folds, find_dataset, fingerprint, limited
from xray_core.errors import BundleError, DatasetError, RecipeError
from xray_core.model.architectures import build_network
from xray_core.model.bundle import Bundle, checked_name, free_name
from xray_core.model.recipes import LABELS, Recipe
from xray_core.training.finish import Provenance, finish
from xray_core.training.fit import Fitted, fit
from xray_core.training.pipeline import load_films

LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "opencv-python-headless", "scikit-learn")


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
    command: str = "",
    say: Callable[[str], None] = print,
) -> Bundle:
    """Train a recipe and leave a whole bundle in `models`.

    Whatever can be refused is refused before the first film is read. The state of the run lies in
    `models/.NAME.training` until the bundle is in place.

    Args:
        data: the dataset's folder; None: `CHEST_XRAY_DIR`, then `data/chest_xray`.
        name: of the bundle; None: the recipe's, or the next free one.
        overwrite: replace a bundle of that name, once the new one is whole.
        resume: go on with the run of that name that was stopped; a fresh one where there is none.
        limit: at most so many films per class and fold, drawn after the split.
        backbone_weights: "imagenet", "none" or a file.
        command: how `train.py` was called, for the card.

    Raises:
        DatasetError, RecipeError, BundleError: with a sentence that says what to do.
    """
    if limit is not None and limit < 1:
        raise DatasetError(f"--limit must be at least 1. Received: {limit}.")
    weights = None if backbone_weights == "none" or not recipe.backbone else backbone_weights
    folder = find_dataset(data)
    index = build_index(folder, seed=seed)
    if limit is not None:
        index = limited(index, limit, seed)
    check_folds(index)
    _check_filled(index)
    if name is None:
        # A stopped run is found again under the name that it was begun with.
        free = free_name(models, recipe.name)
        stopped = _run_folder(models, recipe.name).exists() and overwrite
        name = recipe.name if stopped else free
    checked_name(models, name, overwrite=overwrite)
    identity = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "data": fingerprint(index),
        "backbone weights": _weights_identity(weights),
    }
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    run_folder = _run_folder(models, name)
    with _alone(run_folder):
        with _precision(recipe.precision):
            network = build_network(recipe, backbone_weights=weights)
        fitted = fit(
            network,
            recipe,
            load_films(index, folder, "train"),
            load_films(index, folder, "validation"),
            run_folder,
            seed=seed,
            identity=identity,
            resume=resume,
            say=say,
        )
        facts = _facts(fitted, seed, limit, identity["backbone weights"], command)
        made = Provenance(recipe, fitted.history, facts)
        bundle = finish(_in_float32(network, recipe), made, index, folder, models / name, say=say)
        shutil.rmtree(run_folder, ignore_errors=True)
    return bundle


def _run_folder(models: Path, name: str) -> Path:
    return models / f".{name}.training"


def _check_filled(index: pd.DataFrame) -> None:
    """Every fold needs films of both classes: to learn from, to choose on, to report on."""
    for fold in ("train", "validation", "test"):
        present = set(index.loc[index["fold"] == fold, "label"])
        for label in LABELS:
            if label not in present:
                raise DatasetError(
                    f"The {fold} fold holds no {label} film. Training needs films of both classes "
                    "from several patients each, and a test folder with both."
                )


def _weights_identity(weights: str | None) -> str | None:
    """What a run started from: "imagenet", the first digits of a file's SHA-256, or None.

    Raises:
        RecipeError: the file is missing.
    """
    if weights is None or weights == "imagenet":
        return weights
    if not Path(weights).is_file():
        raise RecipeError(f"There is no weights file {weights}.")
    with open(weights, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@contextmanager
def _alone(run_folder: Path) -> Iterator[None]:
    """Keep a second training of the same name out; a lock left by a killed one does not count."""
    run_folder.parent.mkdir(parents=True, exist_ok=True)
    lock = run_folder.with_name(f"{run_folder.name}.lock")
    try:
        owner = int(lock.read_text())
        os.kill(owner, 0)
    except (OSError, ValueError):
        owner = None
    if owner is not None and owner != os.getpid():
        raise BundleError(
            f"A training of this name is running already (process {owner}): wait for it, or "
            "choose another --name."
        )
    lock.write_text(str(os.getpid()))
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _in_float32(network: keras.Model, recipe: Recipe) -> keras.Model:
    """The network as it is used: the trained weights, every layer in float32."""
    if recipe.precision == "float32":
        return network
    plain = build_network(recipe)
    plain.set_weights(network.get_weights())
    for layer, trained in zip(plain.layers, network.layers, strict=True):
        layer.trainable = trained.trainable
    return plain


def _facts(
    fitted: Fitted, seed: int, limit: int | None, weights: str | None, command: str
) -> dict[str, Any]:
    return {
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "libraries": {
            "python": platform.python_version(),
            **{library: importlib.metadata.version(library) for library in LIBRARIES},
        },
        "seed": seed,
        "limit": limit,
        "git_commit": _git_commit(),
        "training": {
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "seconds": round(fitted.seconds),
            "machine": f"{os.cpu_count()} cores, no GPU"
            if not tf.config.list_physical_devices("GPU")
            else "a GPU",
            "backbone_weights": weights,
            "command": command,
        },
    }


def _git_commit() -> str | None:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
