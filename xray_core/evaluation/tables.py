"""An evaluation as a JSON-able dictionary and as a table for the terminal."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import pandas as pd

from xray_core.errors import XrayError
from xray_core.evaluation.calibration import calibrated_reference
from xray_core.evaluation.groups import (
    gate_scores,
    outside_band,
    positives,
    prepare_table,
    subtype_scores,
)
from xray_core.evaluation.metrics import Metrics, evaluate, natural_frequencies
from xray_core.evaluation.scores import Scores
from xray_core.labels import PNEUMONIA
from xray_core.stats.bootstrap import Estimate, wilson

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
SMALL_GROUP = 20  # under so many images a rate is shown with their number
AS_PERCENT = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "balanced_accuracy")


class OperatingPoints(Protocol):
    """What an evaluation needs of a bundle's calibration (all are calibrated probabilities)."""

    @property
    def prior(self) -> float: ...
    @property
    def decision_threshold(self) -> float: ...
    @property
    def exclusion_threshold(self) -> float: ...
    @property
    def uncertain(self) -> tuple[float, float]: ...


def summary(
    predictions: pd.DataFrame, calibration: OperatingPoints, fold: str = "test"
) -> dict[str, Any]:
    """Everything measured on one fold of a predictions table, ready for JSON (NaN becomes None).

    `predictions` has fold, label, subtype, patient, probability, verdict, gate. Every image of the
    fold counts in `metrics`, refused ones too. Raises XrayError where the fold has no image.
    """
    images = predictions[predictions["fold"] == fold]
    if images.empty:
        raise XrayError(f"The predictions hold no image of the {fold} fold.")
    ready = prepare_table(images, prior=calibration.prior)
    main = evaluate(ready, threshold=calibration.decision_threshold)
    exclusion_threshold = evaluate(ready, threshold=calibration.exclusion_threshold)
    low, high, _ = calibrated_reference(ready.shifted, ready.patient)
    decided = outside_band(
        images,
        calibration.uncertain,
        threshold=calibration.decision_threshold,
        prior=calibration.prior,
    )

    def at_main(parts: dict[str, Scores]) -> dict[str, Any]:
        return {
            k: metrics_json(evaluate(v, threshold=calibration.decision_threshold))
            for k, v in parts.items()
        }

    subtypes = subtype_scores(images, prior=calibration.prior)
    by_subtype = at_main(subtypes)
    for name, part in subtypes.items():
        # The normal images that each is set against are in none of the subtypes.
        by_subtype[name]["images"], by_subtype[name]["patients"] = positives(part)
        sensitivity, _ = group_estimate(
            "sensitivity", part, evaluate(part, threshold=calibration.decision_threshold)
        )
        by_subtype[name]["metrics"]["sensitivity"] = asdict(sensitivity)

    return finite(
        {
            "fold": fold,
            **metrics_json(main),
            "interval": "95%, BCa bootstrap over patients, 2000 draws",
            "calibration_error_if_perfect": [low, high],
            "exclusion_threshold": metrics_json(exclusion_threshold),
            "below_exclusion_threshold": below_exclusion_threshold(images, calibration, fold),
            "outside_uncertain_band": {
                "band": list(calibration.uncertain),
                "images": decided.images,
                "decided": decided.decided,
                "share_decided": decided.share_decided,
                **({} if decided.metrics is None else metrics_json(decided.metrics)),
            },
            "by_subtype": by_subtype,
            "by_gate": at_main(gate_scores(images, prior=calibration.prior)),
            "natural_frequencies": asdict(natural_frequencies(images, fold)),
        }
    )


def below_exclusion_threshold(
    predictions: pd.DataFrame, calibration: OperatingPoints, fold: str = "test"
) -> dict[str, int]:
    """How many images of a fold lie below the exclusion threshold, and how many have pneumonia.

    As in `summary`, images that the input check refuses count, by the network's probability.

    Returns:
        `images` and, of these, `pneumonia`.
    """
    images = predictions[predictions["fold"] == fold]
    below = images[images["probability"] < calibration.exclusion_threshold]
    return {"images": len(below), "pneumonia": int((below["label"] == PNEUMONIA).sum())}


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """One set of metrics as a dictionary: counts, and {"value", "low", "high"} by metric name."""
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


def metrics_table(found: dict[str, Any]) -> str:
    """The result of `summary` or `metrics_json` as lines for the terminal."""
    counts = found["confusion"]
    lines = [
        f"{found['images']} images of {found['patients']} patients, "
        f"{found['prevalence']:.1%} with pneumonia; called pneumonia from {found['threshold']:.3f}",
        f"right: {counts['true_positive']} pneumonia, {counts['true_negative']} normal; "
        f"missed: {counts['false_negative']}; wrongly flagged: {counts['false_positive']}",
        "",
    ]
    for name, title in NAMES.items():
        estimate = Estimate(**{k: _number(v) for k, v in found["metrics"][name].items()})
        lines.append(f"{title:<28} {as_text(name, estimate)}")
    lines += ["", "Intervals: 95%, bootstrap over patients. Calibration is measured after shifting"]
    lines += ["the log-odds from the model's prior to the share of pneumonia among these images."]
    if "calibration_error_if_perfect" in found:
        low, high = found["calibration_error_if_perfect"]
        error = found["metrics"]["calibration_error"]["value"]
        if error is not None:
            lines += textwrap.wrap(calibration_in_words(error, low, high), 88)
    return "\n".join(lines)


def calibration_in_words(error: float, low: float, high: float) -> str:
    """A calibration error against the range of `calibrated_reference`, in two sentences."""
    verdict = (
        "within this range: miscalibration is not demonstrated on these images"
        if low <= error <= high
        else "above this range: the probabilities are miscalibrated on these images"
        if error > high
        else "below this range: no miscalibration is found on these images"
    )
    return (
        "A perfectly calibrated model with these scores would show an error of "
        f"{low:.3f} to {high:.3f} (95% of 2,000 simulated sets, labels drawn by patient). "
        f"The measured error of {error:.3f} is {verdict}."
    )


def group_cell(name: str, scores: Scores, found: Metrics) -> str:
    """A rate or area of a group with its interval; under 20 images also with their number."""
    estimate, images = group_estimate(name, scores, found)
    few = images < SMALL_GROUP and not math.isnan(estimate.value)
    return as_text(name, estimate) + (f", n = {images}" if few else "")


def group_estimate(name: str, scores: Scores, found: Metrics) -> tuple[Estimate, int]:
    """A metric of a group, and on how many images it rests.

    Those are the images with pneumonia for the sensitivity, the normal ones for the specificity,
    else all. Under 20 images a rate gets Wilson's interval with patients in place of images, since
    a bootstrap of so few patients is too narrow.
    """
    estimate = getattr(found, name)
    side = {"sensitivity": scores.label, "specificity": ~scores.label}.get(name)
    counted = np.ones_like(scores.label) if side is None else side
    images = int(counted.sum())
    if images < SMALL_GROUP and name in ("sensitivity", "specificity", "accuracy"):
        patients = len(np.unique(scores.patient[counted]))
        if not math.isnan(estimate.value):
            estimate = Estimate(estimate.value, *wilson(estimate.value * patients, patients))
    return estimate, images


def as_text(name: str, estimate: Estimate) -> str:
    """An estimate with its interval, in the metric's own unit: "93.0% (90.8% to 94.9%)"."""
    if math.isnan(estimate.value):
        return "not defined"
    if name in AS_PERCENT:
        show = "{:.1%}".format
    elif name.endswith("ratio"):
        show = "{:.2f}".format
    else:
        show = "{:.3f}".format
    value = show(estimate.value).replace("inf", "infinite")
    if math.isnan(estimate.low):
        return f"{value} (no interval)"
    return f"{value} ({show(estimate.low)} to {show(estimate.high)})".replace("inf)", "infinite)")


def finite(value: Any) -> Any:
    """The same with None for NaN and "Infinity" for infinity, which JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity"
    return value


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
