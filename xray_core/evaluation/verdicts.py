"""Three-way results against the labels: pneumonia suspected, indeterminate, none detected."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from xray_core.labels import NORMAL, PNEUMONIA, UNCERTAIN
from xray_core.stats.bootstrap import share_by_patient

VERDICTS = (PNEUMONIA, UNCERTAIN, NORMAL)


@dataclass(frozen=True)
class VerdictRate:
    """Images of one class with one verdict: their number, and their share with a 95% interval."""

    images: int
    value: float
    low: float
    high: float


def verdict_rates(
    predictions: pd.DataFrame, fold: str = "test"
) -> dict[str, dict[str, VerdictRate]]:
    """Count the verdicts of each class among images that passed the input check without caution.

    Parameters
    ----------
    predictions
        The columns fold, label, patient, verdict and gate, as a bundle stores them.
    fold
        Which fold to count.

    Returns
    -------
    dict
        By label (PNEUMONIA, NORMAL), then by verdict (PNEUMONIA, UNCERTAIN, NORMAL); a label
        without images is left out. Shares are in [0, 1] and add up to 1. Intervals are BCa from a
        bootstrap over patients; where no draw differs from the estimate, Wilson's with patients in
        place of images.
    """
    passed = predictions[(predictions["fold"] == fold) & (predictions["gate"] == "passed")]
    return {
        label: _rates(passed[passed["label"] == label])
        for label in (PNEUMONIA, NORMAL)
        if (passed["label"] == label).any()
    }


def _rates(images: pd.DataFrame) -> dict[str, VerdictRate]:
    patient = images["patient"].to_numpy(str)
    rates = {}
    for verdict in VERDICTS:
        has = (images["verdict"] == verdict).to_numpy()
        share = share_by_patient(has, patient)
        rates[verdict] = VerdictRate(int(has.sum()), share.value, share.low, share.high)
    return rates


@dataclass(frozen=True)
class NaturalFrequencies:
    """Results per 100 images with pneumonia, and per 100 normal ones; each four add up to 100.

    Attributes
    ----------
    pneumonia_images, normal_images
        How many images the frequencies rest on; without images of a class its four are 0.
    detected, uncertain, missed, refused
        Of 100 images with pneumonia: PNEUMONIA, UNCERTAIN, NORMAL and REFUSED.
    correctly_negative, normal_uncertain, wrongly_flagged, normal_refused
        Of 100 normal images: NORMAL, UNCERTAIN, PNEUMONIA and REFUSED.
    """

    pneumonia_images: int
    detected: int
    uncertain: int
    missed: int
    refused: int
    normal_images: int
    correctly_negative: int
    normal_uncertain: int
    wrongly_flagged: int
    normal_refused: int


def natural_frequencies(predictions: pd.DataFrame, fold: str = "test") -> NaturalFrequencies:
    """Return the verdicts per 100 images of each class.

    Parameters
    ----------
    predictions
        The columns fold, label and verdict.
    fold
        Which fold to count.

    Returns
    -------
    NaturalFrequencies
        Rounded by largest remainder, so that the parts add up to 100.
    """
    chosen = predictions[predictions["fold"] == fold]
    images, per_hundred = {}, {}
    for label in (PNEUMONIA, NORMAL):
        verdict = chosen.loc[chosen["label"] == label, "verdict"]
        images[label] = len(verdict)
        per_hundred[label] = _per_hundred(
            [int((verdict == name).sum()) for name in (*VERDICTS, "REFUSED")]
        )
    detected, uncertain, missed, refused = per_hundred[PNEUMONIA]
    wrongly_flagged, normal_uncertain, correctly_negative, normal_refused = per_hundred[NORMAL]
    return NaturalFrequencies(
        pneumonia_images=images[PNEUMONIA],
        detected=detected,
        uncertain=uncertain,
        missed=missed,
        refused=refused,
        normal_images=images[NORMAL],
        correctly_negative=correctly_negative,
        normal_uncertain=normal_uncertain,
        wrongly_flagged=wrongly_flagged,
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
