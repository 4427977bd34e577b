"""The results of a segmentation's bundle: metrics, card and `config.json`, from the stored table.

This needs neither the network nor the dataset nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_core.evaluation.tables import finite
from xray_core.model import bundle as bundles
from xray_core.model import bundle_writing
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.stats.bootstrap import PatientWeights
from xray_core.training.results import rewriting
from xray_core.training.segmentation_card import segmentation_card

LOW_QUANTILE = 0.05  # the quantile of the Dice coefficient that stands for difficult images


def write_results(folder: Path, config: dict[str, Any], table: pd.DataFrame) -> None:
    """Write card and `config.json` to a bundle's folder that has all other files.

    Parameters
    ----------
    folder : pathlib.Path
        The bundle's folder.
    config : dict
        All except the metrics, which are computed here.
    table : pandas.DataFrame
        The rows of `segmentation.csv`.
    """
    metrics = {fold: summarise(table[table["fold"] == fold]) for fold in ("validation", "test")}
    config = finite({**config, "metrics": metrics})
    (folder / bundles.CARD).write_text(segmentation_card(config), encoding="utf-8")
    bundle_writing.seal(folder, config)


def finish_stored(bundle: Bundle, *, notes: str | None = None) -> Bundle:
    """Rebuild metrics and card of a segmentation's bundle from its own files.

    No image is predicted, so the test set is not used again.

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
        write_results(partial, config, bundle.segmentation())
    return open_bundle(bundle.folder, kind="segmentation")


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """Summarise how well masks fit, over all images and by class.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `segmentation.csv` of one fold.

    Returns
    -------
    dict
        For "all", "NORMAL", "bacteria" and "virus" (those that have images): the numbers of
        `images` and `patients`, and `dice` (mean), `dice_median`, `dice_p5` (5th percentile) and
        `iou` (mean), each as {value, low, high}. The 95% intervals draw patients.
    """
    groups = {
        "all": table,
        "NORMAL": table[table["label"] == "NORMAL"],
        "bacteria": table[table["subtype"] == "bacteria"],
        "virus": table[table["subtype"] == "virus"],
    }
    return {name: _estimates(rows) for name, rows in groups.items() if len(rows)}


def _estimates(table: pd.DataFrame) -> dict[str, Any]:
    patient = pd.factorize(table["patient"])[0]
    weights = PatientWeights(int(patient.max()) + 1)
    dice, iou = table["dice"].to_numpy(float), table["iou"].to_numpy(float)
    rows = weights.apply(
        _weighted(patient, dice, lambda values, counts: counts @ values / counts.sum()),
        _weighted(patient, dice, lambda values, counts: weighted_quantile(values, counts, 0.5)),
        _weighted(
            patient, dice, lambda values, counts: weighted_quantile(values, counts, LOW_QUANTILE)
        ),
        _weighted(patient, iou, lambda values, counts: counts @ values / counts.sum()),
        images=len(table),
    )
    names = ("dice", "dice_median", "dice_p5", "iou")
    return {
        "images": len(table),
        "patients": weights.patients,
        **{
            name: asdict(weights.interval(values)) for name, values in zip(names, rows, strict=True)
        },
    }


def _weighted(
    patient: np.ndarray,
    values: np.ndarray,
    statistic: Callable[[np.ndarray, np.ndarray], float],
) -> Callable[[np.ndarray], np.ndarray]:
    """The function for `PatientWeights.apply` of a statistic of sorted values and their counts."""
    order = np.argsort(values, kind="stable")
    values, patient = values[order], patient[order]

    def apply(block: np.ndarray) -> np.ndarray:
        # (block, patients) -> (block, images); a draw without any of the patients is not defined
        counts = block[:, patient]
        return np.array([statistic(values, row) if row.any() else np.nan for row in counts])

    return apply


def weighted_quantile(values: np.ndarray, counts: np.ndarray, share: float) -> float:
    """Return a quantile of sorted values, each of which counts a whole number of times.

    Parameters
    ----------
    values : numpy.ndarray
        (N,), ascending.
    counts : numpy.ndarray
        (N,), whole numbers, not all zero.
    share : float
        In [0, 1].

    Returns
    -------
    float
        That of `numpy.quantile` for the values repeated as often as they count.
    """
    last = np.cumsum(counts)  # one more than the last position of each value
    position = share * (last[-1] - 1)
    below, above = (
        values[np.searchsorted(last, at, side="right")]
        for at in (np.floor(position), np.ceil(position))
    )
    return float(below + (position - np.floor(position)) * (above - below))
