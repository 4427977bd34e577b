"""DeLong's covariance of ROC areas on the same images, also with images grouped by patient."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

from xray_core.stats.bootstrap import Z_95


def delong(
    label: np.ndarray, scores: np.ndarray, patient: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """ROC areas of several scores on the same images, and their covariance.

    `label` (images,) bool, `scores` (models, images). Returns (models,) and (models, models). Without
    `patient` (images,) the images count as independent: DeLong et al., Biometrics 44 (1988) 837, by
    the ranks of Sun and Xu, IEEE SPL 21 (2014) 1389. With it, images of one patient are one cluster:
    Obuchowski, Biometrics 53 (1997) 567. NaN where a class has fewer than two images or patients.
    """
    label = np.asarray(label, bool)
    scores = np.atleast_2d(np.asarray(scores, float))
    if label.all() or not label.any():
        return np.full(len(scores), np.nan), np.full((len(scores),) * 2, np.nan)
    positive, negative = scores[:, label], scores[:, ~label]
    m, n = positive.shape[1], negative.shape[1]
    ranks = rankdata(scores, axis=1)
    # Each image's share of the other class on its right side, ties half.
    of_positive = (ranks[:, label] - rankdata(positive, axis=1)) / n  # (models, m)
    of_negative = 1 - (ranks[:, ~label] - rankdata(negative, axis=1)) / m  # (models, n)
    areas = of_positive.mean(axis=1)
    groups = (
        np.arange(len(label)) if patient is None else np.unique(patient, return_inverse=True)[1]
    )
    by_positive = _sums(of_positive - areas[:, None], groups[label], groups.max() + 1)
    by_negative = _sums(of_negative - areas[:, None], groups[~label], groups.max() + 1)
    of_m, of_n = len(np.unique(groups[label])), len(np.unique(groups[~label]))
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = (
            by_positive @ by_positive.T * (np.float64(of_m) / (of_m - 1)) / m**2
            + by_negative @ by_negative.T * (np.float64(of_n) / (of_n - 1)) / n**2
        )
    patients = groups.max() + 1
    if patients > 1:  # patients with images of both classes tie the two sums together
        cross = by_positive @ by_negative.T * patients / (patients - 1) / (m * n)
        covariance = covariance + cross + cross.T
    return areas, covariance


def area_interval(area: float, variance: float) -> tuple[float, float]:
    """The 95% interval of an area from its variance, cut to [0, 1]; (NaN, NaN) without variance."""
    if not variance > 0:
        return math.nan, math.nan
    half = Z_95 * math.sqrt(variance)
    return max(0.0, area - half), min(1.0, area + half)


def difference_p_value(areas: np.ndarray, covariance: np.ndarray) -> float:
    """Two-sided p of two areas being equal, from `delong` on two scores; 1 if they never differ."""
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    difference = float(areas[0] - areas[1])
    if math.isnan(variance):
        return math.nan
    if variance <= 1e-15:
        return 1.0 if difference == 0 else 0.0
    return float(2 * ndtr(-abs(difference) / math.sqrt(variance)))


def _sums(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Sums of (models, images) within groups: (models, groups)."""
    return np.stack([np.bincount(group, weights=row, minlength=groups) for row in values])
