"""How well scores rank the films: area under the ROC curve and average precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xray_core.evaluation.resampling import PatientWeights

_ROWS_AT_ONCE = 512  # bounds the memory: rows x films x 4 bytes


def cumulative_counts(
    label: np.ndarray, score: np.ndarray, patient: np.ndarray, table: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weighted true and false positives as the threshold falls through the distinct scores.

    For blocks of rows of the weight `table`: two arrays (rows, levels), tied scores in one level.
    """
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    first = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
    positive = label[order].astype(np.float32)
    for start in range(0, len(table), _ROWS_AT_ONCE):
        weight = table[start : start + _ROWS_AT_ONCE][:, patient[order]]  # (rows, films)
        of_positive = np.add.reduceat(weight * positive, first, axis=1)
        of_all = np.add.reduceat(weight, first, axis=1)
        yield of_positive.cumsum(axis=1), (of_all - of_positive).cumsum(axis=1)


def rank_rows(
    label: np.ndarray, score: np.ndarray, patient: np.ndarray, weights: PatientWeights
) -> tuple[np.ndarray, np.ndarray]:
    """ROC AUC and average precision on every row of the weights; NaN where a class is missing.

    AUC counts tied pairs half (Mann-Whitney). Average precision is the sum of precision times the
    step in recall, without interpolation, as in scikit-learn.
    """
    aucs, precisions = [], []
    for tp, fp in cumulative_counts(label, score, patient, weights.table):
        tp, fp = tp.astype(float), fp.astype(float)
        tp_step = np.diff(tp, axis=1, prepend=0)
        fp_step = np.diff(fp, axis=1, prepend=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            pairs = tp[:, -1] * fp[:, -1]
            aucs.append(np.sum(fp_step * (tp - tp_step / 2), axis=1) / pairs)
            precision = np.nan_to_num(tp / (tp + fp))
            precisions.append(np.sum(tp_step * precision, axis=1) / tp[:, -1])
    return np.concatenate(aucs), np.concatenate(precisions)
