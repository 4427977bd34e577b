"""Out-of-distribution detection: the gate refuses images that are unlike the training images.

The gate uses the features of the forward pass that also gives the prediction.
The pixel checks that precede it are in `xray_core.imaging.checks`.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import BundleError
from xray_core.model.bundle_checks import read_arrays
from xray_core.model.engine import product

Outcome = Literal["passed", "caution", "refused"]
FloatArray = NDArray[np.float32]

CAUTION_QUANTILE = 0.99  # of the validation images' distances
REFUSE_FACTOR = 2.0  # refusal threshold relative to the caution threshold
MIN_RELATIVE_SCALE = 0.05  # of a feature, relative to the median standard deviation
MAX_BASIS_VALUES = 2**20  # of the eigenvectors that are kept (4 MB): all up to 1024 features
MAX_BYTES = 64_000_000  # of the arrays of a file; 8 MB for the recipe with the most features


@dataclass(frozen=True)
class Gate:
    """Squared Mahalanobis distance of features to the training images, with two thresholds.

    Attributes
    ----------
    mean, scale : ndarray of float32, shape (D,)
        Mean and standard deviation of the D features, for standardisation.
    basis : ndarray of float32, shape (D, K)
        Leading eigenvectors of the covariance of the standardised features.
    variance : ndarray of float32, shape (K,)
        Eigenvalues of `basis`.
    rest : float
        Variance in all directions outside `basis`.
    caution, refuse : float
        Squared distances, divided by D, above which an image gets a caution or is refused.

    Notes
    -----
    The covariance is estimated with Ledoit-Wolf shrinkage [1]_, and the distance is used as in
    [2]_. If K is D, or at least the number of training images less one, no part of the estimate is
    lost. Otherwise `rest` stands for the eigenvalues that are not kept.

    References
    ----------
    .. [1] Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
       matrices", Journal of Multivariate Analysis 88, 2004.
    .. [2] Lee et al., "A simple unified framework for detecting out-of-distribution samples and
       adversarial attacks", NeurIPS 2018.
    """

    mean: FloatArray
    scale: FloatArray
    basis: FloatArray
    variance: FloatArray
    rest: float
    caution: float
    refuse: float

    def squared_distance(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute squared Mahalanobis distances to the training images, divided by D.

        Parameters
        ----------
        features : ndarray, shape (N, D)
            Features of N images.

        Returns
        -------
        ndarray of float64, shape (N,)
            About 1 on average for images like the training images.

        Raises
        ------
        ValueError
            The number of features is not D.
        """
        x = np.asarray(features, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.mean.size:
            raise ValueError(f"Expected features (N, {self.mean.size}). Received: {x.shape}")
        z = (x - self.mean) / self.scale
        projected = product(z, self.basis)  # (N, D) -> (N, K)
        inside = np.sum(np.square(projected, dtype=np.float64) / self.variance, axis=1)  # (N,)
        outside = np.sum(np.square(z, dtype=np.float64), axis=1)
        outside -= np.sum(np.square(projected, dtype=np.float64), axis=1)
        return (inside + np.maximum(outside, 0.0) / self.rest) / self.mean.size

    def outcome(self, squared_distance: float) -> Outcome:
        """Return the result of the check for one squared distance, divided by D.

        Returns
        -------
        {"passed", "caution", "refused"}
            "caution" above the caution threshold; "refused" above the refusal threshold, and for
            a distance that is not finite.
        """
        if not squared_distance <= self.refuse:
            return "refused"
        return "caution" if squared_distance > self.caution else "passed"

    def save(self, path: str | Path) -> None:
        """Write the gate to `path`, an .npz file."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> "Gate":
        """Read a file that `save` wrote.

        Raises
        ------
        BundleError
            The file holds something else.
        """
        try:
            values = read_arrays(path, [field.name for field in fields(cls)], MAX_BYTES)
            mean, scale, basis, variance = (
                values[name].astype(np.float32) for name in ("mean", "scale", "basis", "variance")
            )
            rest, caution, refuse = (float(values[name]) for name in ("rest", "caution", "refuse"))
            if not (
                mean.ndim == variance.ndim == 1
                and scale.shape == mean.shape
                and basis.shape == (mean.size, variance.size)
                and min(scale.min(), variance.min(), rest, caution) > 0
                and caution <= refuse
            ):
                raise ValueError("The shapes or values of the arrays are inconsistent.")
        except (OSError, ValueError, TypeError) as error:
            raise BundleError(
                f"{Path(path).name} does not hold an input check that this version can read: "
                "rebuild it with `python -m xray_core finish`, or train the model again."
            ) from error
        return cls(mean, scale, basis, variance, rest, caution, refuse)


def fit_gate(
    train_features: NDArray[np.floating], validation_features: NDArray[np.floating]
) -> Gate:
    """Fit the covariance to the training images, and the thresholds to the validation images.

    The caution threshold is the 99% quantile of the validation images' squared distances. The
    refusal threshold is twice that value.

    Parameters
    ----------
    train_features : ndarray, shape (N, D)
        Features of at least two training images.
    validation_features : ndarray, shape (M, D)
        Features of the validation images. If M is 0, the training images are used instead.

    Returns
    -------
    Gate
        The fitted gate.

    Raises
    ------
    ValueError
        There are fewer than two training images, or a feature is not finite.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    train = np.asarray(train_features, dtype=np.float32)
    if train.ndim != 2 or len(train) < 2:
        raise ValueError(f"A gate needs at least two images' features. Received: {train.shape}")
    if not (np.isfinite(train).all() and np.isfinite(validation_features).all()):
        raise ValueError("The network returned a feature that is not finite.")
    mean = train.mean(axis=0)
    spread = train.std(axis=0)
    # A feature that is nearly constant on training images may vary on other images. The lower
    # limit of the scale keeps its contribution to the distance bounded.
    typical = float(np.median(spread[spread > 0])) if np.any(spread > 0) else 1.0
    scale = np.maximum(spread, MIN_RELATIVE_SCALE * typical).astype(np.float32)
    z = (train - mean) / scale
    count, width = z.shape

    shrinkage = float(ledoit_wolf_shrinkage(z, assume_centered=True))
    mean_variance = float(np.square(z, dtype=np.float64).mean())
    kept = max(1, min(width, count - 1, MAX_BASIS_VALUES // width))
    basis, eigenvalues = _leading_directions(z, kept)
    # Shrinkage moves all eigenvalues towards their mean. `remaining`: mean of those not kept.
    remaining = max(mean_variance * width - float(eigenvalues.sum()), 0.0)
    remaining /= max(width - eigenvalues.size, 1)
    variance = (1.0 - shrinkage) * eigenvalues + shrinkage * mean_variance
    rest = (1.0 - shrinkage) * remaining + shrinkage * mean_variance
    smallest = 1e-6 * max(mean_variance, 1e-12)
    gate = Gate(
        mean=mean,
        scale=scale,
        basis=basis.astype(np.float32),
        variance=np.maximum(variance, smallest).astype(np.float32),
        rest=max(rest, smallest),
        caution=0.0,
        refuse=0.0,
    )
    reference = validation_features if len(validation_features) else train
    caution = float(np.quantile(gate.squared_distance(reference), CAUTION_QUANTILE))
    return replace(gate, caution=caution, refuse=REFUSE_FACTOR * caution)


def _leading_directions(
    z: FloatArray, kept: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return at most `kept` leading eigenvectors (D, K) of z'z / N and their eigenvalues (K,)."""
    count, width = z.shape
    if count < width and count <= 4096:
        # zz' (N, N) has the same non-zero eigenvalues as z'z (D, D), and is smaller.
        values, vectors = np.linalg.eigh((z @ z.T).astype(np.float64) / count)
        values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
        nonzero = values > 1e-6 * values[0]  # smaller values are rounding errors
        values = np.maximum(values[nonzero], 1e-12)
        # (D, N) @ (N, K) -> (D, K)
        return z.T @ vectors[:, nonzero] / np.sqrt(values * count), values
    if width <= 4096:
        values, vectors = np.linalg.eigh((z.T @ z).astype(np.float64) / count)
        return vectors[:, ::-1][:, :kept], np.maximum(values[::-1][:kept], 0.0)
    from sklearn.utils.extmath import randomized_svd

    _, singular, directions = randomized_svd(z, n_components=kept, random_state=0)
    return directions.T, singular**2 / count
