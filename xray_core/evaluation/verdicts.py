"""Three-way results against the labels: pneumonia suspected, indeterminate, none detected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xray_core.labels import NORMAL, PNEUMONIA, UNCERTAIN
from xray_core.stats.bootstrap import draw_patients, wilson

VERDICTS = (PNEUMONIA, UNCERTAIN, NORMAL)


@dataclass(frozen=True)
class VerdictRate:
    """Images of one class with one verdict: their number, and their share with a 95% interval."""

    images: int
    value: float
    low: float
    high: float


def verdict_rates(
    predictions: pd.DataFrame, fold: str = "test"
) -> dict[str, dict[str, VerdictRate]]:
    """Count the verdicts of each class among images that passed the input check without caution.

    Parameters
    ----------
    predictions
        The columns fold, label, patient, verdict and gate, as a bundle stores them.
    fold
        Which fold to count.

    Returns
    -------
    dict
        By label (PNEUMONIA, NORMAL), then by verdict (PNEUMONIA, UNCERTAIN, NORMAL); a label
        without images is left out. Shares are in [0, 1] and add up to 1. Intervals are BCa from a
        bootstrap over patients; where no draw differs from the estimate, Wilson's with patients in
        place of images.
    """
    passed = predictions[(predictions["fold"] == fold) & (predictions["gate"] == "passed")]
    return {
        label: _rates(passed[passed["label"] == label])
        for label in (PNEUMONIA, NORMAL)
        if (passed["label"] == label).any()
    }


def _rates(images: pd.DataFrame) -> dict[str, VerdictRate]:
    names, patient = np.unique(images["patient"].astype(str), return_inverse=True)
    weights = draw_patients(len(names))
    has = images["verdict"].to_numpy()[:, None] == np.array(VERDICTS)  # (images, 3)
    per_patient = np.zeros((len(names), len(VERDICTS)))
    np.add.at(per_patient, patient, has)
    counted = weights.sums(per_patient)  # (rows, 3)
    shares = counted / counted.sum(axis=1, keepdims=True)
    found = {}
    for column, verdict in enumerate(VERDICTS):
        share, count = shares[:, column], int(has[:, column].sum())
        estimate = weights.interval(share)
        low, high = estimate.low, estimate.high
        if weights.is_constant(share):
            low, high = wilson(estimate.value * len(names), len(names))
        found[verdict] = VerdictRate(count, estimate.value, low, high)
    return found
