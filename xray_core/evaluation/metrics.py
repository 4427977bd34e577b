"""The metrics of a diagnostic test at one threshold, each with a 95% interval over patients.

`prepare_scores` draws the bootstrap once; `evaluate` then takes a few milliseconds a threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from xray_core.errors import XrayError
from xray_core.evaluation.scores import Scores
from xray_core.stats.delong import delong
from xray_core.stats.intervals import Estimate, wald_interval, wilson_interval


@dataclass(frozen=True)
class Confusion:
    """The 2 x 2 table: images by reference label and model output; positive is PNEUMONIA."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int


@dataclass(frozen=True)
class Metrics:
    """The metrics of a set of images at one threshold.

    Rates are in [0, 1]; NaN means that a metric is not defined on these images.

    Attributes
    ----------
    threshold
        An image with a probability at or above it is positive.
    images, patients
        How many were evaluated.
    prevalence
        The share of pneumonia among the images.
    stated_prevalence
        The prevalence at which `ppv` and `npv` hold.
    confusion
        The counts behind the rates.
    brier, calibration_error, log_loss
        Of the probabilities at `prevalence`. The calibration error is of the probability of
        PNEUMONIA in ten equal bins; the log loss is in natural logarithms.
    """

    threshold: float
    images: int
    patients: int
    prevalence: float
    stated_prevalence: float
    confusion: Confusion
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    f1: Estimate
    balanced_accuracy: Estimate
    mcc: Estimate
    positive_likelihood_ratio: Estimate
    negative_likelihood_ratio: Estimate
    roc_auc: Estimate
    average_precision: Estimate
    brier: Estimate
    calibration_error: Estimate
    log_loss: Estimate

    def estimates(self) -> Iterator[tuple[str, Estimate]]:
        """Yield the metrics with intervals, by name, in the order of the fields."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Estimate):
                yield field.name, value


def evaluate(scores: Scores, *, threshold: float, prevalence: float | None = None) -> Metrics:
    """Return all metrics at a threshold.

    Where no draw of patients differs from the estimate (without any error, for example), the
    interval comes from Wilson's limits of sensitivity and specificity with patients in place of
    images, so that 100% is never given as "100% to 100%".

    Parameters
    ----------
    scores
        The images.
    threshold
        In [0, 1], on the scale of the scores' probabilities.
    prevalence
        In (0, 1), where PPV and NPV hold; by default that of the images.

    Raises
    ------
    XrayError
        `threshold` or `prevalence` is out of range.
    """
    if not 0 <= threshold <= 1:
        raise XrayError(f"A threshold lies between 0 and 1. Received: {threshold}.")
    if prevalence is not None and not 0 < prevalence < 1:
        raise XrayError(f"A prevalence lies between 0 and 1. Received: {prevalence}.")
    threshold_free = scores.threshold_free  # first: it takes longest, and runs beside the drawing
    positive, truth = scores.probability >= threshold, scores.label
    cells = np.stack(
        [truth & positive, truth & ~positive, ~truth & positive, ~truth & ~positive], axis=1
    )
    counts = scores.weights.sums(scores.per_patient(cells.astype(float)))  # (rows, 4)
    tp, fn, fp, tn = counts.T
    rows = _rates(tp, fn, fp, tn, prevalence)
    corners = _corners(scores, rows, prevalence)
    estimates = {}
    for name, values in rows.items():
        estimates[name] = scores.weights.interval(values)
        if scores.weights.is_constant(values) and not np.isnan(values[0]):
            ends = np.append(corners[name], values[0])
            estimates[name] = Estimate(float(values[0]), float(ends.min()), float(ends.max()))
    return Metrics(
        threshold=float(threshold),
        images=len(truth),
        patients=scores.weights.patients,
        prevalence=scores.prevalence,
        stated_prevalence=scores.prevalence if prevalence is None else float(prevalence),
        confusion=Confusion(*(int(x) for x in np.rint(counts[0]))),
        **estimates,
        **threshold_free,
    )


def independent_intervals(scores: Scores, metrics: Metrics) -> dict[str, tuple[float, float]]:
    """Return the textbook intervals, which take all images as independent.

    They are too narrow where patients have several images, since these resemble each other.

    Parameters
    ----------
    scores, metrics
        The images, and the result of `evaluate` on them.

    Returns
    -------
    dict
        Wilson's interval of the proportions and DeLong's of the ROC area, by metric name.
        Predictive values are left out where they hold at another prevalence than the images'.
    """
    table = metrics.confusion
    tp, fn = table.true_positive, table.false_negative
    fp, tn = table.false_positive, table.true_negative
    areas, covariance = delong(scores.label, scores.probability)
    intervals = {
        "accuracy": wilson_interval(tp + tn, tp + fn + fp + tn),
        "sensitivity": wilson_interval(tp, tp + fn),
        "specificity": wilson_interval(tn, tn + fp),
        "roc_auc": wald_interval(float(areas[0]), float(covariance[0, 0])),
    }
    if metrics.stated_prevalence == metrics.prevalence:
        intervals["ppv"] = wilson_interval(tp, tp + fp)
        intervals["npv"] = wilson_interval(tn, tn + fn)
    return intervals


def _rates(tp: Any, fn: Any, fp: Any, tn: Any, prevalence: float | None) -> dict[str, np.ndarray]:
    """The metrics of 2 x 2 tables, given as arrays of counts; 0/0 is NaN, x/0 is infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        if prevalence is None:
            ppv, npv = tp / (tp + fp), tn / (tn + fn)
        else:  # Bayes' theorem
            true_pos, false_pos = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
            false_neg, true_neg = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
            ppv, npv = true_pos / (true_pos + false_pos), true_neg / (true_neg + false_neg)
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


def _corners(
    scores: Scores, rows: dict[str, np.ndarray], prevalence: float | None
) -> dict[str, np.ndarray]:
    """The metrics at the low and high Wilson limits of sensitivity and specificity together.

    All are monotone in both, so the two corners bound them.
    """
    limits = []
    for name, side in (("sensitivity", True), ("specificity", False)):
        patients, rate = len(np.unique(scores.patient[scores.label == side])), rows[name][0]
        limits.append(
            np.array(wilson_interval(rate * patients, patients)) if patients else np.zeros(2)
        )
    (sensitivity, specificity), share = limits, scores.prevalence
    return _rates(
        sensitivity * share,
        (1 - sensitivity) * share,
        (1 - specificity) * (1 - share),
        specificity * (1 - share),
        prevalence,
    )
