"""DeLong's covariance of ROC areas on the same images, also with images grouped by patient."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from xray_core.stats.intervals import Estimate, exact_interval, logit_interval


def delong(
    label: np.ndarray, scores: np.ndarray, patient: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC areas of several scores on the same images, and their covariance.

    Parameters
    ----------
    label
        (images,) bool, True for the positive class.
    scores
        (models, images) or (images,); higher means positive.
    patient
        (images,) keys; images with equal keys are one cluster. None: all images are independent.

    Returns
    -------
    areas
        (models,), NaN where a class has no image.
    covariance
        (models, models), NaN where a class has fewer than two images or patients.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837; clusters: Obuchowski, Biometrics 53
    (1997) 567; computed from ranks as in Sun and Xu, IEEE Signal Processing Letters 21 (2014) 1389.
    """
    from scipy.stats import rankdata  # imported here: it takes 0.3 s

    label = np.asarray(label, bool)
    scores = np.atleast_2d(np.asarray(scores, float))
    if label.all() or not label.any():
        return np.full(len(scores), np.nan), np.full((len(scores),) * 2, np.nan)
    positive, negative = scores[:, label], scores[:, ~label]
    m, n = positive.shape[1], negative.shape[1]
    ranks = rankdata(scores, axis=1)
    # Each image's share of the other class that it is ranked correctly against, ties half.
    of_positive = (ranks[:, label] - rankdata(positive, axis=1)) / n  # (models, m)
    of_negative = 1 - (ranks[:, ~label] - rankdata(negative, axis=1)) / m  # (models, n)
    areas = of_positive.mean(axis=1)
    cluster = (
        np.arange(len(label)) if patient is None else np.unique(patient, return_inverse=True)[1]
    )
    clusters = cluster.max() + 1
    by_positive = _sums(of_positive - areas[:, None], cluster[label], clusters)
    by_negative = _sums(of_negative - areas[:, None], cluster[~label], clusters)
    of_m, of_n = len(np.unique(cluster[label])), len(np.unique(cluster[~label]))
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = (
            by_positive @ by_positive.T * (np.float64(of_m) / (of_m - 1)) / m**2
            + by_negative @ by_negative.T * (np.float64(of_n) / (of_n - 1)) / n**2
        )
    if clusters > 1:  # patients with images of both classes make the two sums dependent
        cross = by_positive @ by_negative.T * clusters / (clusters - 1) / (m * n)
        covariance = covariance + cross + cross.T
    return areas, covariance


def auc_interval(label: np.ndarray, score: np.ndarray, patient: np.ndarray) -> Estimate:
    """Return the area under the ROC curve with a 95% interval, images of a patient as one cluster.

    The interval is taken on the log-odds, so that it stays within [0, 1]. Where the classes do not
    overlap, it is the exact one of as many pairs as the smaller class has patients. With one
    patient in a class it is [0, 1].

    Parameters
    ----------
    label
        (images,) bool, True for the positive class; both classes occur.
    score
        (images,) numbers; higher means positive.
    patient
        (images,) keys.

    Returns
    -------
    Estimate
        Below 0.5 where the negative class has the higher scores.
    """
    areas, covariance = delong(label, score, patient)
    area = float(areas[0])
    patients = min(len(np.unique(patient[side])) for side in (label, ~label))
    if patients < 2:
        return Estimate(area, 0.0, 1.0)
    if area in (0.0, 1.0):
        return Estimate(area, *exact_interval(patients if area else 0, patients))
    return Estimate(area, *logit_interval(area, float(covariance[0, 0])))


def difference_p_value(areas: np.ndarray, covariance: np.ndarray) -> float:
    """Return the two-sided p value of two ROC areas being equal.

    Parameters
    ----------
    areas, covariance
        The result of `delong` for two scores: (2,) and (2, 2).

    Returns
    -------
    float
        1 where the scores rank the images alike, NaN where the covariance is not defined.
    """
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    difference = float(areas[0] - areas[1])
    if math.isnan(variance):
        return math.nan
    if variance <= 1e-15:
        return 1.0 if difference == 0 else 0.0
    return float(2 * ndtr(-abs(difference) / math.sqrt(variance)))


def _sums(values: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    """Sums of (models, images) within clusters: (models, clusters)."""
    return np.stack([np.bincount(cluster, weights=row, minlength=clusters) for row in values])
