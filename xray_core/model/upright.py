"""Recognition of chest X-rays that are upside down, from the features of a classifier.

The distance to the training images tells this poorly, since a network that is insensitive to
rotation gives both orientations similar features. A linear classifier of the features does better.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import BundleError
from xray_core.model.bundle_checks import read_arrays

FloatArray = NDArray[np.float32]

PENALTY = 0.1  # inverse strength of the regularisation (C of scikit-learn)
MAX_BYTES = 1_000_000  # of the arrays of a file


@dataclass(frozen=True)
class UprightCheck:
    """A logistic regression on the features of an image: upside down or upright.

    Attributes
    ----------
    weight : ndarray of float32, shape (D,)
        Coefficients of the D features.
    bias : float
        Intercept.
    """

    weight: FloatArray
    bias: float

    def is_upside_down(self, features: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which images look upside down.

        Parameters
        ----------
        features : ndarray, shape (N, D)
            Features of N images.

        Returns
        -------
        ndarray of bool, shape (N,)
            False for features that are not finite.
        """
        score = np.asarray(features, np.float64) @ self.weight.astype(np.float64) + self.bias
        return np.asarray(score > 0)

    def save(self, path: str | Path) -> None:
        """Write the check to `path`, an .npz file."""
        np.savez(path, weight=self.weight, bias=np.float64(self.bias))

    @classmethod
    def load(cls, path: str | Path) -> UprightCheck:
        """Read a file that `save` wrote.

        Raises
        ------
        BundleError
            The file holds something else.
        """
        try:
            values = read_arrays(path, ("weight", "bias"), MAX_BYTES)
            weight, bias = values["weight"].astype(np.float32), float(values["bias"])
            if weight.ndim != 1:
                raise ValueError("The weights are not those of one linear classifier.")
        except (OSError, ValueError, TypeError) as error:
            raise BundleError(
                f"{Path(path).name} does not hold a check of the orientation that this version can "
                "read: rebuild it with `python -m xray_core finish`, or train the model again."
            ) from error
        return cls(weight, bias)


def fit_upright_check(
    upright: NDArray[np.floating], upside_down: NDArray[np.floating]
) -> UprightCheck:
    """Fit the check to images in both orientations.

    Parameters
    ----------
    upright : ndarray, shape (N, D)
        Features of training images.
    upside_down : ndarray, shape (M, D)
        Features of training images rotated by 180 degrees.

    Returns
    -------
    UprightCheck
        The fitted check; the standardisation of the features is part of its weights.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([upright, upside_down]).astype(np.float32)
    target = np.repeat([0, 1], [len(upright), len(upside_down)])
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=PENALTY, max_iter=1000).fit(scaler.transform(features), target)
    weight = model.coef_[0] / scaler.scale_
    return UprightCheck(
        weight.astype(np.float32), float(model.intercept_[0] - weight @ scaler.mean_)
    )
