"""The results of a bundle: metrics, figures, card and `config.json`, from stored predictions.

This needs neither the network nor the dataset nor TensorFlow. A bundle's metrics and texts can
therefore be rebuilt from its own files when their definition or wording changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from xray_core.dataset.averages import read_averages, save_averages
from xray_core.dataset.index import fingerprint
from xray_core.errors import BundleError
from xray_core.evaluation.figures import write_figures
from xray_core.evaluation.tables import finite, summary
from xray_core.model import bundle as bundles
from xray_core.model import bundle_writing
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.calibration import Calibration
from xray_core.training.card import model_card


def write_results(
    folder: Path, config: dict[str, Any], predictions: pd.DataFrame, history: pd.DataFrame
) -> None:
    """Write figures, card and `config.json` to a bundle's folder that has all other files.

    Parameters
    ----------
    folder : pathlib.Path
        The bundle's folder.
    config : dict
        All except the metrics of validation and test, which are computed here.
    predictions : pandas.DataFrame
        The rows of `predictions.csv`.
    history : pandas.DataFrame
        One row per epoch.
    """
    calibration = Calibration.from_dict(config["calibration"])
    metrics = {
        "validation": summary(predictions, calibration, "validation"),
        "shifted_validation": config["metrics"]["shifted_validation"],
        "test": summary(predictions, calibration, "test"),
    }
    config = finite({**config, "metrics": metrics})
    write_figures(folder, predictions, calibration, history, config["training"]["best_epoch"])
    (folder / bundles.CARD).write_text(model_card(config), encoding="utf-8")
    bundle_writing.seal(folder, config)


def finish_stored(bundle: Bundle, *, notes: str | None = None) -> Bundle:
    """Rebuild metrics, figures and card of a bundle from its own files.

    All other files are copied byte for byte, except that the arrays of `averages.npz` get today's
    names. What needs the network (calibration, input check, robustness, metrics of the shifted
    validation images, effect of storage) is kept as stored. No image is predicted, so the test set
    is not used again.

    Parameters
    ----------
    bundle : Bundle
        The bundle; it is replaced.
    notes : str, optional
        Replaces the bundle's notes in the model card (Markdown).

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        The bundle's `config.json` lacks an entry that the card needs.
    """
    with rewriting(bundle, notes) as (partial, config):
        unreadable = config["dataset"].get("unreadable", [])
        config["dataset"] = dataset_facts(bundle.dataset(), unreadable)
        if bundles.AVERAGES in bundle.config["files"]:  # under the names of today's format
            averages = read_averages(bundle.folder / bundles.AVERAGES)
            save_averages(averages, partial / bundles.AVERAGES)
        write_results(partial, config, bundle.predictions(), bundle.history())
    return open_bundle(bundle.folder)


@contextmanager
def rewriting(bundle: Bundle, notes: str | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Replace a bundle by a copy of it in which the results are written again.

    Parameters
    ----------
    bundle : Bundle
        A bundle of any kind.
    notes : str, optional
        Replaces the bundle's notes.

    Yields
    ------
    partial : pathlib.Path
        The folder of the copy, with all files except card and figures.
    config : dict
        The content of its `config.json`.

    Raises
    ------
    BundleError
        The caller did not find an entry in `config`.
    """
    config = {k: v for k, v in bundle.config.items() if k not in ("format", "files")}
    if notes:
        config["notes"] = notes
    try:
        with bundle_writing.writing(bundle.folder) as partial:
            for name in bundle.config["files"]:
                if not _is_result(name):
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(bundle.folder / name, partial / name)
            yield partial, config
    except KeyError as error:
        raise BundleError(
            f"The model {bundle.name} has no entry {error}, which its card needs: rebuild it from "
            f"the dataset with `python -m xray_core finish {bundle.name}`."
        ) from error


def dataset_facts(index: pd.DataFrame, unreadable: Sequence[str]) -> dict[str, Any]:
    """Describe the images of a model for `config.json`.

    Parameters
    ----------
    index : pandas.DataFrame
        The measured index, as in `dataset.csv`.
    unreadable : sequence of str
        Paths of the images that were left out.

    Returns
    -------
    dict
        fingerprint, images, patients, counts and unreadable.
    """
    counts = index.value_counts(["fold", "label", "subtype"]).rename("images").sort_index()
    return {
        "fingerprint": fingerprint(index),
        "images": len(index),
        "patients": int(index["patient"].nunique()),
        "counts": counts.reset_index().to_dict("records"),
        "unreadable": list(unreadable),
    }


def _is_result(name: str) -> bool:
    """Whether a file is the card or a figure; the example images are in a folder of their own."""
    return name == bundles.CARD or ("/" not in name and name.endswith(".png"))
