"""Predictions of labelled images: the table that every evaluation uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from xray_core.prediction.predictor import Predictor

COLUMNS = (
    "file",
    "fold",
    "label",
    "subtype",
    "patient",
    "logit",
    "probability",
    "verdict",
    "gate",
    "map_in_lungs",
)


def predict_labelled(
    predictor: Predictor,
    index: pd.DataFrame,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Predict the images of an index and return them as a table with COLUMNS.

    Parameters
    ----------
    predictor
        The model.
    index
        Rows of `build_index` or `index_labelled`: path, fold, label, subtype, patient.
    folder
        The folder that the paths are relative to.
    progress
        Called with the number of images done and the number of all images.

    Returns
    -------
    pandas.DataFrame
        One row per image. An image refused by the network's input check keeps the probability that
        the network gives, so that an evaluation can count it. An image that is unreadable, or
        refused for its pixels alone, has none (NaN). `map_in_lungs` is NaN where the image was
        refused, its map is empty, or the model has no lung network.
    """
    logits: list[float] = []
    probabilities: list[float] = []
    verdicts: list[str] = []
    gates: list[str] = []
    inside: list[float] = []
    images = (folder / path for path in index["path"])
    for done, prediction in enumerate(predictor.predict_many(images), start=1):
        logits.append(np.nan if prediction.logit is None else prediction.logit)
        probabilities.append(np.nan if prediction.probability is None else prediction.probability)
        verdicts.append(prediction.verdict)
        gates.append(prediction.gate or "refused")
        inside.append(np.nan if prediction.map_in_lungs is None else prediction.map_in_lungs)
        if progress is not None:
            progress(done, len(index))
    logit = np.array(logits, np.float64)
    table = index[["fold", "label", "subtype", "patient"]].reset_index(drop=True)
    table.insert(0, "file", index["path"].to_numpy())
    table["logit"] = logit.round(6)
    probability = np.array(probabilities, np.float64)
    # An image that the network's input check refuses has none, and its log-odds are calibrated.
    calibrated = predictor.calibration.probability(logit)
    table["probability"] = np.where(np.isnan(probability), calibrated, probability).round(6)
    table["verdict"] = verdicts
    table["gate"] = gates
    table["map_in_lungs"] = np.array(inside, np.float64).round(4)
    return table
