"""One training from beginning to end: network, fit, finish, bundle."""

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
from xray_core.model.bundle import Bundle, clear_leftovers
from xray_core.model.recipes import Recipe
from xray_core.training.checkpoints import load_identity
from xray_core.training.data import Loaded, load_images, named
from xray_core.training.finish import Provenance, finish
from xray_core.training.fit import Fitted, fit
from xray_core.training.plan import Plan, check_classes

UNREADABLE = "list of unreadable images"  # key of a run's identity

LIBRARIES = ("tensorflow", "keras", "numpy", "pillow", "opencv-python-headless", "scikit-learn")


def train(plan: Plan, *, log: Callable[[str], None] = print) -> Bundle:
    """Carry out a plan and leave a whole bundle at its target.

    Raises:
        DatasetError: images cannot be read.
        BundleError: another training of this name is running, or the one to resume is another.
        RecipeError: the starting weights do not fit or cannot be downloaded.
    """
    recipe = plan.recipe
    keras.utils.set_random_seed(plan.seed)
    tf.config.experimental.enable_op_determinism()
    with _alone(plan):
        if plan.resume and not plan.run_folder.exists():
            log("There is no stopped training to resume, so a new one begins.")
        loaded = _load(plan)
        if loaded.unreadable:
            log(f"Left out because they could not be read: {named(loaded.unreadable)}.")
        with _precision(recipe.precision):
            network = build_network(recipe, backbone_weights=plan.backbone_weights)
        fitted = fit(
            network,
            recipe,
            loaded.folds["train"],
            loaded.folds["validation"],
            plan.run_folder,
            seed=plan.seed,
            split_seed=plan.split_seed,
            identity=plan.identity | _images_identity(plan, loaded),
            resume=plan.resume,
            log=log,
        )
        made = Provenance(recipe, fitted.history, _facts(plan, fitted))
        network = _in_float32(network, recipe)
        bundle = finish(network, made, loaded, plan.folder, plan.target, log=log)
        shutil.rmtree(plan.run_folder, ignore_errors=True)
    return bundle


def _load(plan: Plan) -> Loaded:
    """The images of the plan, every one decoded before the first epoch.

    A run that is resumed goes on without the training and validation images that it began without,
    whether or not they can be read by now.
    """
    recorded = load_identity(plan.run_folder).get(UNREADABLE, []) if plan.resume else []
    loaded = load_images(
        plan.index[~plan.index["path"].isin(recorded)],
        plan.folder,
        skip_unreadable=plan.skip_unreadable,
    )
    check_classes(loaded.index)
    return replace(loaded, unreadable=tuple(sorted({*recorded, *loaded.unreadable})))


def _images_identity(plan: Plan, loaded: Loaded) -> dict[str, Any]:
    """What a resumed run must share of the images: those that the epochs depend on.

    Test images do not count. One that was damaged and is replaced keeps no training from ending.
    """
    used = ("train", "validation")
    left_out = plan.index["path"].isin(loaded.unreadable) & plan.index["fold"].isin(used)
    return {
        "set of images": {fold: fingerprint(loaded.folds[fold].table) for fold in used},
        UNREADABLE: sorted(plan.index["path"][left_out]),
    }


@contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    """Keep a second training of the same name out, and clear away what a killed one left half-made.

    The system lets go of the lock when a process ends, however it ends. The lock's file stays:
    were it removed, a process that had opened it before could lock the removed file while a third
    locks a new one, and two trainings would run at once.
    """
    models = plan.target.parent
    models.mkdir(parents=True, exist_ok=True)
    lock = FileLock(models / f".{plan.target.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BundleError(
            f"A training called {plan.target.name} is running already: wait for it, or choose "
            "another --name."
        ) from error
    try:
        clear_leftovers(plan.target)
        yield
    finally:
        lock.release()


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


def _facts(plan: Plan, fitted: Fitted) -> dict[str, Any]:
    """What the bundle tells of its making, beside the recipe."""
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
        "git_commit": _git_commit(),
        "training": {
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "seconds": round(fitted.seconds),
            "machine": "a GPU" if gpu else f"{os.cpu_count()} cores without a GPU",
            "backbone_weights": plan.identity["backbone weights"],
            "command": plan.command,
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
