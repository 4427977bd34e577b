"""Predicting images of other hospitals for a bundle's model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from xray_core.dataset.external import read_external
from xray_core.evaluation.external import summarize_external
from xray_core.prediction.labelled import predict_labelled
from xray_core.prediction.predictor import Predictor


def measure_external(predictor: Predictor, folder: Path) -> list[dict[str, Any]]:
    """Predict a table of images from other hospitals, as the app does, and evaluate the results.

    Parameters
    ----------
    predictor : Predictor
    folder : pathlib.Path
        See `xray_core.dataset.external`.

    Returns
    -------
    list of dict
        As `summarize_external` returns it.

    Raises
    ------
    DatasetError
        The folder or its table is not as expected.
    """
    return summarize_external(predict_external(predictor, folder), predictor.calibration)


def predict_external(predictor: Predictor, folder: Path) -> pd.DataFrame:
    """Predict a table of images from other hospitals, as the app does.

    Parameters
    ----------
    predictor, folder
        As for `measure_external`, also for what is raised.

    Returns
    -------
    pandas.DataFrame
        The columns of `read_external`, with logit, probability, verdict and gate; see
        `xray_core.prediction.labelled`.
    """
    table = read_external(folder)
    index = table.rename(columns={"file": "path"}).assign(fold="external", subtype="none")
    results = predict_labelled(predictor, index, folder)
    return table.assign(
        **{name: results[name] for name in ("logit", "probability", "verdict", "gate")}
    )
