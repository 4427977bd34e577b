"""Every number of the Evaluation page, each with a 95% interval from a bootstrap over patients.

`evaluate_scores` does all in one call. Who moves a threshold calls `prepare` once, which draws the
patients, and then `evaluate`, which takes a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xray_core.errors import XrayError
from xray_core.evaluation.rates import Confusion, rates
from xray_core.evaluation.scores import Scores, prepare
from xray_core.labels import NORMAL, PNEUMONIA, REFUSED, UNCERTAIN
from xray_core.stats.bootstrap import Estimate, wilson


@dataclass(frozen=True)
class Metrics:
    """What `evaluate` measured. Rates are in [0, 1]; NaN stands for "not defined on these images".

    `prevalence` is the share of pneumonia among the images; `stated_prevalence` the one for which
    `ppv` and `npv` hold. `brier`, `calibration_error` (ECE of P(PNEUMONIA), ten equal-width bins)
    and `log_loss` (natural logarithm) are of probabilities whose log-odds were shifted from their
    prior to `prevalence`.
    """

    threshold: float
    images: int
    patients: int
    prevalence: float
    stated_prevalence: float
    confusion: Confusion
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    f1: Estimate
    balanced_accuracy: Estimate
    mcc: Estimate
    positive_likelihood_ratio: Estimate
    negative_likelihood_ratio: Estimate
    roc_auc: Estimate
    average_precision: Estimate
    brier: Estimate
    calibration_error: Estimate
    log_loss: Estimate

    def estimates(self) -> Iterator[tuple[str, Estimate]]:
        """The metrics with intervals, by name, in the order of the fields."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Estimate):
                yield field.name, value


def evaluate_scores(
    label: ArrayLike,
    probability: ArrayLike,
    patient: Iterable[Hashable],
    *,
    threshold: float,
    prevalence: float | None = None,
    n_bootstrap: int = 2000,
    seed: int = 0,
    prior: float = 0.5,
) -> Metrics:
    """All metrics of a set of images at one threshold; see `prepare` and `evaluate`."""
    images = prepare(label, probability, patient, n_bootstrap=n_bootstrap, seed=seed, prior=prior)
    return evaluate(images, threshold=threshold, prevalence=prevalence)


def evaluate(images: Scores, *, threshold: float, prevalence: float | None = None) -> Metrics:
    """All metrics at `threshold`: an image with a probability at or above it is called PNEUMONIA.

    `threshold` is on the scale of the given probabilities (prior 50%). PPV and NPV hold at
    `prevalence`, by default that of the images. Where no draw of patients differs from the estimate
    (no error at all, say), the interval comes from Wilson's limits of sensitivity and specificity
    with patients in place of images, so that "100%" never comes with "100% to 100%".
    """
    if not 0 <= threshold <= 1:
        raise XrayError(f"A threshold lies between 0 and 1. Received: {threshold}.")
    if prevalence is not None and not 0 < prevalence < 1:
        raise XrayError(f"A prevalence lies between 0 and 1. Received: {prevalence}.")
    ranked = images.threshold_free  # first: the longest computation runs beside the drawing
    called, truth = images.probability >= threshold, images.label
    cells = np.stack([truth & called, truth & ~called, ~truth & called, ~truth & ~called], axis=1)
    counts = images.weights.sums(images.per_patient(cells.astype(float)))  # (rows, 4)
    tp, fn, fp, tn = counts.T
    rows = rates(tp, fn, fp, tn, prevalence)
    corners = _corners(images, rows, prevalence)
    found = {}
    for name, values in rows.items():
        found[name] = images.weights.interval(values)
        if images.weights.is_constant(values) and not np.isnan(values[0]):
            ends = np.append(corners[name], values[0])
            found[name] = Estimate(float(values[0]), float(ends.min()), float(ends.max()))
    table = Confusion(*(int(x) for x in np.rint(counts[0])))
    return Metrics(
        threshold=float(threshold),
        images=len(truth),
        patients=images.weights.patients,
        prevalence=images.prevalence,
        stated_prevalence=images.prevalence if prevalence is None else float(prevalence),
        confusion=table,
        **found,
        **ranked,
    )


def _corners(
    images: Scores, rows: dict[str, np.ndarray], prevalence: float | None
) -> dict[str, np.ndarray]:
    """The metrics at the low and high Wilson limits of sensitivity and specificity together.

    All are monotone in both, so the two corners bound them.
    """
    limits = []
    for name, side in (("sensitivity", True), ("specificity", False)):
        patients, rate = len(np.unique(images.patient[images.label == side])), rows[name][0]
        limits.append(np.array(wilson(rate * patients, patients)) if patients else np.zeros(2))
    (sensitivity, specificity), share = limits, images.prevalence
    return rates(
        sensitivity * share,
        (1 - sensitivity) * share,
        (1 - specificity) * (1 - share),
        specificity * (1 - share),
        prevalence,
    )


@dataclass(frozen=True)
class NaturalFrequencies:
    """What becomes of 100 images with pneumonia, and of 100 normal ones; each four add up to 100.

    `pneumonia_images` and `normal_images` say on how many images the counts rest; with no image of a
    class its four are 0.
    """

    pneumonia_images: int
    called: int  # of 100 with pneumonia, called PNEUMONIA
    uncertain: int
    missed: int  # called NORMAL
    refused: int
    normal_images: int
    cleared: int  # of 100 normal ones, called NORMAL
    normal_uncertain: int
    flagged: int  # called PNEUMONIA
    normal_refused: int


def natural_frequencies(predictions: pd.DataFrame, fold: str = "test") -> NaturalFrequencies:
    """Verdicts per 100 images of each class, from the columns fold, label and verdict.

    Rounded so that the parts still add up to 100 (largest remainder).
    """
    chosen = predictions[predictions["fold"] == fold]
    order = [PNEUMONIA, UNCERTAIN, NORMAL, REFUSED]
    parts, images = {}, {}
    for label in (PNEUMONIA, NORMAL):
        verdict = chosen.loc[chosen["label"] == label, "verdict"]
        images[label] = len(verdict)
        parts[label] = _per_hundred([int((verdict == name).sum()) for name in order])
    called, uncertain, missed, refused = parts[PNEUMONIA]
    flagged, normal_uncertain, cleared, normal_refused = parts[NORMAL]
    return NaturalFrequencies(
        pneumonia_images=images[PNEUMONIA],
        called=called,
        uncertain=uncertain,
        missed=missed,
        refused=refused,
        normal_images=images[NORMAL],
        cleared=cleared,
        normal_uncertain=normal_uncertain,
        flagged=flagged,
        normal_refused=normal_refused,
    )


def _per_hundred(counts: list[int]) -> list[int]:
    total = sum(counts)
    if total == 0:
        return [0] * len(counts)
    exact = [100 * count / total for count in counts]
    whole = [int(x) for x in exact]
    by_remainder = sorted(range(len(counts)), key=lambda k: whole[k] - exact[k])
    for k in by_remainder[: 100 - sum(whole)]:
        whole[k] += 1
    return whole
