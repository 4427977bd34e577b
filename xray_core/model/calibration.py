"""From a network's log-odds to a probability that means something, and from that to a verdict.

Probabilities are calibrated to a stated prior of 50%: they say how strongly the image speaks for
pneumonia, not how common pneumonia is where the image was taken.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy import special

from xray_core.labels import Verdict

PRIOR = 0.5
MAIN = 0.5  # where both errors weigh the same: a choice of principle, not of data
EXCLUSION_SENSITIVITY = 0.99
ACCURACY_OUTSIDE = 0.98
SHARPEST = 1.0  # lowest temperature: validation may make a model more careful, never bolder
NARROWEST, WIDEST = 0.6, 0.9  # upper end of the uncertain band; the lower end mirrors it


@dataclass(frozen=True)
class Calibration:
    """How one network's log-odds are read.

    Attributes:
        temperature, shift: probability = sigmoid(logit / temperature + shift).
        prior: share of pneumonia at which the probability is calibrated.
        main: operating point that the verdict turns at, as a probability.
        exclusion_threshold: the exclusion threshold, as a probability: the highest with a sensitivity of 99%
            on the images that it was fitted to. Pneumonia is found below it, too.
        uncertain: (low, high) around `decision_threshold`; between them, ends included, no verdict is given.
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
        """Calibrated probability of pneumonia, float64, in the shape of `logit`."""
        z = np.asarray(logit, np.float64) / self.temperature + self.shift
        return np.asarray(special.expit(z))

    def verdict(self, probability: float) -> Verdict:
        """What the probability means in a word.

        Raises:
            ValueError: it is not a number from 0 to 1, so that it means nothing.
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"A probability is from 0 to 1. Received: {probability}.")
        low, high = self.uncertain
        if low <= probability <= high:
            return "UNCERTAIN"
        return "PNEUMONIA" if probability > self.decision_threshold else "NORMAL"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibration:
        """What `to_dict` gave, read back.

        Raises:
            ValueError: a field is missing, unknown or not such a number.
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
    """Move probabilities stated at prior `source` to prior `target`: a shift of their log-odds.

    At a target of 0 or 1 every probability becomes that. Source: Elkan, IJCAI 2001, theorem 2.
    """
    probability = np.asarray(probability, float)
    if target in (0.0, 1.0):
        return np.full_like(probability, target)
    return special.expit(special.logit(probability) + special.logit(target) - special.logit(source))


def fit_calibration(
    logit: np.ndarray, label: np.ndarray, *, trained_prior: float = PRIOR
) -> Calibration:
    """Fit temperature, exclusion threshold and uncertain band to validation images.

    The temperature minimises the cross-entropy with both classes weighing the same (Guo et al.,
    ICML 2017, at a prior of 50%), and is never below 1: images of the hospital that a model was
    trained at, and simulated copies of them, always flatter it, and a temperature fitted to such
    images makes a model too sure elsewhere (Ovadia et al., NeurIPS 2019). The uncertain band is
    the narrowest one, symmetric in log-odds, outside which 98% are right; the exclusion
    threshold the highest that 99% of the images with pneumonia reach. It is named for what it is: a
    sensitivity on these images. A threshold below which pneumonia is excluded cannot be shown on
    them: they are few, and of the hospital that the model was trained at.

    Args:
        logit: float (N,), raw log-odds of the validation images.
        label: (N,), 1 for pneumonia; both classes must be there.
        trained_prior: share of pneumonia that training showed the network, weights counted in.
    """
    from scipy.optimize import minimize_scalar

    trained_log_odds = special.logit(trained_prior)
    z = np.asarray(logit, np.float64) - trained_log_odds
    y = np.asarray(label) == 1
    if not np.isfinite(z).all():
        raise ValueError("The network gave a number that is not finite.")
    if not (y.any() and (~y).any()):
        raise ValueError("Calibration needs images of both classes.")
    weight = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum())

    def loss(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(weight @ np.logaddexp(0, np.where(y, -scaled, scaled)))

    fitted = minimize_scalar(loss, bounds=(np.log(SHARPEST), np.log(20)), method="bounded")
    temperature = float(np.exp(fitted.x))
    probability = special.expit(z / temperature)
    return Calibration(
        temperature=temperature,
        shift=float(-trained_log_odds / temperature),
        prior=PRIOR,
        decision_threshold=MAIN,
        exclusion_threshold=_exclusion_threshold(probability[y]),
        uncertain=_uncertain_band(probability, y, weight),
    )


def _exclusion_threshold(probability: np.ndarray) -> float:
    """Highest threshold that 99% of the images with pneumonia reach; never above the decision threshold."""
    ranked = np.sort(probability)
    missed = int((1 - EXCLUSION_SENSITIVITY) * len(ranked))
    return float(min(ranked[missed], MAIN))


def _uncertain_band(
    probability: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """Narrowest band around the decision threshold outside which 98% are right, both classes alike."""
    for high in np.arange(NARROWEST, WIDEST + 1e-9, 0.01):
        outside = (probability > high) | (probability < 1 - high)
        right = outside & ((probability > MAIN) == y)
        if (
            weight[outside].sum()
            and weight[right].sum() / weight[outside].sum() >= ACCURACY_OUTSIDE
        ):
            break
    return (round(float(1 - high), 4), round(float(high), 4))
