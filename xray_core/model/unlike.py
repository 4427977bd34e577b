"""Results of images that are unlike the training images.

The calibration is fitted to images of the hospital of the training images. Away from it the same
probability means less. An image that is farther from the training images than most validation
images therefore gets a firm result only outside wider limits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from xray_core.labels import Verdict
from xray_core.model.calibration import Calibration

SENSITIVITY = 0.9988  # share of the images with pneumonia that reach the lower limit
SPECIFICITY = 0.985  # share of the normal images that do not exceed the upper limit
LIKE_TRAINING = 0.9  # share of the validation images to which the rule does not apply


@dataclass(frozen=True)
class UnlikeRule:
    """Limits of firm results for images that are unlike the training images.

    Attributes
    ----------
    beyond : float
        Relative distance to the training images (the squared distance divided by that at which
        the input check's caution begins) above which the rule applies; in [0, 1].
    low, high : float
        There the result is UNCERTAIN from `low` to `high`, in addition to the indeterminate band of
        the calibration. 0 <= low <= high <= 1; with 0 and 1 no result is firm.

    Raises
    ------
    ValueError
        A number is out of range.
    """

    beyond: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.beyond <= 1 and 0 <= self.low <= self.high <= 1):
            raise ValueError(
                "its rule for images unlike the training images has a number out of range"
            )

    def verdict(
        self, probability: float, relative_distance: float, calibration: Calibration
    ) -> Verdict:
        """Return the verdict of an image.

        Parameters
        ----------
        probability : float
            Calibrated probability of pneumonia in [0, 1].
        relative_distance : float
            As for `beyond`.
        calibration : Calibration
            Calibration of the network.
        """
        if relative_distance > self.beyond and self.low <= probability <= self.high:
            return "UNCERTAIN"
        return calibration.verdict(probability)

    def to_dict(self) -> dict[str, float]:
        """Return the numbers as plain data for `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> UnlikeRule:
        """Read what `to_dict` returned.

        Raises
        ------
        ValueError
            A number is missing, not a number, out of range, or of no rule.
        """
        names = {field.name for field in fields(cls)}
        if (
            not isinstance(data, dict)
            or set(data) != names
            or any(type(value) not in (int, float) for value in data.values())
        ):
            raise ValueError(
                "its rule for images unlike the training images does not have its numbers"
            )
        return cls(**data)


def fit_unlike_rule(
    probability: np.ndarray,
    label: np.ndarray,
    relative_distance: np.ndarray,
    *,
    sensitivity: float = SENSITIVITY,
) -> UnlikeRule:
    """Fit the limits to validation images and their shifted copies.

    Parameters
    ----------
    probability : ndarray of float, shape (N,)
        Calibrated probability of pneumonia of the images and the copies.
    label : ndarray, shape (N,)
        1 for pneumonia, 0 for normal; both must occur.
    relative_distance : ndarray of float, shape (M,)
        Of the unaltered validation images.
    sensitivity : float
        Share of the images with pneumonia that reach `low`, in (0, 1).

    Returns
    -------
    UnlikeRule
        That share of the images with pneumonia reaches `low`, 98.5% of the normal images do not
        exceed `high`, and 90% of the unaltered images are not beyond `beyond`.

    Notes
    -----
    The three shares were chosen among five candidates on images of other hospitals
    (docs/experiments.md). The limits themselves are fitted to the hospital of the training images.
    """
    y = np.asarray(label) == 1
    low = float(np.quantile(probability[y], 1 - sensitivity))
    high = float(np.quantile(probability[~y], SPECIFICITY))
    beyond = float(np.quantile(relative_distance, LIKE_TRAINING))
    return UnlikeRule(min(max(beyond, 0.0), 1.0), min(low, high), max(low, high))
