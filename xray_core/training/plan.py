"""What a training is about to do, checked before TensorFlow is loaded or an image is read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from xray_core.dataset.index import build_index, check_folds, find_dataset, limit_index
from xray_core.errors import DatasetError, RecipeError
from xray_core.model.bundle import checked_name, free_name
from xray_core.model.recipes import LABELS, Recipe
from xray_core.training.settings import apply_settings, check_recipe, setting_names

LARGEST_SEED = 2**32 - 1  # what the libraries take


@dataclass(frozen=True)
class Plan:
    """A training that can begin.

    Attributes:
        index: the images, drawn from if there is a limit; `folder` is where their paths start.
        target: the bundle to be; `run_folder` keeps the state of the run until it is there.
        backbone_weights: "imagenet", a file, or None for random ones.
        identity: what must be equal for `--resume` to go on with a stopped run, in plain JSON; the
            run adds the images that it trains and validates on.
        seed: of the training: first weights, order, augmentation, dropout.
        split_seed: of the choice of validation images, of what `limit` draws, and of the copies of
            validation images on which the epoch and the calibration are chosen.
        skip_unreadable: leave out images that cannot be read instead of refusing to begin.
        command: the options of `train.py`, for the card.
    """

    recipe: Recipe
    folder: Path
    index: pd.DataFrame
    target: Path
    run_folder: Path
    backbone_weights: str | None
    identity: dict[str, Any]
    seed: int
    split_seed: int
    limit: int | None
    skip_unreadable: bool
    resume: bool
    command: str


def plan_training(
    recipe: Recipe,
    *,
    settings: Sequence[str] = (),
    epochs: int | None = None,
    data: str | None = None,
    models: Path = Path("models"),
    name: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    limit: int | None = None,
    backbone_weights: str = "imagenet",
    seed: int = 0,
    split_seed: int = 0,
    skip_unreadable: bool = False,
    command: str = "",
) -> Plan:
    """Check everything that can be refused before the first image is read.

    Args:
        settings: fields of the recipe to replace, each `FIELD=VALUE`.
        epochs: at most so many; what the recipe's last epochs do then begins the earlier.
        data: the dataset's folder; None: `CHEST_XRAY_DIR`, then `data/chest_xray`.
        name: of the bundle; None: the recipe's, or the next free one.
        overwrite: replace a bundle of that name, once the new one is whole.
        resume: go on with the run of that name that was stopped; a fresh one where there is none.
        limit: at most so many images per class and fold, drawn after the split.
        backbone_weights: "imagenet", "none" or a file.
        seed, split_seed, skip_unreadable: as in `Plan`.

    Raises:
        DatasetError, RecipeError, BundleError: with a sentence that says what to do.
    """
    if limit is not None and limit < 1:
        raise DatasetError(f"--limit must be at least 1. Received: {limit}.")
    for option, number in (("--seed", seed), ("--split-seed", split_seed)):
        if not 0 <= number <= LARGEST_SEED:
            raise RecipeError(f"{option} must be 0 to {LARGEST_SEED}. Received: {number}.")
    named = setting_names(settings)
    recipe = apply_settings(recipe, settings)
    if epochs is not None:
        recipe = _shortened(recipe, epochs, named)
    check_recipe(recipe, named)
    if recipe.backbone is None and backbone_weights not in ("imagenet", "none"):
        raise RecipeError(
            f"--backbone-weights FILE works only with a backbone, which the recipe {recipe.name} "
            f"has not: leave it out. Received: {backbone_weights}."
        )
    weights = None if backbone_weights == "none" or not recipe.backbone else backbone_weights
    started_from = _weights_identity(weights)
    name = checked_name(models, name or free_name(models, recipe.name), overwrite=overwrite)
    folder = find_dataset(data)
    index = build_index(folder, seed=split_seed)
    if limit is not None:
        index = limit_index(index, limit, split_seed)
    check_folds(index)
    check_classes(index)
    return Plan(
        recipe=recipe,
        folder=folder,
        index=index,
        target=models / name,
        run_folder=models / f".{name}.training",
        backbone_weights=weights,
        identity={
            "recipe": recipe.to_dict(),
            "seed": seed,
            "split seed": split_seed,
            "backbone weights": started_from,
        },
        seed=seed,
        split_seed=split_seed,
        limit=limit,
        skip_unreadable=skip_unreadable,
        resume=resume,
        command=command,
    )


def _shortened(recipe: Recipe, epochs: int, named: set[str]) -> Recipe:
    """The recipe with so many epochs, and no more of them for what was not set by name."""
    fitting = {
        name: min(getattr(recipe, name), max(epochs, 1))
        for name in ("stem_epochs", "cached_views")
        if name not in named
    }
    return replace(recipe, epochs=epochs, **fitting)


def check_classes(index: pd.DataFrame) -> None:
    """Every fold needs images of both classes: to learn from, to choose on, to report on.

    Raises:
        DatasetError: a fold lacks a class.
    """
    for fold in ("train", "validation", "test"):
        present = set(index.loc[index["fold"] == fold, "label"])
        for label in LABELS:
            if label not in present:
                raise DatasetError(
                    f"The {fold} fold holds no readable {label} image. Training needs images of "
                    "both classes from several patients each, and a test folder with both."
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
