"""The 2 x 2 table of a diagnostic test, and all that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Confusion:
    """Images by what they are and what they are called; positive is PNEUMONIA."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int


def rates(tp: Any, fn: Any, fp: Any, tn: Any, prevalence: float | None) -> dict[str, np.ndarray]:
    """The metrics of a 2 x 2 table (arrays of tables); 0/0 is NaN, x/0 is infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        if prevalence is None:
            ppv, npv = tp / (tp + fp), tn / (tn + fn)
        else:
            hit, false_alarm = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
            miss, pass_ = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
            ppv, npv = hit / (hit + false_alarm), pass_ / (pass_ + miss)
        return {
            "accuracy": (tp + tn) / (tp + fn + fp + tn),
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": ppv,
            "npv": npv,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "mcc": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
            "positive_likelihood_ratio": sensitivity / (1 - specificity),
            "negative_likelihood_ratio": (1 - sensitivity) / specificity,
        }
