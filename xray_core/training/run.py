"""One training from plan to bundle: load images, build network, fit, finish."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from filelock import FileLock, Timeout

from xray_core.dataset.index import fingerprint
from xray_core.errors import BundleError
from xray_core.model.architectures import build_network
from xray_core.model.bundle import Bundle
from xray_core.model.bundle_writing import clear_leftovers
from xray_core.model.engine import trace
from xray_core.model.lungs import LungSegmenter
from xray_core.model.recipes import Recipe
from xray_core.training.checkpoints import load_identity
from xray_core.training.data import (
    Loaded,
    add_lung_masks,
    list_paths,
    load_images,
    mask_fingerprint,
)
from xray_core.training.finish import Provenance, finish
from xray_core.training.finish_segmentation import finish_segmentation
from xray_core.training.fit import Fitted, fit
from xray_core.training.plan import Plan, check_classes
from xray_core.training.precision import FLOAT32, choose_precision, precision

UNREADABLE = "list of unreadable images"  # a key of the run's identity
PRECISION = "precision"  # another

LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "opencv-python-headless", "scikit-learn")


def train(plan: Plan, *, log: Callable[[str], None] = print) -> Bundle:
    """Run a planned training and write its bundle.

    Parameters
    ----------
    plan : Plan
        As `plan_training` returns it.
    log : callable
        Receives one line of text per event.

    Returns
    -------
    Bundle
        The bundle at `plan.target`.

    Raises
    ------
    DatasetError
        Images cannot be read.
    BundleError
        Another training of this name is running, or the run to resume has another identity.
    RecipeError
        The initial weights do not fit or cannot be downloaded.
    """
    recipe = plan.recipe
    keras.utils.set_random_seed(plan.seed)
    tf.config.experimental.enable_op_determinism()
    with _training_lock(plan):
        if plan.resume and not plan.run_folder.exists():
            log("There is no stopped training to resume. A new training starts.")
        loaded = _load(plan)
        if loaded.unreadable:
            log(f"Left out because they cannot be read: {list_paths(loaded.unreadable)}.")
        if plan.without_mask:
            images = list_paths(plan.without_mask)
            log(f"Left out because they have no mask ({len(plan.without_mask)}): {images}.")
        segmenter, training = None, loaded.folds["train"]
        if recipe.trains_on_lungs and plan.lungs is not None:
            segmenter = LungSegmenter(trace(plan.lungs.load_network()), plan.lungs.lung_limits)
            log("Finding the lungs in the training images ...")
            training = add_lung_masks(training, segmenter)
        chosen = _precision_of(plan, log)
        with precision(chosen):
            network = build_network(recipe, backbone_weights=plan.backbone_weights)
        fitted = fit(
            network,
            recipe,
            training,
            loaded.folds["validation"],
            plan.run_folder,
            segmenter=segmenter,
            seed=plan.seed,
            split_seed=plan.split_seed,
            identity=plan.identity | _images_identity(plan, loaded) | {PRECISION: chosen},
            resume=plan.resume,
            log=log,
        )
        provenance = Provenance(recipe, fitted.history, _facts(plan, fitted, chosen))
        if chosen != FLOAT32:
            network = _in_float32(network, recipe)
        if recipe.kind == "segmentation":
            bundle = finish_segmentation(
                network, provenance, loaded, plan.without_mask, plan.target, log=log
            )
        else:
            bundle = finish(
                network,
                provenance,
                loaded,
                plan.folder,
                plan.target,
                lungs=plan.lungs,
                masks=plan.test_masks,
                external=plan.external,
                log=log,
            )
        shutil.rmtree(plan.run_folder, ignore_errors=True)
    return bundle


def _load(plan: Plan) -> Loaded:
    """Decode all images of the plan before the first epoch.

    A resumed run leaves out the same training and validation images as when it was started, even
    if they can be read now.
    """
    recorded = load_identity(plan.run_folder).get(UNREADABLE, []) if plan.resume else []
    loaded = load_images(
        plan.index[~plan.index["path"].isin(recorded)],
        plan.folder,
        masks=plan.masks,
        skip_unreadable=plan.skip_unreadable,
    )
    check_classes(loaded.index)
    return replace(loaded, unreadable=tuple(sorted({*recorded, *loaded.unreadable})))


def _precision_of(plan: Plan, log: Callable[[str], None]) -> str:
    """The precision of a new run; that of the stopped run if it is resumed."""
    recorded = load_identity(plan.run_folder).get(PRECISION) if plan.resume else None
    return recorded or choose_precision(plan.recipe, log=log)


def _images_identity(plan: Plan, loaded: Loaded) -> dict[str, Any]:
    """The images that must be the same in a resumed run: those of training and validation.

    A damaged test image may be replaced before a run is resumed.
    """
    used = ("train", "validation")
    folds = {fold: loaded.folds[fold] for fold in used}
    masks = {fold: mask_fingerprint(images) for fold, images in folds.items()}
    left_out = plan.index["path"].isin(loaded.unreadable) & plan.index["fold"].isin(used)
    return {
        "set of images": {fold: fingerprint(images.table) for fold, images in folds.items()},
        **({"set of masks": masks} if plan.masks else {}),
        UNREADABLE: sorted(plan.index["path"][left_out]),
    }


@contextmanager
def _training_lock(plan: Plan) -> Iterator[None]:
    """Allow one training per name at a time, and remove incomplete files of an interrupted one.

    The operating system releases the lock when the process ends. The lock file is not deleted: a
    process that had opened it before could lock the deleted file while another locks a new one.
    """
    models = plan.target.parent
    models.mkdir(parents=True, exist_ok=True)
    lock = FileLock(models / f".{plan.target.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BundleError(
            f"A training named {plan.target.name} is already running: wait until it ends, or "
            "choose another --name."
        ) from error
    try:
        clear_leftovers(plan.target)
        yield
    finally:
        lock.release()


def _in_float32(network: keras.Model, recipe: Recipe) -> keras.Model:
    """The network with the trained weights and all layers in float32, as used for prediction."""
    converted = build_network(recipe)
    converted.set_weights(network.get_weights())
    for layer, trained in zip(converted.layers, network.layers, strict=True):
        layer.trainable = trained.trainable
    return converted


def _facts(plan: Plan, fitted: Fitted, precision: str) -> dict[str, Any]:
    """The facts of the training for `config.json`, besides the recipe."""
    gpu = bool(tf.config.list_physical_devices("GPU"))
    return {
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "libraries": {
            "python": platform.python_version(),
            **{library: importlib.metadata.version(library) for library in LIBRARIES},
        },
        "seed": plan.seed,
        "split_seed": plan.split_seed,
        "limit": plan.limit,
        **_part(plan),
        "git_commit": _git_commit(),
        "training": {
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "seconds": round(fitted.seconds),
            "precision": precision,
            "machine": "a GPU" if gpu else f"{os.cpu_count()} cores without a GPU",
            "backbone_weights": plan.identity["backbone weights"],
            "command": plan.command,
        },
    }


def _part(plan: Plan) -> dict[str, Any]:
    if plan.held_out is None:
        return {}
    number, parts = plan.held_out
    return {"cross_validation": {"fold": number, "folds": parts}}


def _git_commit() -> str | None:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
