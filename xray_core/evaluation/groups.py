"""Parts of a set of images: those with a firm result, by subtype, by input check, the errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit

from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.scores import Scores, prepare_table
from xray_core.labels import PNEUMONIA, UNCERTAIN
from xray_core.stats.intervals import Estimate, wilson_interval

MOST_SUBTYPES = 8  # each is a bootstrap of its own
SMALL_GROUP = 20  # under so many images a rate is shown with their number


@dataclass(frozen=True)
class Abstention:
    """The images that the model decides: those with a firm result.

    Attributes
    ----------
    images, decided, uncertain, refused
        How many there are in all, and of each.
    metrics
        Of the decided images alone; None where there are none.
    """

    images: int
    decided: int
    uncertain: int
    refused: int
    metrics: Metrics | None

    @property
    def share_decided(self) -> float:
        """The share of images decided, in [0, 1]; NaN without images."""
        return self.decided / self.images if self.images else float("nan")


def firm_results(
    images: pd.DataFrame, band: tuple[float, float], *, threshold: float, prior: float = 0.5
) -> Abstention:
    """Evaluate the images with a firm result, which is neither indeterminate nor refused.

    Parameters
    ----------
    images
        The columns label, probability, patient and, if known, gate and verdict. The verdict is
        also UNCERTAIN where the rule for images unlike the training images applies.
    band
        The lowest and the highest probability that is indeterminate.
    threshold
        An image with a probability at or above it is positive.
    prior
        The share of pneumonia at which the probabilities are calibrated.
    """
    low, high = band
    refused = images["gate"].eq("refused") if "gate" in images else pd.Series(False, images.index)
    uncertain = images["probability"].between(low, high)
    if "verdict" in images:
        uncertain |= images["verdict"] == UNCERTAIN
    uncertain &= ~refused
    decided = images[~uncertain & ~refused]
    return Abstention(
        images=len(images),
        decided=len(decided),
        uncertain=int(uncertain.sum()),
        refused=int(refused.sum()),
        metrics=None
        if decided.empty
        else evaluate(prepare_table(decided, prior=prior), threshold=threshold),
    )


def subtype_scores(images: pd.DataFrame, *, prior: float = 0.5) -> dict[str, Scores]:
    """Return the scores of each subtype of pneumonia together with all normal images.

    The normal images are the same in each, so that only the sensitivity and what follows from it
    differ. `positives` counts the images of the subtype alone.

    Parameters
    ----------
    images
        The columns label, probability, patient and, if known, subtype.
    prior
        The share of pneumonia at which the probabilities are calibrated.

    Returns
    -------
    dict
        By subtype, in alphabetical order: the eight with the most images. Empty without a column
        subtype.
    """
    if "subtype" not in images:
        return {}
    pneumonia = images["label"] == PNEUMONIA
    most = images.loc[pneumonia, "subtype"].value_counts().head(MOST_SUBTYPES).index
    chosen = images[pneumonia & images["subtype"].isin(most)]
    return {
        str(name): prepare_table(pd.concat([part, images[~pneumonia]]), prior=prior)
        for name, part in chosen.groupby("subtype", sort=True)
    }


def positives(scores: Scores) -> tuple[int, int]:
    """Return the number of images with pneumonia, and of their patients."""
    return int(scores.label.sum()), len(np.unique(scores.patient[scores.label]))


def gate_scores(images: pd.DataFrame, *, prior: float = 0.5) -> dict[str, Scores]:
    """Return the scores by result of the input check.

    Parameters
    ----------
    images
        The columns label, probability, patient and, if known, gate.
    prior
        The share of pneumonia at which the probabilities are calibrated.

    Returns
    -------
    dict
        By result, in the order passed, caution, refused, those that occur. Empty without a column
        gate.
    """
    if "gate" not in images:
        return {}
    parts = dict(iter(images.groupby("gate")))
    return {
        name: prepare_table(parts[name], prior=prior)
        for name in ("passed", "caution", "refused")
        if name in parts
    }


def group_estimate(name: str, scores: Scores, metrics: Metrics) -> tuple[Estimate, int]:
    """Return a metric of a group, and the number of images behind it.

    Under 20 images a rate has Wilson's interval with patients in place of images, since a bootstrap
    of so few patients is too narrow.

    Parameters
    ----------
    name
        A metric, "sensitivity" for example.
    scores, metrics
        The group, and the result of `evaluate` on it.

    Returns
    -------
    estimate
        The metric.
    images
        Those with pneumonia for the sensitivity, the normal ones for the specificity, else all.
    """
    estimate = getattr(metrics, name)
    side = {"sensitivity": scores.label, "specificity": ~scores.label}.get(name)
    counted = np.ones_like(scores.label) if side is None else side
    images = int(counted.sum())
    is_rate = name in ("sensitivity", "specificity", "accuracy")
    if images < SMALL_GROUP and is_rate and not math.isnan(estimate.value):
        patients = len(np.unique(scores.patient[counted]))
        estimate = Estimate(estimate.value, *wilson_interval(estimate.value * patients, patients))
    return estimate, images


def accuracy_against_share(
    label: np.ndarray, probability: np.ndarray, threshold: float
) -> pd.DataFrame:
    """Return the accuracy as more and more images are decided, the most certain first.

    Parameters
    ----------
    label
        (images,) bool, True for PNEUMONIA.
    probability
        (images,) in [0, 1].
    threshold
        An image is the more certain, the farther its log-odds are from the threshold's.

    Returns
    -------
    pandas.DataFrame
        A row per image decided: share_decided, accuracy, both in [0, 1].
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


def confident_errors(images: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """Return the images on the wrong side of the threshold, the most confident first.

    Parameters
    ----------
    images
        The columns file, label and probability.
    threshold
        An image with a probability at or above it is positive.

    Returns
    -------
    pandas.DataFrame
        The rows of `images` with error ("missed" or "wrongly flagged") and distance (of the
        log-odds from the threshold's).
    """
    p = images["probability"].clip(1e-9, 1 - 1e-9)
    limit = float(np.clip(threshold, 1e-9, 1 - 1e-9))
    positive, truth = images["probability"] >= threshold, images["label"] == PNEUMONIA
    distance = (logit(p) - logit(limit)).abs()
    errors = images.assign(error=np.where(truth, "missed", "wrongly flagged"), distance=distance)
    return errors[positive != truth].sort_values(["distance", "file"], ascending=[False, True])
