"""An evaluation as a dictionary for JSON, as a table for the terminal, and its numbers as text."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict
from typing import Any

import pandas as pd

from xray_core.errors import XrayError
from xray_core.evaluation.curves import reliability_diagram
from xray_core.evaluation.groups import (
    SMALL_GROUP,
    firm_results,
    gate_scores,
    group_estimate,
    positives,
    subtype_scores,
)
from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.scores import Scores, prepare_table
from xray_core.evaluation.verdicts import natural_frequencies
from xray_core.labels import PNEUMONIA
from xray_core.model.calibration import Calibration
from xray_core.stats.intervals import Estimate, format_estimate

NAMES = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
    "f1": "F1 score",
    "balanced_accuracy": "Balanced accuracy",
    "mcc": "Matthews correlation",
    "positive_likelihood_ratio": "Positive likelihood ratio",
    "negative_likelihood_ratio": "Negative likelihood ratio",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "calibration_error": "Expected calibration error",
    "log_loss": "Log loss",
}
_PERCENT = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "balanced_accuracy")


def summary(
    predictions: pd.DataFrame, calibration: Calibration, fold: str = "test"
) -> dict[str, Any]:
    """Return everything measured on one fold, ready for JSON (NaN becomes None).

    Parameters
    ----------
    predictions
        The columns fold, label, subtype, patient, probability, verdict and gate. All images of the
        fold count in `metrics`, refused ones too.
    calibration
        The model's prior, thresholds and indeterminate band.
    fold
        Which fold to evaluate.

    Raises
    ------
    XrayError
        The fold has no image.
    """
    images = predictions[predictions["fold"] == fold]
    if images.empty:
        raise XrayError(f"The predictions hold no image of the {fold} fold.")
    scores = prepare_table(images, prior=calibration.prior)
    threshold = calibration.decision_threshold
    metrics = evaluate(scores, threshold=threshold)
    exclusion = evaluate(scores, threshold=calibration.exclusion_threshold)
    reference = reliability_diagram(scores).reference
    decided = firm_results(
        images, calibration.uncertain, threshold=threshold, prior=calibration.prior
    )
    by_subtype = {}
    for name, part in subtype_scores(images, prior=calibration.prior).items():
        of_part = evaluate(part, threshold=threshold)
        by_subtype[name] = metrics_json(of_part)
        # The counts are the subtype's own, without the normal images that it is set against.
        by_subtype[name]["images"], by_subtype[name]["patients"] = positives(part)
        sensitivity, _ = group_estimate("sensitivity", part, of_part)
        by_subtype[name]["metrics"]["sensitivity"] = asdict(sensitivity)

    return finite(
        {
            "fold": fold,
            **metrics_json(metrics),
            "interval": "95%, BCa bootstrap over patients, 2000 draws",
            "calibration_error_if_perfect": list(reference),
            "exclusion_threshold": metrics_json(exclusion),
            "below_exclusion_threshold": below_exclusion_threshold(images, calibration, fold),
            "firm_results": {
                "images": decided.images,
                "decided": decided.decided,
                "share_decided": decided.share_decided,
                **({} if decided.metrics is None else metrics_json(decided.metrics)),
            },
            "by_subtype": by_subtype,
            "by_gate": {
                name: metrics_json(evaluate(part, threshold=threshold))
                for name, part in gate_scores(images, prior=calibration.prior).items()
            },
            "natural_frequencies": asdict(natural_frequencies(images, fold)),
        }
    )


def below_exclusion_threshold(
    predictions: pd.DataFrame, calibration: Calibration, fold: str = "test"
) -> dict[str, int]:
    """Count the images of a fold below the exclusion threshold, and those with pneumonia.

    Parameters
    ----------
    predictions
        The columns fold, label and probability. Images that the input check refuses count too.
    calibration
        The model's exclusion threshold.
    fold
        Which fold to count.

    Returns
    -------
    dict
        images and, of these, pneumonia.
    """
    images = predictions[predictions["fold"] == fold]
    below = images[images["probability"] < calibration.exclusion_threshold]
    return {"images": len(below), "pneumonia": int((below["label"] == PNEUMONIA).sum())}


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """Return metrics as a dictionary for JSON: counts, and value, low and high by metric name."""
    return finite(
        {
            "images": metrics.images,
            "patients": metrics.patients,
            "prevalence": metrics.prevalence,
            "threshold": metrics.threshold,
            "stated_prevalence": metrics.stated_prevalence,
            "confusion": asdict(metrics.confusion),
            "metrics": {name: asdict(estimate) for name, estimate in metrics.estimates()},
        }
    )


def metrics_table(results: dict[str, Any]) -> str:
    """Return the result of `summary` or `metrics_json` as lines for the terminal."""
    counts = results["confusion"]
    lines = [
        f"{results['images']} images of {results['patients']} patients, "
        f"{results['prevalence']:.1%} with pneumonia; threshold {results['threshold']:.3f}",
        f"correct: {counts['true_positive']} pneumonia, {counts['true_negative']} normal; "
        f"missed: {counts['false_negative']}; wrongly flagged: {counts['false_positive']}",
        "",
    ]
    for name, title in NAMES.items():
        estimate = estimate_from_json(results["metrics"][name])
        lines.append(f"{title:<28} {format_metric(name, estimate)}")
    lines += ["", "Intervals: 95%, bootstrap over patients. Calibration is measured after shifting"]
    lines += ["the log-odds from the model's prior to the share of pneumonia among these images."]
    if "calibration_error_if_perfect" in results:
        low, high = results["calibration_error_if_perfect"]
        error = results["metrics"]["calibration_error"]["value"]
        if error is not None:
            lines += textwrap.wrap(describe_calibration(error, low, high), 88)
    return "\n".join(lines)


def describe_calibration(error: float, low: float, high: float) -> str:
    """Return two sentences on a calibration error.

    Parameters
    ----------
    error
        The measured error.
    low, high
        The range of a perfectly calibrated model, `ReliabilityDiagram.reference`.
    """
    result = (
        "within this range: miscalibration is not demonstrated on these images"
        if low <= error <= high
        else "above this range: the probabilities are miscalibrated on these images"
        if error > high
        else "below this range: no miscalibration is detected on these images"
    )
    return (
        "A perfectly calibrated model with these scores would show an error of "
        f"{low:.3f} to {high:.3f} (95% of 2,000 simulated sets, labels drawn by patient). "
        f"The measured error of {error:.3f} is {result}."
    )


def format_metric(name: str, estimate: Estimate) -> str:
    """Return a metric with its interval in its own unit: "93.0% (90.8% to 94.9%)"."""
    return format_estimate(estimate, metric_spec(name))


def format_group_metric(name: str, scores: Scores, metrics: Metrics) -> str:
    """Return a metric of a group as text, under 20 images with their number."""
    estimate, images = group_estimate(name, scores, metrics)
    few = images < SMALL_GROUP and not math.isnan(estimate.value)
    return format_metric(name, estimate) + (f", n = {images}" if few else "")


def metric_spec(name: str) -> str:
    """Return the format specification of a metric, ".1%" for rates."""
    if name in _PERCENT:
        return ".1%"
    return ".2f" if name.endswith("ratio") else ".3f"


def finite(value: Any) -> Any:
    """Return `value` with None for NaN and "Infinity" for infinity, which JSON has no number for.

    Parameters
    ----------
    value
        Dictionaries and lists, nested, of numbers and texts; tuples become lists.
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity"
    return value


def estimate_from_json(stored: dict[str, Any]) -> Estimate:
    """Return the estimate that `metrics_json` wrote."""
    return Estimate(**{k: math.nan if v is None else float(v) for k, v in stored.items()})
