"""The curves behind the figures, as tables: ROC, precision-recall, decision curve, histograms.

Computed once, drawn by `figures` (files) and by the Evaluation page.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from xray_core.evaluation.calibration import shift_prior
from xray_core.evaluation.scores import Scores


def roc_curve(images: Scores) -> pd.DataFrame:
    """The ROC curve: one row per distinct score, with the threshold that reaches it.

    Columns threshold (infinite in the first row), false_positive_rate, sensitivity in [0, 1].
    Empty where a class is missing.
    """
    thresholds, tp, fp = _steps(images)
    if images.prevalence in (0.0, 1.0):
        return pd.DataFrame(columns=["threshold", "false_positive_rate", "sensitivity"])
    return pd.DataFrame(
        {
            "threshold": np.r_[np.inf, thresholds],
            "false_positive_rate": np.r_[0, fp / fp[-1]],
            "sensitivity": np.r_[0, tp / tp[-1]],
        }
    )


def roc_band(images: Scores, points: int = 101) -> pd.DataFrame:
    """The pointwise 95% band of sensitivity at given false-positive rates, over drawn patients.

    Columns false_positive_rate, low, high. Empty where a class is missing. Vertical averaging:
    Fawcett, Pattern Recognition Letters 27 (2006) 861.
    """
    grid = np.linspace(0, 1, points)
    if images.prevalence in (0.0, 1.0):
        return pd.DataFrame(columns=["false_positive_rate", "low", "high"])
    counts = images.ranked()

    def sensitivities(weights: np.ndarray) -> np.ndarray:
        found = np.full((len(weights), points), np.nan)
        for row, hits, alarms in zip(found, *counts(weights), strict=True):
            if hits[-1] and alarms[-1]:
                # The last of equal abscissae is the top of a vertical step.
                row[:] = np.interp(grid, np.r_[0, alarms / alarms[-1]], np.r_[0, hits / hits[-1]])
        return found

    [rows] = images.weights.each(sensitivities, images=len(images.label))
    drawn = rows[1 : 1 + images.weights.bootstrap]
    drawn = drawn[~np.isnan(drawn[:, 0])]  # a draw without one of the classes has no curve
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return pd.DataFrame({"false_positive_rate": grid, "low": low, "high": high})


def precision_recall_curve(images: Scores) -> pd.DataFrame:
    """Precision against recall, one row per distinct score: threshold, recall, precision.

    The baseline, a model that guesses, is the images' prevalence.
    """
    thresholds, tp, fp = _steps(images)
    if not images.label.any():
        return pd.DataFrame(columns=["threshold", "recall", "precision"])
    return pd.DataFrame(
        {"threshold": thresholds, "recall": tp / tp[-1], "precision": tp / (tp + fp)}
    )


def decision_curve(images: Scores, prevalence: float | None = None) -> pd.DataFrame:
    """Net benefit per image of acting on the model, against acting on all images and on none.

    Columns risk (the probability from which one would act, 1% to 99%), model, low, high (95%, over
    drawn patients), all, none. Net benefit is true positives minus false positives weighted by
    risk / (1 - risk), per image, at `prevalence` (default: the images' own), to which the
    probabilities are shifted. Source: Vickers and Elkin, Medical Decision Making 26 (2006) 565.
    """
    share = images.prevalence if prevalence is None else prevalence
    risk = np.arange(1, 100) / 100
    columns = ["risk", "model", "low", "high", "all", "none"]
    if images.prevalence in (0.0, 1.0):
        return pd.DataFrame(columns=columns)
    shifted = shift_prior(images.probability, source=images.prior, target=share)
    # Images by class and by how many of the risks their probability reaches, 0 to 99.
    reached = np.searchsorted(risk - 1e-12, shifted, side="right")
    kind = reached + 100 * images.label
    of_patient = csr_array(
        (np.ones(len(kind)), (images.patient, kind)), shape=(images.weights.patients, 200)
    )
    [counts] = images.weights.each(lambda weights: (of_patient.T @ weights.T).T)
    above = counts.reshape(-1, 2, 100)[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]  # (rows, 2, 100)
    alarms, hits = above[:, 0, 1:], above[:, 1, 1:]  # (rows, 99)
    well, ill = above[:, 0, :1], above[:, 1, :1]
    odds = risk / (1 - risk)
    with np.errstate(invalid="ignore"):
        benefit = share * hits / ill - (1 - share) * odds * alarms / well
    drawn = benefit[1 : 1 + images.weights.bootstrap]
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    everyone = share - (1 - share) * odds
    return pd.DataFrame(
        dict(
            zip(columns, (risk, benefit[0], low, high, everyone, np.zeros_like(risk)), strict=True)
        )
    )


def score_histogram(images: Scores, bins: int = 20) -> pd.DataFrame:
    """Images per class in equal bins of their probability: label, low, high, images."""
    edges = np.linspace(0, 1, bins + 1)
    parts = []
    for label, side in (("NORMAL", False), ("PNEUMONIA", True)):
        counts, _ = np.histogram(images.probability[images.label == side], edges)
        parts.append(
            pd.DataFrame({"label": label, "low": edges[:-1], "high": edges[1:], "images": counts})
        )
    return pd.concat(parts, ignore_index=True)


def _steps(images: Scores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, falling, and the true and false positives from each on."""
    tp, fp = images.ranked()(np.ones((1, images.weights.patients), np.float32))
    return np.unique(images.probability)[::-1], tp[0].astype(float), fp[0].astype(float)
