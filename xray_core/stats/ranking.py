"""ROC AUC and average precision of weighted images, for all bootstrap replicates at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CountPositives = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def positive_counter(label: np.ndarray, score: np.ndarray, patient: np.ndarray) -> CountPositives:
    """Return the function that counts true and false positives as the threshold falls.

    Parameters
    ----------
    label
        (images,) bool.
    score
        (images,) numbers; tied scores share one threshold.
    patient
        (images,) whole numbers, the columns of the weights.

    Returns
    -------
    callable
        From weights (rows, patients) to the true and the false positives at each distinct score,
        from the highest on: two float32 arrays (rows, thresholds). Whole numbers below 2**24 are
        exact in float32.
    """
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    last = np.flatnonzero(np.r_[falling[1:] != falling[:-1], True])
    untied = len(last) == len(falling)
    positive = label[order].astype(np.float32)
    columns = patient[order]

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = weights.take(columns, axis=1)  # (rows, images)
        of_all = weight.cumsum(axis=1)
        weight *= positive
        of_positive = weight.cumsum(axis=1)
        if not untied:  # of tied images the last has counted them all
            of_all, of_positive = of_all.take(last, axis=1), of_positive.take(last, axis=1)
        of_all -= of_positive
        return of_positive, of_all

    return count


def ranking_metrics(count: CountPositives) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from weights (rows, patients) to ROC AUC and average precision (rows, 2).

    Both are NaN where a class is missing. AUC counts tied pairs half (Mann-Whitney). Average
    precision is the sum of precision times the step in recall, without interpolation, as in
    scikit-learn.

    Parameters
    ----------
    count
        The result of `positive_counter`.
    """

    def measure(weights: np.ndarray) -> np.ndarray:
        tp, fp = count(weights)  # (rows, thresholds)
        tp_step = np.diff(tp, axis=1, prepend=np.float32(0))
        fp_step = np.diff(fp, axis=1, prepend=np.float32(0))
        with np.errstate(divide="ignore", invalid="ignore"):
            pairs = tp[:, -1].astype(float) * fp[:, -1]
            auc = np.einsum("ij,ij->i", fp_step, tp - tp_step / 2, dtype=float) / pairs
            # Counts are whole: where there is none yet, the precision that has no weight is 0.
            precision = np.divide(tp, np.maximum(tp + fp, 1), dtype=float)
            average = np.einsum("ij,ij->i", tp_step, precision, dtype=float) / tp[:, -1]
        return np.stack([auc, average], axis=1)

    return measure
