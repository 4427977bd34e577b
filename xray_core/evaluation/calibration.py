"""How far probabilities can be taken at their word: prior shift, reliability bins, ECE.

Probabilities of a bundle are stated at a prior of 50%. Before they are compared with what was
observed, their log-odds are shifted to the prevalence of the set at hand (`shift_prior`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xray_core.model.calibration import shift_prior as shift_prior
from xray_core.stats.bootstrap import CELLS, in_blocks, wilson

BINS = 10


def bin_of(probability: np.ndarray) -> np.ndarray:
    """The index 0..9 of each probability's bin [k/10, (k + 1)/10); 1.0 is in the last."""
    # Rounding first: 0.3 * 10 is 2.9999999999999996 after a shift of the log-odds and back.
    return np.minimum(np.floor(np.round(probability * BINS, 9)), BINS - 1).astype(int)


def expected_calibration_error(label: np.ndarray, probability: np.ndarray) -> float:
    """Mean over images of |mean probability - observed share| of their bin, ten bins.

    Source: Naeini et al., AAAI 2015, on the positive class' probability (not the confidence).
    """
    excess = np.bincount(bin_of(probability), weights=probability - label, minlength=BINS)
    return float(np.abs(excess).sum() / len(probability))


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability diagram; rates in [0, 1], NaN where the bin is empty."""

    low: float
    high: float
    images: int
    patients: int
    predicted: float
    observed: float
    observed_low: float
    observed_high: float


def reliability(
    label: np.ndarray, probability: np.ndarray, patient: np.ndarray
) -> list[ReliabilityBin]:
    """The reliability diagram of probabilities already shifted to the set's prevalence.

    The interval of the observed share is Wilson's with the bin's patients in place of its images,
    as if a patient's images all said the same.
    """
    label, probability = np.asarray(label, float), np.asarray(probability, float)
    patient = np.asarray(patient)
    index = bin_of(probability)
    bins = []
    for k in range(BINS):
        here = index == k
        images, patients = int(here.sum()), len(np.unique(patient[here]))
        predicted = float(probability[here].mean()) if images else float("nan")
        observed = float(label[here].mean()) if images else float("nan")
        low, high = wilson(observed * patients, patients)
        bins.append(
            ReliabilityBin(
                k / BINS, (k + 1) / BINS, images, patients, predicted, observed, low, high
            )
        )
    return bins


def calibrated_reference(
    probability: np.ndarray, patient: np.ndarray, *, n_draws: int = 2000, seed: int = 0
) -> tuple[float, float, np.ndarray]:
    """The calibration error that a perfectly calibrated model with these scores would show.

    Labels are drawn from the probabilities themselves, so that any error measured is chance. A
    patient's images share their fate: one number is drawn uniformly for each patient, and an image is
    positive where it lies below the image's probability. Each image is then positive with its own
    probability, and the images of a patient depend on each other as strongly as that allows (the
    upper bound of Frechet and Hoeffding), as labels do that are given to a patient's whole study.
    Images drawn independently would vary less, and make a calibrated model look miscalibrated.

    Parameters
    ----------
    probability
        (images,) in [0, 1], at the prevalence of the images.
    patient
        (images,) whole numbers or any keys; equal ones are one patient.
    n_draws, seed
        How many sets of labels are drawn, and from which seed.

    Returns
    -------
    low, high, errors
        The 2.5% and 97.5% points, and all `n_draws` values.
    """
    probability = np.asarray(probability, float)
    code, patients = pd.factorize(np.asarray(patient))
    rng = np.random.default_rng(seed)
    one_hot = np.eye(BINS, dtype=np.float32)[bin_of(probability)]  # (images, 10)
    expected = probability @ one_hot

    def error(number: np.ndarray) -> np.ndarray:
        drawn = (number.take(code, axis=1) < probability).astype(np.float32) @ one_hot
        return np.abs(drawn - expected).sum(axis=1) / len(probability)

    rows = max(1, CELLS // len(probability))
    numbers = (
        rng.random((min(rows, n_draws - start), len(patients))) for start in range(0, n_draws, rows)
    )
    [errors] = in_blocks(numbers, n_draws, error)
    low, high = np.quantile(errors, [0.025, 0.975])
    return float(low), float(high), errors
