"""The plan of a training: all checks that need neither TensorFlow nor an image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from xray_core.dataset.external import find_external, read_external
from xray_core.dataset.index import build_index, check_folds, find_dataset, limit_index
from xray_core.errors import BundleError, DatasetError, RecipeError
from xray_core.labels import LABELS
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.bundle_writing import check_name, find_free_name
from xray_core.model.recipes import Recipe
from xray_core.places import shipped_models
from xray_core.training.masks import find_masks, find_masks_if_named, without_mask
from xray_core.training.settings import apply_settings, check_recipe, setting_names

LUNGS = "lungs"  # name of the bundle of the lung network
LARGEST_SEED = 2**32 - 1  # limit of the libraries


@dataclass(frozen=True)
class Plan:
    """A training whose options have been checked.

    Attributes
    ----------
    recipe : Recipe
        The recipe with all settings applied.
    folder : pathlib.Path
        The dataset's folder; the paths of the index are relative to it.
    index : pandas.DataFrame
        The images, after `limit`; for a segmentation only those with a mask.
    masks : pathlib.Path or None
        The folder of the lung masks; None for a classifier.
    test_masks : pathlib.Path or None
        The folder of the lung masks for test images with hidden parts; None for a segmentation, or
        if none was named.
    external : pathlib.Path or None
        The folder of images from other hospitals, which the finished classifier is measured on;
        None for a segmentation, or if none was named.
    without_mask : tuple of str
        Paths of the images that are left out because they have no mask.
    target : pathlib.Path
        The bundle to be written.
    run_folder : pathlib.Path
        Holds the state of the run until the bundle is complete.
    lungs : Bundle or None
        The lung network, a bundle of the kind "segmentation"; None for a training without one.
    backbone_weights : str or None
        "imagenet", a file, or None for random weights.
    identity : dict
        What must be equal for `--resume` to continue a stopped run, as plain JSON. The run adds its
        training and validation images.
    seed : int
        Seed of the training: initial weights, order, augmentation, dropout.
    split_seed : int
        Seed of the validation fold, of the images that `limit` draws, and of the shifted copies of
        validation images.
    limit : int or None
        Largest number of images per class and fold.
    skip_unreadable : bool
        Leave out images that cannot be read instead of raising an error.
    resume : bool
        Continue a stopped run of this name.
    command : str
        The options of `train.py`, for the model card.
    held_out : tuple of int or None
        Of a run of a cross-validation, as for `build_index`: the fold "test" is the part held out.
    """

    recipe: Recipe
    folder: Path
    index: pd.DataFrame
    masks: Path | None
    test_masks: Path | None
    external: Path | None
    without_mask: tuple[str, ...]
    target: Path
    run_folder: Path
    lungs: Bundle | None
    backbone_weights: str | None
    identity: dict[str, Any]
    seed: int
    split_seed: int
    limit: int | None
    skip_unreadable: bool
    resume: bool
    command: str
    held_out: tuple[int, int] | None = None


def plan_training(
    recipe: Recipe,
    *,
    settings: Sequence[str] = (),
    epochs: int | None = None,
    data: str | None = None,
    masks: str | None = None,
    external: str | None = None,
    models: Path = Path("models"),
    name: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    limit: int | None = None,
    lungs: str = LUNGS,
    backbone_weights: str = "imagenet",
    seed: int = 0,
    split_seed: int = 0,
    skip_unreadable: bool = False,
    command: str = "",
    held_out: tuple[int, int] | None = None,
) -> Plan:
    """Check all options of a training before the first image is read.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    settings : sequence of str
        Fields of the recipe to replace, each `FIELD=VALUE`.
    epochs : int, optional
        Largest number of epochs. `stem_epochs` and `cached_views` are reduced to it unless set.
    data : str, optional
        The dataset's folder; by default `CHEST_XRAY_DIR`, then `data/chest_xray`.
    masks : str, optional
        The folder of the lung masks; by default `LUNG_MASKS_DIR`. A classifier uses them only for
        test images with hidden parts, after the training.
    external : str, optional
        The folder of images from other hospitals (`xray_core.dataset.external`); by default
        `XRAY_EXTERNAL_DIR`.
    models : pathlib.Path
        The folder of the bundles.
    name : str, optional
        Name of the bundle; by default that of the recipe, or the next free one.
    overwrite : bool
        Replace a bundle of that name when the new one is complete.
    resume : bool
        Continue a stopped run of that name; without one, start a new run.
    limit : int, optional
        Largest number of images per class and fold, drawn after the split.
    lungs : str
        Name of the bundle in `models` whose lung network is used, or "none".
    backbone_weights : str
        "imagenet", "none" or a file.
    seed, split_seed, skip_unreadable, command, held_out
        As in `Plan`.

    Returns
    -------
    Plan

    Raises
    ------
    DatasetError, RecipeError, BundleError
        An option is invalid; the message says what to do.
    """
    if limit is not None and limit < 1:
        raise DatasetError(f"--limit must be at least 1. Received: {limit}.")
    for option, number in (("--seed", seed), ("--split-seed", split_seed)):
        if not 0 <= number <= LARGEST_SEED:
            raise RecipeError(f"{option} must be 0 to {LARGEST_SEED}. Received: {number}.")
    named = setting_names(settings)
    recipe = apply_settings(recipe, settings)
    if epochs is not None:
        recipe = _set_epochs(recipe, epochs, named)
    check_recipe(recipe, named)
    if recipe.backbone is None and backbone_weights not in ("imagenet", "none"):
        raise RecipeError(
            f"--backbone-weights FILE works only with a backbone, and the recipe {recipe.name} has "
            f"none: leave it out. Received: {backbone_weights}."
        )
    weights = None if backbone_weights == "none" or not recipe.backbone else backbone_weights
    initial_weights = _weights_identity(weights)
    if external is not None and recipe.kind == "segmentation":
        raise RecipeError(
            f"--external works only with a classifier, and the recipe {recipe.name} is not one: "
            "leave it out."
        )
    name = name or find_free_name(models, recipe.name)
    check_name(models, name, overwrite=overwrite)
    folder = find_dataset(data)
    index = build_index(folder, seed=split_seed, held_out=held_out)
    mask_folder = find_masks(masks) if recipe.kind == "segmentation" else None
    missing = [] if mask_folder is None else without_mask(index, mask_folder)
    index = index[~index["path"].isin(missing)].reset_index(drop=True)
    test_masks = find_masks_if_named(masks) if recipe.kind == "classifier" else None
    if test_masks is not None:
        without_mask(index[index["fold"] == "test"], test_masks)  # raises an error if all are
    external_folder = find_external(external) if recipe.kind == "classifier" else None
    if external_folder is not None:
        read_external(external_folder)  # raises an error if the table is invalid
    if limit is not None:
        index = limit_index(index, limit, split_seed)
    check_folds(index)
    check_classes(index)
    lung_bundle = find_lungs(models, lungs, recipe)
    return Plan(
        recipe=recipe,
        folder=folder,
        index=index,
        masks=mask_folder,
        test_masks=test_masks,
        external=external_folder,
        without_mask=tuple(missing),
        target=models / name,
        run_folder=models / f".{name}.training",
        lungs=lung_bundle,
        backbone_weights=weights,
        identity={
            "recipe": recipe.to_dict(),
            "seed": seed,
            "split seed": split_seed,
            "backbone weights": initial_weights,
            **_lungs_identity(recipe, lung_bundle),
        },
        seed=seed,
        split_seed=split_seed,
        limit=limit,
        skip_unreadable=skip_unreadable,
        resume=resume,
        command=command,
        held_out=held_out,
    )


def find_lungs(models: Path, name: str, recipe: Recipe) -> Bundle | None:
    """Open the lung network that a classifier gets a copy of.

    Parameters
    ----------
    models : pathlib.Path
        The folder of the bundles. A bundle that is not there is looked up in the project's own.
    name : str
        Name of its bundle, or "none".
    recipe : Recipe
        Recipe of the classifier.

    Returns
    -------
    Bundle or None
        None for the name "none", and for a recipe of the kind "segmentation".

    Raises
    ------
    BundleError
        The bundle cannot be opened, or the recipe needs it and the name is "none".
    """
    if recipe.kind == "segmentation":
        return None
    if name == "none":
        if recipe.trains_on_lungs:
            raise BundleError(
                f"The recipe {recipe.name} is trained on the lungs, so it needs a lung network: "
                "leave out --lungs none."
            )
        return None
    folder = next((one / name for one in (models, shipped_models()) if (one / name).is_dir()), None)
    if folder is None:
        without = "" if recipe.trains_on_lungs else ", or leave it out with --lungs none"
        raise BundleError(
            f"There is no lung network called {name} in {models}: train one with `python train.py "
            f"--recipe lungs --masks DIR`, copy its bundle there{without}."
        )
    return open_bundle(folder, kind="segmentation")


def _set_epochs(recipe: Recipe, epochs: int, named: set[str]) -> Recipe:
    """Set the number of epochs, and limit fields that depend on it unless they were set by name."""
    limited = {
        name: min(getattr(recipe, name), max(epochs, 1))
        for name in ("stem_epochs", "cached_views")
        if name not in named
    }
    return replace(recipe, epochs=epochs, **limited)


def check_classes(index: pd.DataFrame) -> None:
    """Check that every fold has images of both classes.

    Parameters
    ----------
    index : pandas.DataFrame
        With the columns `fold` and `label`.

    Raises
    ------
    DatasetError
        A fold has no image of a class.
    """
    for fold in ("train", "validation", "test"):
        present = set(index.loc[index["fold"] == fold, "label"])
        for label in LABELS:
            if label not in present:
                raise DatasetError(
                    f"The {fold} fold contains no readable {label} image (for a segmentation, with "
                    "a mask). Training needs images of both classes from several patients each, "
                    "and a test folder with both."
                )


def _lungs_identity(recipe: Recipe, lungs: Bundle | None) -> dict[str, str]:
    """The version of the lung network, if the crop makes the training depend on it."""
    return {"lung network": lungs.version} if lungs and recipe.trains_on_lungs else {}


def _weights_identity(weights: str | None) -> str | None:
    """The initial weights: "imagenet", the first 16 digits of a file's SHA-256, or None."""
    if weights is None or weights == "imagenet":
        return weights
    if not Path(weights).is_file():
        raise RecipeError(f"There is no weights file {weights}.")
    with open(weights, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
