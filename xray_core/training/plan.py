"""What a training is about to do, checked before TensorFlow is loaded or a film is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from xray_core.dataset.index import build_index, check_folds, find_dataset, fingerprint, limited
from xray_core.dataset.measure import measure_index
from xray_core.errors import DatasetError, RecipeError
from xray_core.model.bundle import checked_name, free_name
from xray_core.model.recipes import LABELS, Recipe


@dataclass(frozen=True)
class Plan:
    """A training that can begin.

    Attributes:
        index: the films, drawn from if there is a limit; `folder` is where their paths start.
        target: the bundle to be; `run_folder` keeps the state of the run until it is there.
        backbone_weights: "imagenet", a file, or None for random ones.
        identity: what must be equal for `--resume` to go on with a stopped run, in plain JSON.
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
    limit: int | None
    resume: bool
    command: str


def plan_training(
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
) -> Plan:
    """Check everything that can be refused before the first film is read.

    Args:
        data: the dataset's folder; None: `CHEST_XRAY_DIR`, then `data/chest_xray`.
        name: of the bundle; None: the recipe's, or the next free one.
        overwrite: replace a bundle of that name, once the new one is whole.
        resume: go on with the run of that name that was stopped; a fresh one where there is none.
        limit: at most so many films per class and fold, drawn after the split.
        backbone_weights: "imagenet", "none" or a file.

    Raises:
        DatasetError, RecipeError, BundleError: with a sentence that says what to do.
    """
    if limit is not None and limit < 1:
        raise DatasetError(f"--limit must be at least 1. Received: {limit}.")
    weights = None if backbone_weights == "none" or not recipe.backbone else backbone_weights
    started_from = _weights_identity(weights)
    name = checked_name(models, name or free_name(models, recipe.name), overwrite=overwrite)
    folder = find_dataset(data)
    index = build_index(folder, seed=seed)
    if limit is not None:
        index = limited(index, limit, seed)
    check_folds(index)
    _check_filled(index)
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
            "data": fingerprint(measure_index(index, folder)),
            "backbone weights": started_from,
        },
        seed=seed,
        limit=limit,
        resume=resume,
        command=command,
    )


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
