"""Several runs of one recipe: the folds of a cross-validation, several seeds, or both.

Each run is a training of its own with a bundle of its own, under `runs/NAME/`. In a run of a
cross-validation the fold "test" is the part of the training and validation images that is held out:
its images choose neither epoch nor calibration nor thresholds, and no image of the test folder is
read. The runs share nothing, so they run one after the other or, on Ray, on several computers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from xray_core.command_line import silence_tensorflow
from xray_core.errors import BundleError, DatasetError, RecipeError, XrayError
from xray_core.evaluation.metrics import evaluate
from xray_core.evaluation.scores import prepare_table
from xray_core.evaluation.tables import NAMES, metrics_json
from xray_core.model.bundle import CONFIG, Bundle, open_bundle, recover
from xray_core.model.bundle_writing import check_name
from xray_core.model.recipes import Recipe
from xray_core.ray_cluster import connected, first_line, node_resources
from xray_core.training.plan import LARGEST_SEED, Plan, plan_training

RUNS = Path("runs")
PLAN = "plan.json"  # what the runs of a folder have in common, checked by `resume`
RUN_TABLE, SUMMARY_TABLE, AVERAGE_TABLE = "runs.csv", "summary.csv", "averages.csv"
_COLUMNS = ("run", "fold", "seed", "images", "patients")


@dataclass(frozen=True)
class Runs:
    """Several trainings whose options have been checked.

    Attributes
    ----------
    folder : pathlib.Path
        Holds a bundle for each run, and the tables.
    plans : tuple of Plan
        The trainings; each may already have a bundle.
    identity : dict
        What must be equal for the runs to be resumed, as plain JSON.
    """

    folder: Path
    plans: tuple[Plan, ...]
    identity: dict[str, Any]


def plan_runs(
    recipe: Recipe,
    *,
    folds: int | None = None,
    seeds: int = 1,
    runs: Path = RUNS,
    name: str | None = None,
    resume: bool = False,
    seed: int = 0,
    limit: int | None = None,
    **options: Any,
) -> Runs:
    """Check all options of several trainings before the first image is read.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    folds : int, optional
        Number of parts of a cross-validation; by default the usual split.
    seeds : int
        Number of seeds of the training, from `seed` upwards.
    runs : pathlib.Path
        The folder of the folders of runs.
    name : str, optional
        Name of the folder of these runs; by default recipe, folds and seeds.
    resume : bool
        Continue the runs of that name.
    seed, limit, **options
        As for `plan_training`.

    Returns
    -------
    Runs

    Raises
    ------
    DatasetError, RecipeError, BundleError
        An option is invalid; the message says what to do.
    """
    if folds is not None and folds < 2:
        raise DatasetError(f"--folds must be at least 2. Received: {folds}.")
    if seeds < 1:
        raise RecipeError(f"--seeds must be at least 1. Received: {seeds}.")
    if seed + seeds - 1 > LARGEST_SEED:
        raise RecipeError(
            f"The last of the seeds must be at most {LARGEST_SEED}. Received: {seed + seeds - 1}."
        )
    parts = [None] if folds is None else [(number, folds) for number in range(1, folds + 1)]
    name = name or "-".join(
        [recipe.name, *([f"{folds}-folds"] if folds else []), *([f"{seeds}-seeds"] * (seeds > 1))]
    )
    folder = (runs / name).absolute()
    check_name(folder.parent, name, overwrite=True)  # the form of the name alone
    if (folder / CONFIG).exists():
        raise BundleError(f"{runs / name} is a model, not a folder of runs: choose another --name.")
    if not resume and (folder / PLAN).exists():
        raise BundleError(
            f"There are runs in {runs / name} already: continue them with --resume, or choose "
            "another --name."
        )
    plans = []
    for part in parts:
        plan = plan_training(
            recipe, name=name, overwrite=True, seed=seed, limit=limit, held_out=part, **options
        )
        plans += [_run_plan(plan, folder, seed + i, seeds) for i in range(seeds)]
    tables = "".join(
        plan.index[["path", "fold", "bytes"]].to_csv(index=False) for plan in plans[::seeds]
    )
    identity = {
        **plans[0].identity,
        "number of folds": folds,
        "number of seeds": seeds,
        "limit": limit,
        "set of images": hashlib.sha256(tables.encode()).hexdigest(),
    }
    stored = _stored_identity(folder)
    for key, value in json.loads(json.dumps(identity)).items():
        if stored is not None and stored.get(key) != value:
            raise BundleError(
                f"The runs in {runs / name} were started with another {key}: resume them with the "
                "same options, or choose another --name."
            )
    return Runs(folder, tuple(plans), identity)


def train_runs(runs: Runs, *, ray: str | None = None, log: Callable[[str], None] = print) -> None:
    """Train all runs that have no bundle yet, each from its last checkpoint.

    Parameters
    ----------
    runs : Runs
        As `plan_runs` returns them.
    ray : str, optional
        Address of a Ray cluster, as for `connected`; by default one run after the other, in this
        process.
    log : callable
        Receives one line of text per event.

    Raises
    ------
    XrayError
        As for `train`; on Ray, once all other runs are finished.
    """
    runs.folder.mkdir(parents=True, exist_ok=True)
    (runs.folder / PLAN).write_text(json.dumps(runs.identity, indent=2), encoding="utf-8")
    missing = []
    for plan in runs.plans:
        recover(plan.target)
        if not plan.target.exists():
            missing.append(plan)
    if len(missing) < len(runs.plans):
        log(f"{len(runs.plans) - len(missing)} of {len(runs.plans)} runs are finished.")
    if ray is not None:
        _train_on_ray(missing, ray, log)
        return
    for plan in missing:
        log(f"Run {plan.target.name}")
        _train(plan, log)


def tabulate(runs: Runs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tabulate the metrics of finished runs, and store the tables beside them.

    Parameters
    ----------
    runs : Runs
        All of them have a bundle.

    Returns
    -------
    table : pandas.DataFrame
        One row per run, with the metrics of its fold "test".
    summary : pandas.DataFrame
        As `summarize` returns it.
    """
    table = pd.DataFrame([_row(plan) for plan in runs.plans])
    summary = summarize(table)
    table.to_csv(runs.folder / RUN_TABLE, index=False)
    summary.to_csv(runs.folder / SUMMARY_TABLE)
    return table, summary


def tabulate_averages(runs: Runs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the average of the seeds of each fold, and store the table beside the runs.

    The calibrated log-odds of the runs that differ by the seed alone are averaged, image by image,
    on their fold "test", which none of them was trained on.

    Parameters
    ----------
    runs : Runs
        Runs of a classifier with several seeds. All of them have a bundle.

    Returns
    -------
    table : pandas.DataFrame
        One row per fold.
    summary : pandas.DataFrame
        As `summarize` returns it.
    """
    by_fold: dict[tuple[int, int] | None, list[Plan]] = {}
    for plan in runs.plans:
        by_fold.setdefault(plan.held_out, []).append(plan)
    table = pd.DataFrame([_average_row(plans) for plans in by_fold.values()])
    table.to_csv(runs.folder / AVERAGE_TABLE, index=False)
    return table, summarize(table)


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation, smallest and largest value of each metric.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per run.

    Returns
    -------
    pandas.DataFrame
        One row per metric, with the columns runs (in which it is defined), mean, sd (of a sample),
        min and max.
    """
    metrics = table.drop(columns=[column for column in _COLUMNS if column in table])
    metrics = metrics.replace([np.inf, -np.inf], np.nan)  # ratios of a perfect run
    summary = metrics.agg(["count", "mean", "std", "min", "max"]).T
    summary["count"] = summary["count"].astype(int)
    return summary.rename(columns={"count": "runs", "std": "sd"}).rename_axis("metric")


def summary_text(summary: pd.DataFrame) -> str:
    """Return a summary as lines for the terminal."""
    titled = summary.rename(index=lambda name: NAMES.get(name, name)).rename_axis(None)
    return titled.to_string(float_format="{:.4f}".format)


def _run_plan(plan: Plan, folder: Path, seed: int, seeds: int) -> Plan:
    """Return the plan of one run, with paths that are valid in any folder of any computer."""
    names = [f"fold-{plan.held_out[0]}"] if plan.held_out else []
    names += [f"seed-{seed}"] if seeds > 1 or not names else []
    name = "-".join(names)
    lungs, weights = plan.lungs, plan.backbone_weights
    return replace(
        plan,
        folder=plan.folder.absolute(),
        masks=plan.masks and plan.masks.absolute(),
        test_masks=plan.test_masks and plan.test_masks.absolute(),
        external=plan.external and plan.external.absolute(),
        lungs=lungs and replace(lungs, folder=lungs.folder.absolute()),
        backbone_weights=(
            weights if weights in (None, "imagenet") else str(Path(weights).absolute())
        ),
        target=folder / name,
        run_folder=folder / f".{name}.training",
        seed=seed,
        identity=plan.identity | {"seed": seed},
    )


def _stored_identity(folder: Path) -> dict[str, Any] | None:
    file = folder / PLAN
    if not file.exists():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} is damaged: choose another --name.") from error
    return stored


def _train(plan: Plan, log: Callable[[str], None]) -> None:
    """Train one run, from its last checkpoint if there is one."""
    import keras

    from xray_core.training.run import train

    keras.utils.clear_session()  # the networks of earlier runs
    train(replace(plan, resume=plan.run_folder.exists()), log=log)


def _train_on_ray(plans: Sequence[Plan], address: str, log: Callable[[str], None]) -> None:
    """Train each run as a task of Ray, as many at a time as there are computers."""
    failed = {}
    with connected(address) as ray:
        nodes = node_resources(ray)
        task = ray.remote(
            num_cpus=min(node["CPU"] for node in nodes),
            num_gpus=min(1, *(node.get("GPU", 0) for node in nodes)),
            scheduling_strategy="SPREAD",
            max_retries=3,  # where a worker or its computer is lost
        )(train_on_worker)
        remaining = list(plans)
        running: dict[Any, str] = {}
        while remaining or running:
            while remaining and len(running) < len(nodes):
                plan = remaining.pop(0)
                running[task.remote(plan)] = plan.target.name
            (done,), _ = ray.wait(list(running), num_returns=1)
            name = running.pop(done)
            try:
                problem = ray.get(done)
            except Exception as error:  # of Ray, or of the task
                problem = f"{first_line(error)}."
            if problem:
                failed[name] = problem
            log(f"Run {name}: {problem or 'finished'}")
    if failed:
        name, problem = next(iter(failed.items()))
        raise XrayError(
            f"{len(failed)} of {len(plans)} runs failed, the first of them {name}: {problem} The "
            "others are kept; run the same command with --resume."
        )


def train_on_worker(plan: Plan) -> str:
    """Train one run in a worker of Ray.

    Returns
    -------
    str
        Why it failed, as a sentence; "" if it did not.
    """
    silence_tensorflow()
    try:
        _train(plan, lambda line: None)
    except XrayError as error:
        return str(error)
    return ""


def _row(plan: Plan) -> dict[str, Any]:
    is_segmentation = plan.recipe.kind == "segmentation"
    bundle = open_bundle(plan.target, kind="segmentation" if is_segmentation else "classifier")
    measured = bundle.config["metrics"]["test"]
    if is_segmentation:
        metrics = measured = measured["all"]
    else:
        metrics = measured["metrics"]
    return {
        "run": bundle.name,
        "fold": _number(plan),
        "seed": plan.seed,
        "images": measured["images"],
        "patients": measured["patients"],
        **_values(metrics),
    }


def _average_row(plans: Sequence[Plan]) -> dict[str, Any]:
    bundles = [open_bundle(plan.target) for plan in plans]
    tables = [_test_predictions(bundle) for bundle in bundles]
    log_odds = np.mean([table["log_odds"] for table in tables], axis=0)
    calibration = bundles[0].calibration
    scores = prepare_table(tables[0].assign(probability=expit(log_odds)), prior=calibration.prior)
    measured = metrics_json(evaluate(scores, threshold=calibration.decision_threshold))
    return {
        "fold": _number(plans[0]),
        "images": measured["images"],
        "patients": measured["patients"],
        **_values(measured["metrics"]),
    }


def _test_predictions(bundle: Bundle) -> pd.DataFrame:
    """The rows of the fold "test", with calibrated `log_odds` of every image, also refused ones."""
    table = bundle.predictions()
    table = table[table["fold"] == "test"].sort_values("file", ignore_index=True)
    return table.assign(log_odds=bundle.calibration.log_odds(table["logit"]))


def _number(plan: Plan) -> int | None:
    return None if plan.held_out is None else plan.held_out[0]


def _values(metrics: dict[str, Any]) -> dict[str, float]:
    """Values without intervals; None, which JSON has for a metric that is not defined, as NaN."""
    estimates = {name: value for name, value in metrics.items() if isinstance(value, dict)}
    return {
        name: float("nan" if estimate["value"] is None else estimate["value"])
        for name, estimate in estimates.items()
    }
