"""The training command: options, plan, training, results on the terminal."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from xray_core.command_line import run_command
from xray_core.errors import RecipeError
from xray_core.model.recipes import RECIPES, Recipe, find_recipe
from xray_core.places import MODELS, how_to_open
from xray_core.training.plan import LUNGS, plan_training

_OF_THIS_MACHINE = (
    "--data",
    "--masks",
    "--external",
    "--models",
    "--backbone-weights",
    "--name",
    "--runs",
    "--ray",
)  # folders, names and addresses


def main(arguments: list[str] | None = None) -> int:
    """Run `python train.py`.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.

    Returns
    -------
    int
        The exit status: 0, 1 after an error (one sentence on standard error), 130 if interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    return run_command(
        lambda: _train(options, arguments),
        interrupted="The finished epochs are kept: resume with the same options and --resume.",
    )


def _train(options: argparse.Namespace, arguments: list[str]) -> None:
    recipe = find_recipe(options.recipe)
    common = {
        "settings": options.settings,
        "epochs": options.epochs,
        "data": options.data,
        "masks": options.masks,
        "external": options.external,
        "models": options.models,
        "name": options.name,
        "resume": options.resume,
        "limit": options.limit,
        "lungs": options.lungs,
        "backbone_weights": options.backbone_weights,
        "seed": options.seed,
        "split_seed": options.split_seed,
        "skip_unreadable": options.skip_unreadable,
        "command": _reproducible_options(arguments),
    }
    if options.folds is not None or options.seeds is not None:
        _train_runs(options, recipe, common)
        return
    for option in ("--ray", "--average", "--runs"):
        if getattr(options, option[2:]):
            raise RecipeError(f"{option} works only with --folds or --seeds: leave it out.")
    plan = plan_training(recipe, overwrite=options.overwrite, **common)
    from xray_core.training.run import train  # imports TensorFlow, so only after all checks

    bundle = train(plan)
    from xray_core.evaluation.tables import metrics_table
    from xray_core.training.segmentation_card import results_table

    segmentation = bundle.kind == "segmentation"
    to_text = results_table if segmentation else metrics_table
    for fold in ("validation", "test"):
        print(f"\n{fold.capitalize()}\n{to_text(bundle.config['metrics'][fold])}")
    if segmentation:
        print(f"\nThe model is in {bundle.folder}.")
        return
    print(f"\nThe model is in {bundle.folder}. Open it with: {how_to_open(options.models)}")


def _train_runs(options: argparse.Namespace, recipe: Recipe, common: dict[str, Any]) -> None:
    from xray_core.training import cross_validation

    seeds = 1 if options.seeds is None else options.seeds
    if options.overwrite:
        raise RecipeError(
            "--overwrite does not work with --folds or --seeds: choose another --name, or delete "
            "the folder of the earlier runs."
        )
    if options.average and (seeds < 2 or recipe.kind != "classifier"):
        raise RecipeError(
            "--average is of several seeds of a classifier: set --seeds to 2 or more, or leave "
            "--average out."
        )
    runs = cross_validation.plan_runs(
        recipe,
        folds=options.folds,
        seeds=seeds,
        runs=options.runs or cross_validation.RUNS,
        **common,
    )
    cross_validation.train_runs(runs, ray=options.ray)
    table, summary = cross_validation.tabulate(runs)
    images = "the held-out images" if options.folds else "the test images"
    print(f"\n{len(table)} runs, each on {images} of its own split")
    print(cross_validation.summary_text(summary))
    if options.average:
        table, summary = cross_validation.tabulate_averages(runs)
        print(f"\nAverage of {seeds} seeds")
        print(cross_validation.summary_text(summary))
    print(f"\nThe tables and the models are in {runs.folder}.")


def _parser() -> argparse.ArgumentParser:
    recipes = "\n".join(f"  {recipe.name:<16} {recipe.summary}" for recipe in RECIPES.values())
    parser = argparse.ArgumentParser(
        description="Train a model on the chest X-ray dataset, calibrate and evaluate it, and save "
        "it as a bundle that the app can load. The recipe lungs trains a network that outlines the "
        "lungs.",
        epilog=f"recipes:\n{recipes}\n\nexamples:\n"
        "  python train.py --data data/chest_xray\n"
        "  python train.py --recipe cnn --epochs 5 --limit 200 --name quick\n"
        "  python train.py --set last_stage=conv5 --set augmentation.rotation=20\n"
        "  python train.py --recipe lungs --masks data/lung_masks\n"
        "  python train.py --resume          (resumes a stopped run)\n"
        "  python train.py --folds 5 --ray   (cross-validation; see docs/scale.md)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--recipe", default="resnet50", metavar="NAME", help="what to train (default: resnet50)")
    option(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        dest="settings",
        help="change a field of the recipe; may be given several times",
    )
    option(
        "--data",
        metavar="DIR",
        help="folder of the dataset (default: $CHEST_XRAY_DIR, then data/chest_xray)",
    )
    option(
        "--masks",
        metavar="DIR",
        help="folder of the lung masks, DIR/{train,val,test}/{NORMAL,PNEUMONIA}/STEM.png, white "
        "for lung: --recipe lungs needs them; for other recipes, they hide the lungs of test "
        "images after the training (default: $LUNG_MASKS_DIR)",
    )
    option(
        "--external",
        metavar="DIR",
        help="images of other hospitals and the table of them, measured after the training for "
        "the model card (default: $XRAY_EXTERNAL_DIR)",
    )
    option("--name", help="name of the bundle (default: that of the recipe, or the next free one)")
    option("--models", type=Path, default=MODELS, metavar="DIR", help="folder of the bundles")
    option(
        "--overwrite",
        action="store_true",
        help="replace a bundle of that name when the new one is complete",
    )
    option("--epochs", type=int, metavar="N", help="largest number of epochs")
    option(
        "--limit",
        type=int,
        metavar="N",
        help="at most N images per class and fold, for a trial run",
    )
    option(
        "--lungs",
        default=LUNGS,
        metavar="NAME|none",
        help="bundle of the lung network in the folder of the bundles, for the crop to the lungs "
        f"and the input check (default: {LUNGS})",
    )
    option(
        "--backbone-weights",
        default="imagenet",
        metavar="imagenet|none|FILE",
        help="initial weights of the backbone (default: ImageNet, downloaded by Keras)",
    )
    option(
        "--resume", action="store_true", help="resume a stopped run after its last finished epoch"
    )
    option(
        "--skip-unreadable",
        action="store_true",
        help="leave out images that cannot be read, and record them in the bundle",
    )
    option(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the training, not of the split; equal seeds give equal results (default: 0)",
    )
    option(
        "--split-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the validation fold, of the parts of --folds, and of the images that --limit "
        "draws (default: 0)",
    )
    option(
        "--folds",
        type=int,
        metavar="N",
        help="cross-validation: divide the training and validation images in N parts, train N "
        "models, each without one part, and measure each on that part; the test images are not "
        "used",
    )
    option(
        "--seeds",
        type=int,
        metavar="N",
        help="train with N seeds, from --seed upwards; with --folds, N for each fold",
    )
    option(
        "--average",
        action="store_true",
        help="with --seeds: also measure the average of the seeds",
    )
    option(
        "--runs",
        type=Path,
        metavar="DIR",
        help="with --folds or --seeds: folder in which a folder with a model for each run and the "
        "tables is made (default: runs)",
    )
    option(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="with --folds or --seeds: train on Ray, one model on each computer of the cluster at "
        "this address, or without one on this computer alone",
    )
    return parser


def _reproducible_options(arguments: list[str]) -> str:
    """The options needed to repeat the training, without the folders of this machine."""
    kept, skip = [], False
    for argument in arguments:
        option, _, value = argument.partition("=")
        if skip and not argument.startswith("-"):  # --ray may come without a value
            skip = False
        elif option in _OF_THIS_MACHINE:
            skip = not value
            if option == "--backbone-weights":
                kept.append("--backbone-weights FILE")
            if option in ("--masks", "--external"):
                kept.append(f"{option} DIR")
        else:
            skip = False
            if option not in ("--overwrite", "--resume", "--average"):
                kept.append(shlex.quote(argument))
    return " ".join(kept)
