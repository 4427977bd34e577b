"""Calibration: from a network's log-odds to a probability, and from the probability to a verdict.

Probabilities are calibrated to a stated prior of 50%. They express the evidence in the image, not
the prevalence of pneumonia where the image was acquired.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy import special

from xray_core.labels import Verdict

PRIOR = 0.5
DECISION_THRESHOLD = 0.5  # both types of error have the same cost; not fitted to data
EXCLUSION_SENSITIVITY = 0.99
ACCURACY_OUTSIDE_BAND = 0.96
MIN_TEMPERATURE, MAX_TEMPERATURE = 1.0, 20.0
MIN_BAND, MAX_BAND = 0.6, 0.9  # upper end of the indeterminate band; the lower end mirrors it


@dataclass(frozen=True)
class Calibration:
    """Calibration of one network's log-odds, with the operating points on the probability.

    Attributes
    ----------
    temperature, shift : float
        probability = sigmoid(logit / temperature + shift).
    prior : float
        Prevalence of pneumonia that the probability is calibrated to, in (0, 1).
    decision_threshold : float
        Probability above which the verdict is PNEUMONIA.
    exclusion_threshold : float
        Highest probability threshold with a sensitivity of 99% on the images that it was fitted
        to. Pneumonia also occurs below it.
    uncertain : (float, float)
        Probabilities between which, ends included, the verdict is UNCERTAIN. The band contains
        the decision threshold.

    Raises
    ------
    ValueError
        A value is not finite or out of range.
    """

    temperature: float
    shift: float
    prior: float
    decision_threshold: float
    exclusion_threshold: float
    uncertain: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.uncertain
        numbers = (
            self.temperature,
            self.shift,
            self.prior,
            self.decision_threshold,
            self.exclusion_threshold,
            low,
            high,
        )
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("its calibration has a number that is not finite")
        if self.temperature <= 0 or not 0 < self.prior < 1 or not 0 < self.decision_threshold < 1:
            raise ValueError("its calibration has a temperature, prior or threshold out of range")
        if not (
            0 <= low <= self.decision_threshold <= high <= 1 and 0 <= self.exclusion_threshold <= 1
        ):
            raise ValueError("its calibration has thresholds in an impossible order")

    def probability(self, logit: Any) -> np.ndarray:
        """Return the calibrated probability of pneumonia.

        Parameters
        ----------
        logit : array_like
            The network's log-odds of pneumonia, of any shape.

        Returns
        -------
        ndarray of float64
            Probabilities in [0, 1], in the shape of `logit`.
        """
        return np.asarray(special.expit(self.log_odds(logit)))

    def log_odds(self, logit: Any) -> np.ndarray:
        """Return the calibrated log-odds of pneumonia, float64 in the shape of `logit`."""
        return np.asarray(np.asarray(logit, np.float64) / self.temperature + self.shift)

    def verdict(self, probability: float) -> Verdict:
        """Return the verdict for a calibrated probability.

        Parameters
        ----------
        probability : float
            Probability of pneumonia, calibrated to `prior`.

        Returns
        -------
        {"NORMAL", "PNEUMONIA", "UNCERTAIN"}
            The class, or UNCERTAIN within the indeterminate band.

        Raises
        ------
        ValueError
            The probability is not in [0, 1], or not a number.
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"A probability is from 0 to 1. Received: {probability}.")
        low, high = self.uncertain
        if low <= probability <= high:
            return "UNCERTAIN"
        return "PNEUMONIA" if probability > self.decision_threshold else "NORMAL"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data for `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """Read what `to_dict` returned.

        Parameters
        ----------
        data : dict
            One entry per field; `uncertain` may be a list.

        Raises
        ------
        ValueError
            A field is missing, unknown, not a number or out of range.
        """
        names = [field.name for field in fields(cls)]
        band = data.get("uncertain")
        numbers = [data.get(name) for name in names if name != "uncertain"]
        numbers += band if isinstance(band, (list, tuple)) and len(band) == 2 else [None]
        if set(data) != set(names) or not all(type(number) in (int, float) for number in numbers):
            raise ValueError("its calibration does not have the numbers that it should")
        low, high = data["uncertain"]
        return cls(**{**data, "uncertain": (float(low), float(high))})


def shift_prior(probability: np.ndarray, *, source: float, target: float) -> np.ndarray:
    """Convert probabilities from one prior to another by a shift of their log-odds.

    Parameters
    ----------
    probability : array_like
        Probabilities in [0, 1] at the prior `source`.
    source, target : float
        Prior probabilities; `source` in (0, 1), `target` in [0, 1].

    Returns
    -------
    ndarray of float64
        Probabilities at the prior `target`, in the same shape. With a target of 0 or 1 all of
        them have that value.

    References
    ----------
    Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, theorem 2.
    """
    probability = np.asarray(probability, float)
    if target in (0.0, 1.0):
        return np.full_like(probability, target)
    return special.expit(special.logit(probability) + special.logit(target) - special.logit(source))


def fit_calibration(
    logit: np.ndarray, label: np.ndarray, *, trained_prior: float = PRIOR
) -> Calibration:
    """Fit the temperature, the exclusion threshold and the indeterminate band to validation images.

    Parameters
    ----------
    logit : ndarray of float, shape (N,)
        The network's log-odds of pneumonia, before calibration.
    label : ndarray, shape (N,)
        1 for pneumonia, 0 for normal; both must occur.
    trained_prior : float
        Share of pneumonia in the training loss, class weights included.

    Returns
    -------
    Calibration
        At a prior of 50%, with a decision threshold of 50%.

    Raises
    ------
    ValueError
        A logit is not finite, or one class is missing.

    Notes
    -----
    The temperature minimises the cross-entropy, with equal weight for both classes [1]_. It is at
    least 1: validation images come from the same hospital as the training images, so a lower
    temperature would be overconfident elsewhere [2]_.

    The indeterminate band is the narrowest one, symmetric in log-odds, outside which the balanced
    accuracy is at least 96%; its upper end is between 60% and 90%, and 90% where that accuracy is
    not reached. The exclusion threshold is the highest threshold with a sensitivity
    of 99% on these images. They are few and from one hospital, so it is not evidence that
    pneumonia is excluded below it.

    References
    ----------
    .. [1] Guo et al., "On calibration of modern neural networks", ICML 2017.
    .. [2] Ovadia et al., "Can you trust your model's uncertainty?", NeurIPS 2019.
    """
    from scipy.optimize import minimize_scalar

    trained_log_odds = special.logit(trained_prior)
    z = np.asarray(logit, np.float64) - trained_log_odds
    y = np.asarray(label) == 1
    if not np.isfinite(z).all():
        raise ValueError("The network returned a logit that is not finite.")
    if not (y.any() and (~y).any()):
        raise ValueError("Calibration needs images of both classes.")
    weight = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum())

    def loss(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(weight @ np.logaddexp(0, np.where(y, -scaled, scaled)))

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    temperature = float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
    probability = special.expit(z / temperature)
    return Calibration(
        temperature=temperature,
        shift=float(-trained_log_odds / temperature),
        prior=PRIOR,
        decision_threshold=DECISION_THRESHOLD,
        exclusion_threshold=_exclusion_threshold(probability[y]),
        uncertain=_uncertain_band(probability, y, weight),
    )


def _exclusion_threshold(probability: np.ndarray) -> float:
    """Return the highest threshold that 99% of the images with pneumonia reach.

    `probability` is of these images. The result is at most the decision threshold.
    """
    ranked = np.sort(probability)
    missed = int((1 - EXCLUSION_SENSITIVITY) * len(ranked))
    return float(min(ranked[missed], DECISION_THRESHOLD))


def _uncertain_band(
    probability: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    for high in np.arange(MIN_BAND, MAX_BAND + 1e-9, 0.01):
        outside = (probability > high) | (probability < 1 - high)
        correct = outside & ((probability > DECISION_THRESHOLD) == y)
        if (
            weight[outside].sum()
            and weight[correct].sum() / weight[outside].sum() >= ACCURACY_OUTSIDE_BAND
        ):
            break
    return (round(float(1 - high), 4), round(float(high), 4))
