"""Predictions simulated from a seed, and all intervals that an evaluation computes from them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from xray_core.evaluation.comparison import compare
from xray_core.evaluation.curves import decision_curve, roc_curve
from xray_core.evaluation.groups import gate_scores, subtype_scores
from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.scores import prepare_scores, prepare_table


def simulated(patients: int, most_images: int, seed: int = 3) -> pd.DataFrame:
    """A table of `patients` with one to `most_images` images each; rounded scores make ties."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, most_images + 1, patients))
    pneumonia = patient % 2 == 0
    score = expit(np.where(pneumonia, 1.5, -1.5) + rng.normal(size=len(pneumonia)) * 1.5)
    return pd.DataFrame(
        {
            "file": [f"image-{number}" for number in range(len(pneumonia))],
            "label": np.where(pneumonia, "PNEUMONIA", "NORMAL"),
            "patient": patient.astype(str),
            "subtype": np.where(pneumonia, np.where(patient % 3 == 0, "virus", "bacteria"), "none"),
            "gate": np.where(patient % 5 == 0, "caution", "passed"),
            "probability": np.round(score, 2),
        }
    )


def evaluate_labels(label, probability, patient, *, threshold, prevalence=None, **options):  # type: ignore[no-untyped-def]
    """`prepare_scores` and `evaluate` in one call."""
    scores = prepare_scores(label, probability, patient, **options)
    return evaluate(scores, threshold=threshold, prevalence=prevalence)


TABLES = {
    "ten patients": (10, 1),
    "300 patients with several images": (300, 3),
    "1,500 patients": (1500, 1),
}


def all_intervals(table: pd.DataFrame) -> dict[str, Any]:
    """All intervals of a table, as plain numbers."""
    scores = prepare_table(table)
    parts = {**subtype_scores(table), **gate_scores(table)}
    other = table.assign(probability=1 - (1 - table["probability"]) ** 1.5)
    comparison = compare(table, other, threshold_a=0.5, threshold_b=0.4)
    return {
        "metrics": _estimates(evaluate(scores, threshold=0.4, prevalence=0.1)),
        "parts": {name: _estimates(evaluate(p, threshold=0.5)) for name, p in parts.items()},
        "band": roc_curve(scores, band_points=11).band.to_dict("list"),
        "decision": decision_curve(scores, 0.2).iloc[9::10].to_dict("list"),
        "comparison": {
            name: list(asdict(estimate).values())
            for name, estimate in vars(comparison).items()
            if name.endswith("_difference")
        },
    }


def _estimates(metrics: Metrics) -> dict[str, list[float]]:
    return {name: list(asdict(estimate).values()) for name, estimate in metrics.estimates()}
