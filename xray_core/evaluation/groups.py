"""Results for parts of a set: outside the uncertain band, by subtype, by outcome of the gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit

from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.scores import Scores, prepare
from xray_core.labels import PNEUMONIA

MOST_SUBTYPES = 8  # each is a bootstrap of its own


def prepare_table(images: pd.DataFrame, *, prior: float = 0.5) -> Scores:
    """A predictions table (label, probability, patient), ready for `evaluate`."""
    return prepare(
        images["label"].to_numpy(),
        images["probability"].to_numpy(),
        images["patient"].to_numpy(),
        prior=prior,
    )


@dataclass(frozen=True)
class Abstention:
    """What holds where the model decides: outside the uncertain band and not refused.

    `share_decided` in [0, 1]; `metrics` of the decided images alone, None where there are none.
    """

    images: int
    decided: int
    uncertain: int
    refused: int
    metrics: Metrics | None

    @property
    def share_decided(self) -> float:
        return self.decided / self.images if self.images else float("nan")


def outside_band(
    images: pd.DataFrame, band: tuple[float, float], *, threshold: float, prior: float = 0.5
) -> Abstention:
    """The metrics of the images with a probability outside `band` (its ends count as uncertain).

    `images` has label, probability, patient and, if known, gate; refused images are not decided.
    """
    low, high = band
    refused = images["gate"].eq("refused") if "gate" in images else pd.Series(False, images.index)
    inside = images["probability"].between(low, high) & ~refused
    decided = images[~inside & ~refused]
    return Abstention(
        images=len(images),
        decided=len(decided),
        uncertain=int(inside.sum()),
        refused=int(refused.sum()),
        metrics=None
        if decided.empty
        else evaluate(prepare_table(decided, prior=prior), threshold=threshold),
    )


def subtype_scores(images: pd.DataFrame, *, prior: float = 0.5) -> dict[str, Scores]:
    """Each subtype of pneumonia with all normal images; subtypes in alphabetical order.

    The normal images are the same in each, so only sensitivity and what follows from it differ; the
    counts of a subtype are `positives`. Of more than eight subtypes the eight with the most images
    are given. Empty where the table has no column subtype.
    """
    if "subtype" not in images:
        return {}
    ill = images["label"] == PNEUMONIA
    most = images.loc[ill, "subtype"].value_counts().head(MOST_SUBTYPES).index
    return {
        str(name): prepare_table(pd.concat([part, images[~ill]]), prior=prior)
        for name, part in images[ill & images["subtype"].isin(most)].groupby("subtype", sort=True)
    }


def positives(images: Scores) -> tuple[int, int]:
    """How many images with pneumonia there are, and of how many patients."""
    return int(images.label.sum()), len(np.unique(images.patient[images.label]))


def gate_scores(images: pd.DataFrame, *, prior: float = 0.5) -> dict[str, Scores]:
    """The images that the gate passed, cautioned about and refused, each by itself.

    Empty where the table has no column gate.
    """
    if "gate" not in images:
        return {}
    found = dict(iter(images.groupby("gate")))
    return {
        name: prepare_table(found[name], prior=prior)
        for name in ("passed", "caution", "refused")
        if name in found
    }


def accuracy_against_share(
    label: np.ndarray, probability: np.ndarray, threshold: float
) -> pd.DataFrame:
    """Accuracy of the images farthest from the threshold, as more and more images are decided.

    Distance is in log-odds. One row per image decided: share_decided, accuracy (both in [0, 1]).
    """
    truth = np.asarray(label, bool)
    p = np.clip(np.asarray(probability, float), 1e-12, 1 - 1e-12)
    limit = np.clip(threshold, 1e-12, 1 - 1e-12)
    distance = np.abs(logit(p) - logit(limit))
    order = np.argsort(-distance, kind="stable")
    right = ((p >= limit) == truth)[order]
    decided = np.arange(1, len(right) + 1)
    return pd.DataFrame(
        {"share_decided": decided / len(right), "accuracy": right.cumsum() / decided}
    )
