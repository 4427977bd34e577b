"""Results for parts of a set: outside the uncertain band, by subtype, by outcome of the gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit

from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.scores import POSITIVE, Films, prepare

MOST_SUBTYPES = 8  # each is a bootstrap of its own


def prepare_table(films: pd.DataFrame, *, prior: float = 0.5) -> Films:
    """A predictions table (label, probability, patient), ready for `evaluate`."""
    return prepare(
        films["label"].to_numpy(),
        films["probability"].to_numpy(),
        films["patient"].to_numpy(),
        prior=prior,
    )


@dataclass(frozen=True)
class Abstention:
    """What holds where the model decides: outside the uncertain band and not refused.

    `share_decided` in [0, 1]; `metrics` of the decided films alone, None where there are none.
    """

    films: int
    decided: int
    uncertain: int
    refused: int
    metrics: Metrics | None

    @property
    def share_decided(self) -> float:
        return self.decided / self.films if self.films else float("nan")


def outside_band(
    films: pd.DataFrame, band: tuple[float, float], *, threshold: float, prior: float = 0.5
) -> Abstention:
    """The metrics of the films with a probability outside `band` (its ends count as uncertain).

    `films` has label, probability, patient and, if known, gate; refused films are not decided.
    """
    low, high = band
    refused = films["gate"].eq("refused") if "gate" in films else pd.Series(False, films.index)
    inside = films["probability"].between(low, high) & ~refused
    decided = films[~inside & ~refused]
    return Abstention(
        films=len(films),
        decided=len(decided),
        uncertain=int(inside.sum()),
        refused=int(refused.sum()),
        metrics=None
        if decided.empty
        else evaluate(prepare_table(decided, prior=prior), threshold=threshold),
    )


def subtype_films(films: pd.DataFrame, *, prior: float = 0.5) -> dict[str, Films]:
    """Each subtype of pneumonia with all normal films; subtypes in alphabetical order.

    The normal films are the same in each, so only sensitivity and what follows from it differ; the
    counts of a subtype are `positives`. Of more than eight subtypes the eight with the most films
    are given. Empty where the table has no column subtype.
    """
    if "subtype" not in films:
        return {}
    ill = films["label"] == POSITIVE
    most = films.loc[ill, "subtype"].value_counts().head(MOST_SUBTYPES).index
    return {
        str(name): prepare_table(pd.concat([part, films[~ill]]), prior=prior)
        for name, part in films[ill & films["subtype"].isin(most)].groupby("subtype", sort=True)
    }


def positives(films: Films) -> tuple[int, int]:
    """How many films with pneumonia there are, and of how many patients."""
    return int(films.label.sum()), len(np.unique(films.patient[films.label]))


def gate_films(films: pd.DataFrame, *, prior: float = 0.5) -> dict[str, Films]:
    """The films that the gate passed, cautioned about and refused, each by itself.

    Empty where the table has no column gate.
    """
    if "gate" not in films:
        return {}
    found = dict(iter(films.groupby("gate")))
    return {
        name: prepare_table(found[name], prior=prior)
        for name in ("passed", "caution", "refused")
        if name in found
    }


def accuracy_against_share(
    label: np.ndarray, probability: np.ndarray, threshold: float
) -> pd.DataFrame:
    """Accuracy of the films farthest from the threshold, as more and more films are decided.

    Distance is in log-odds. One row per film decided: share_decided, accuracy (both in [0, 1]).
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
