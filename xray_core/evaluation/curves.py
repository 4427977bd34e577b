"""The data behind the charts: ROC, precision-recall, reliability, net benefit, histograms.

Computed once, drawn by `figures` (files) and by the Evaluation page (interactive charts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from xray_core.evaluation.calibration import (
    ReliabilityBin,
    reliability_bins,
    simulated_calibration_errors,
)
from xray_core.evaluation.scores import Scores
from xray_core.model.calibration import shift_prior
from xray_core.stats.intervals import Estimate


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The ROC curve of a set of images, with its pointwise 95% band.

    Attributes
    ----------
    points
        A row per distinct score: threshold (infinite in the first row), false_positive_rate and
        sensitivity in [0, 1]. Empty where a class is missing.
    band
        Sensitivity at given false-positive rates: false_positive_rate, low, high. Empty where a
        class is missing.
    auc
        The area under the curve.
    """

    points: pd.DataFrame
    band: pd.DataFrame
    auc: Estimate


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Stated probabilities against observed shares, at the prevalence of the images.

    Attributes
    ----------
    bins
        The ten bins, empty ones too.
    error
        The expected calibration error.
    reference
        The 2.5% and 97.5% points of the errors that a perfectly calibrated model with these
        probabilities would show.
    prevalence
        The share of pneumonia, in [0, 1], to which the probabilities are shifted.
    """

    bins: list[ReliabilityBin]
    error: Estimate
    reference: tuple[float, float]
    prevalence: float


def roc_curve(scores: Scores, *, band_points: int = 101) -> RocCurve:
    """Return the ROC curve with its band from the bootstrap over patients.

    Parameters
    ----------
    scores
        The images.
    band_points
        The number of false-positive rates, from 0 to 1, at which the band is given.

    References
    ----------
    Vertical averaging: Fawcett, Pattern Recognition Letters 27 (2006) 861.
    """
    auc = scores.threshold_free["roc_auc"]
    if scores.one_class:
        return RocCurve(
            pd.DataFrame(columns=["threshold", "false_positive_rate", "sensitivity"]),
            pd.DataFrame(columns=["false_positive_rate", "low", "high"]),
            auc,
        )
    thresholds, tp, fp = _counts_at_thresholds(scores)
    points = pd.DataFrame(
        {
            "threshold": np.r_[np.inf, thresholds],
            "false_positive_rate": np.r_[0, fp / fp[-1]],
            "sensitivity": np.r_[0, tp / tp[-1]],
        }
    )
    return RocCurve(points, _roc_band(scores, band_points), auc)


def reliability_diagram(scores: Scores) -> ReliabilityDiagram:
    """Return the reliability diagram, the calibration error and its reference range."""
    errors = simulated_calibration_errors(scores.shifted, scores.patient)
    low, high = np.quantile(errors, [0.025, 0.975])
    return ReliabilityDiagram(
        reliability_bins(scores.label, scores.shifted, scores.patient),
        scores.threshold_free["calibration_error"],
        (float(low), float(high)),
        scores.prevalence,
    )


def precision_recall_curve(scores: Scores) -> pd.DataFrame:
    """Return precision against recall, a row per distinct score.

    Returns
    -------
    pandas.DataFrame
        threshold, recall, precision; empty without pneumonia. A random classifier has the
        prevalence of the images as its precision.
    """
    thresholds, tp, fp = _counts_at_thresholds(scores)
    if not scores.label.any():
        return pd.DataFrame(columns=["threshold", "recall", "precision"])
    return pd.DataFrame(
        {"threshold": thresholds, "recall": tp / tp[-1], "precision": tp / (tp + fp)}
    )


def decision_curve(scores: Scores, prevalence: float | None = None) -> pd.DataFrame:
    """Return the net benefit per image of treating by the model, against treating all and none.

    Net benefit is the share of true positives minus the share of false positives times
    risk / (1 - risk).

    Parameters
    ----------
    scores
        The images.
    prevalence
        The share of pneumonia to which the probabilities are shifted and at which the net benefit
        holds; by default that of the images.

    Returns
    -------
    pandas.DataFrame
        risk (the threshold probability, 1% to 99%), model, low, high (95%, over patients), all,
        none. Empty where a class is missing.

    References
    ----------
    Vickers and Elkin, Medical Decision Making 26 (2006) 565.
    """
    share = scores.prevalence if prevalence is None else prevalence
    risk = np.arange(1, 100) / 100
    columns = ["risk", "model", "low", "high", "all", "none"]
    if scores.one_class:
        return pd.DataFrame(columns=columns)
    shifted = shift_prior(scores.probability, source=scores.prior, target=share)
    # Images by class and by how many of the risks their probability reaches, 0 to 99.
    reached = np.searchsorted(risk - 1e-12, shifted, side="right")
    column = reached + 100 * scores.label
    of_patient = csr_array(
        (np.ones(len(column)), (scores.patient, column)), shape=(scores.weights.patients, 200)
    )
    [counts] = scores.weights.apply(lambda weights: (of_patient.T @ weights.T).T)
    above = counts.reshape(-1, 2, 100)[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]  # (rows, 2, 100)
    false_positives, true_positives = above[:, 0, 1:], above[:, 1, 1:]  # (rows, 99)
    normal, pneumonia = above[:, 0, :1], above[:, 1, :1]
    odds = risk / (1 - risk)
    with np.errstate(invalid="ignore"):
        benefit = share * true_positives / pneumonia - (1 - share) * odds * false_positives / normal
    draws = benefit[1 : 1 + scores.weights.bootstrap]
    low, high = np.nanquantile(draws, [0.025, 0.975], axis=0)
    treat_all = share - (1 - share) * odds
    values = (risk, benefit[0], low, high, treat_all, np.zeros_like(risk))
    return pd.DataFrame(dict(zip(columns, values, strict=True)))


def score_histogram(scores: Scores, bins: int = 20) -> pd.DataFrame:
    """Return the images per class in equal bins of their probability.

    Returns
    -------
    pandas.DataFrame
        label, low, high, images.
    """
    edges = np.linspace(0, 1, bins + 1)
    parts = []
    for label, side in (("NORMAL", False), ("PNEUMONIA", True)):
        counts, _ = np.histogram(scores.probability[scores.label == side], edges)
        parts.append(
            pd.DataFrame({"label": label, "low": edges[:-1], "high": edges[1:], "images": counts})
        )
    return pd.concat(parts, ignore_index=True)


def _roc_band(scores: Scores, band_points: int) -> pd.DataFrame:
    grid = np.linspace(0, 1, band_points)
    count = scores.positive_counter()

    def sensitivities(weights: np.ndarray) -> np.ndarray:
        curves = np.full((len(weights), band_points), np.nan)
        for curve, tp, fp in zip(curves, *count(weights), strict=True):
            if tp[-1] and fp[-1]:
                # The last of equal abscissae is the top of a vertical step.
                curve[:] = np.interp(grid, np.r_[0, fp / fp[-1]], np.r_[0, tp / tp[-1]])
        return curves

    [rows] = scores.weights.apply(sensitivities, images=len(scores.label))
    draws = rows[1 : 1 + scores.weights.bootstrap]
    draws = draws[~np.isnan(draws[:, 0])]  # a draw without one of the classes has no curve
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return pd.DataFrame({"false_positive_rate": grid, "low": low, "high": high})


def _counts_at_thresholds(scores: Scores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores, falling, and the true and false positives at each."""
    tp, fp = scores.positive_counter()(np.ones((1, scores.weights.patients), np.float32))
    return np.unique(scores.probability)[::-1], tp[0].astype(float), fp[0].astype(float)
