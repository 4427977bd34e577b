"""Detect images unlike the training images, from the network's features.

The measure is the squared Mahalanobis distance to the training images, with a covariance shrunk
after Ledoit and Wolf (J. Multivariate Analysis 88, 2004), as Lee et al. (NeurIPS 2018) detect
inputs unlike training. The pixel checks that precede it are in `xray_core.imaging.checks`.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import BundleError
from xray_core.model.bundle_checks import read_arrays

Outcome = Literal["passed", "caution", "refused"]
FloatArray = NDArray[np.float32]

CAUTION_QUANTILE = 0.99
REFUSE_FACTOR = 2.0
BASIS_FLOATS = 2**20
"""Numbers kept of the covariance's eigenvectors (4 MB): all of them up to 1024 features."""

LARGEST_FILE = 64_000_000
"""Bytes of a gate's arrays; 8 MB with the most features that a recipe has."""


@dataclass(frozen=True)
class Gate:
    """Squared Mahalanobis distance to the training images, with two thresholds on it.

    Features are standardised with `mean` and `scale` (D,). The covariance of the standardised
    features is kept as its leading eigenvectors `basis` (D, K) with their `variance` (K,); in all
    other directions it is `rest`. With K = D, or where there were no more images than K, this is
    Ledoit and Wolf's estimate itself; with fewer, what lies outside the basis still counts.
    """

    mean: FloatArray
    scale: FloatArray
    basis: FloatArray
    variance: FloatArray
    rest: float
    caution: float
    refuse: float

    def squared_distance(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (N,) squared distances of `features` (N, D), divided by D: near 1 for an image.

        Raises ValueError where D is not the gate's own.
        """
        x = np.asarray(features, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.mean.size:
            raise ValueError(f"Expected features (N, {self.mean.size}). Received: {x.shape}")
        z = (x - self.mean) / self.scale
        scores = z @ self.basis  # (N, D) -> (N, K)
        inside = np.sum(np.square(scores, dtype=np.float64) / self.variance, axis=1)
        outside = np.sum(np.square(z, dtype=np.float64), axis=1)
        outside -= np.sum(np.square(scores, dtype=np.float64), axis=1)
        return (inside + np.maximum(outside, 0.0) / self.rest) / self.mean.size

    def outcome(self, squared_distance: float) -> Outcome:
        """Return "passed", "caution" (above the first threshold) or "refused" (above the second).

        What is not a finite number is refused.
        """
        if not squared_distance <= self.refuse:
            return "refused"
        return "caution" if squared_distance > self.caution else "passed"

    def save(self, path: str | Path) -> None:
        """Write the gate to `path` (.npz)."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> "Gate":
        """Read a gate from `path`; raises BundleError where that is not one."""
        try:
            values = read_arrays(path, [field.name for field in fields(cls)], LARGEST_FILE)
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
                raise ValueError("The arrays do not fit one another.")
        except (OSError, ValueError, TypeError) as error:
            raise BundleError(
                f"{Path(path).name} is no gate that this version can read: train the model again, "
                "or rebuild it with `python -m xray_core finish`."
            ) from error
        return cls(mean, scale, basis, variance, rest, caution, refuse)


def fit_gate(
    train_features: NDArray[np.floating],
    train_labels: NDArray | None,
    validation_features: NDArray[np.floating],
) -> Gate:
    """Fit the gate on `train_features` (N, D), its thresholds on `validation_features` (M, D).

    Caution begins at the 99% quantile of validation's squared distances, refusal at twice that.
    Raises ValueError with fewer than two images.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    train = np.asarray(train_features, dtype=np.float32)
    if train.ndim != 2 or len(train) < 2:
        raise ValueError(f"A gate needs at least two images' features. Received: {train.shape}")
    if not (np.isfinite(train).all() and np.isfinite(validation_features).all()):
        raise ValueError("The network gave a feature that is not finite.")
    mean = train.mean(axis=0)
    spread = train.std(axis=0)
    # A unit that hardly ever fires on training images may fire on a photograph: let it count, but
    # not without bound.
    typical = float(np.median(spread[spread > 0])) if np.any(spread > 0) else 1.0
    scale = np.maximum(spread, 0.05 * typical).astype(np.float32)
    z = (train - mean) / scale
    count, width = z.shape

    shrinkage = float(ledoit_wolf_shrinkage(z, assume_centered=True))
    average = float(np.square(z, dtype=np.float64).mean())
    kept = max(1, min(width, count - 1, BASIS_FLOATS // width))
    basis, spectrum = _leading_directions(z, kept)
    variance = (1.0 - shrinkage) * spectrum + shrinkage * average
    others = max(width - spectrum.size, 1)
    left = max(average * width - float(spectrum.sum()), 0.0) / others
    rest = (1.0 - shrinkage) * left + shrinkage * average
    tiny = 1e-6 * max(average, 1e-12)
    gate = Gate(
        mean=mean,
        scale=scale,
        basis=basis.astype(np.float32),
        variance=np.maximum(variance, tiny).astype(np.float32),
        rest=max(rest, tiny),
        caution=0.0,
        refuse=0.0,
    )
    known = validation_features if len(validation_features) else train
    caution = float(np.quantile(gate.squared_distance(known), CAUTION_QUANTILE))
    return replace(gate, caution=caution, refuse=REFUSE_FACTOR * caution)


def _leading_directions(
    z: FloatArray, kept: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return at most `kept` leading eigenvectors (D, K) of z'z / N and their eigenvalues (K,)."""
    count, width = z.shape
    if count < width and count <= 4096:
        # The same eigenvalues from the smaller of the two products.
        values, vectors = np.linalg.eigh((z @ z.T).astype(np.float64) / count)
        values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
        real = values > 1e-6 * values[0]  # below is rounding, with no direction of its own
        values = np.maximum(values[real], 1e-12)
        return z.T @ vectors[:, real] / np.sqrt(values * count), values
    if width <= 4096:
        values, vectors = np.linalg.eigh((z.T @ z).astype(np.float64) / count)
        return vectors[:, ::-1][:, :kept], np.maximum(values[::-1][:kept], 0.0)
    from sklearn.utils.extmath import randomized_svd

    _, singular, found = randomized_svd(z, n_components=kept, random_state=0)
    return found.T, singular**2 / count
