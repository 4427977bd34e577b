"""Reliability bins, and the calibration error that chance alone gives.

Probabilities of a bundle are stated at a prior of 50%. Before they are compared with the observed
shares, their log-odds are shifted to the prevalence of the images (`Scores.shifted`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xray_core.stats.bootstrap import BLOCK_CELLS, apply_in_blocks
from xray_core.stats.intervals import wilson_interval

BINS = 10


def bin_index(probability: np.ndarray) -> np.ndarray:
    """Return the index 0 to 9 of each probability's bin [k/10, (k + 1)/10); 1.0 is in the last."""
    # Rounding first: 0.3 * 10 is 2.9999999999999996 after a shift of the log-odds and back.
    return np.minimum(np.floor(np.round(probability * BINS, 9)), BINS - 1).astype(int)


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability diagram.

    Attributes
    ----------
    low, high
        The ends of the bin, in [0, 1].
    images, patients
        How many there are in the bin.
    predicted
        The mean probability in the bin; NaN where it is empty.
    observed, observed_low, observed_high
        The share of pneumonia with its 95% interval; NaN where the bin is empty.
    """

    low: float
    high: float
    images: int
    patients: int
    predicted: float
    observed: float
    observed_low: float
    observed_high: float


def reliability_bins(
    label: np.ndarray, probability: np.ndarray, patient: np.ndarray
) -> list[ReliabilityBin]:
    """Return the ten bins of a reliability diagram.

    Parameters
    ----------
    label
        (images,) bool or 0/1.
    probability
        (images,) in [0, 1], at the prevalence of the images.
    patient
        (images,) keys.

    Returns
    -------
    list of ReliabilityBin
        The interval of the observed share is Wilson's with the bin's patients in place of its
        images, as if all images of a patient had the same label.
    """
    label, probability = np.asarray(label, float), np.asarray(probability, float)
    patient = np.asarray(patient)
    index = bin_index(probability)
    bins = []
    for k in range(BINS):
        here = index == k
        images, patients = int(here.sum()), len(np.unique(patient[here]))
        predicted = float(probability[here].mean()) if images else float("nan")
        observed = float(label[here].mean()) if images else float("nan")
        low, high = wilson_interval(observed * patients, patients)
        bins.append(
            ReliabilityBin(
                k / BINS, (k + 1) / BINS, images, patients, predicted, observed, low, high
            )
        )
    return bins


def simulated_calibration_errors(
    probability: np.ndarray, patient: np.ndarray, *, n_draws: int = 2000, seed: int = 0
) -> np.ndarray:
    """Return the calibration errors of a perfectly calibrated model with these probabilities.

    Labels are drawn from the probabilities themselves, so that any error measured is chance. One
    number is drawn uniformly for each patient, and an image is positive where the number lies below
    the image's probability. Each image is then positive with its own probability, and the images of
    a patient depend on each other as strongly as that allows (the upper bound of Frechet and
    Hoeffding), as labels do that are given to a patient's whole study. Labels drawn independently
    would vary less, and a calibrated model would look miscalibrated.

    Parameters
    ----------
    probability
        (images,) in [0, 1], at the prevalence of the images.
    patient
        (images,) whole numbers or any keys; images with equal keys are of one patient.
    n_draws, seed
        How many sets of labels are drawn, and from which seed.

    Returns
    -------
    numpy.ndarray
        (n_draws,) expected calibration errors, of the probability of PNEUMONIA in ten equal bins:
        the mean over images of |mean probability - observed share| of their bin.

    References
    ----------
    The calibration error: Naeini, Cooper and Hauskrecht, AAAI 2015, there of the confidence.
    """
    probability = np.asarray(probability, float)
    code, patients = pd.factorize(np.asarray(patient))
    rng = np.random.default_rng(seed)
    one_hot = np.eye(BINS, dtype=np.float32)[bin_index(probability)]  # (images, 10)
    expected = probability @ one_hot

    def error(number: np.ndarray) -> np.ndarray:
        drawn = (number.take(code, axis=1) < probability).astype(np.float32) @ one_hot
        return np.abs(drawn - expected).sum(axis=1) / len(probability)

    rows = max(1, BLOCK_CELLS // len(probability))
    numbers = (
        rng.random((min(rows, n_draws - start), len(patients))) for start in range(0, n_draws, rows)
    )
    [errors] = apply_in_blocks(numbers, n_draws, error)
    return errors
