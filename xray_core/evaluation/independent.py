"""The textbook intervals, which take all images as independent; to be shown beside the others."""

from __future__ import annotations

from xray_core.evaluation.metrics import Metrics
from xray_core.evaluation.scores import Scores
from xray_core.stats.bootstrap import wilson
from xray_core.stats.delong import area_interval, delong


def independent_intervals(images: Scores, found: Metrics) -> dict[str, tuple[float, float]]:
    """Wilson's interval of the proportions and DeLong's of the ROC area, by metric name.

    Images of one patient resemble each other, so these are too narrow where patients have several.
    Predictive values are left out where they were moved to a stated prevalence.
    """
    table = found.confusion
    tp, fn = table.true_positive, table.false_negative
    fp, tn = table.false_positive, table.true_negative
    areas, covariance = delong(images.label, images.probability)
    intervals = {
        "accuracy": wilson(tp + tn, tp + fn + fp + tn),
        "sensitivity": wilson(tp, tp + fn),
        "specificity": wilson(tn, tn + fp),
        "roc_auc": area_interval(float(areas[0]), float(covariance[0, 0])),
    }
    if found.stated_prevalence == found.prevalence:
        intervals["ppv"] = wilson(tp, tp + fp)
        intervals["npv"] = wilson(tn, tn + fn)
    return intervals
