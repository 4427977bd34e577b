"""Nearest training images of an image, by distance between features of the network."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import BundleError
from xray_core.labels import SUBTYPES
from xray_core.model.bundle_checks import is_relative_path, read_arrays
from xray_core.model.engine import product

KINDS = ("normal", "bacterial", "viral", "pneumonia")
"""Label of a training image with its subtype; "pneumonia" if the subtype is unknown."""

COMPONENTS = 64  # maximum number of principal components
MAX_BASIS_VALUES = 2**19  # of the PCA basis for any number of features: a file stays under 3 MB
MAX_BYTES = 256_000_000  # of the unpacked arrays of a file, enough for 250,000 training images


@dataclass(frozen=True)
class NearestImages:
    """The nearest training images of one image, counted by kind.

    Attributes
    ----------
    normal, bacterial, viral, pneumonia : int
        Number of nearest images of each kind; see `KINDS`.
    positions : tuple of int
        Their rows in the features passed to `fit_neighbours`, nearest first.
    paths : tuple of str
        Their paths in the folder of the dataset, nearest first; empty if none were stored.
    """

    normal: int
    bacterial: int
    viral: int
    pneumonia: int
    positions: tuple[int, ...]
    paths: tuple[str, ...]

    @property
    def vote(self) -> str:
        """Label of the majority, "NORMAL" or "PNEUMONIA"; "PNEUMONIA" for a tie."""
        return "NORMAL" if 2 * self.normal > len(self.positions) else "PNEUMONIA"


@dataclass(frozen=True)
class Neighbours:
    """Training images as points in the leading principal components of the network's features.

    Attributes
    ----------
    mean, scale : ndarray of float32, shape (D,)
        Mean and standard deviation of the D features.
    basis : ndarray of float16, shape (D, K)
        The first K principal components of the standardised features.
    points : ndarray of float16, shape (N, K)
        The N training images.
    kinds : ndarray of uint8, shape (N,)
        Index in `KINDS` of each training image.
    paths : ndarray of str, shape (N,) or (0,)
        Path of each training image in the folder of the dataset.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    basis: NDArray[np.float16]
    points: NDArray[np.float16]
    kinds: NDArray[np.uint8]
    paths: NDArray[np.str_]

    def nearest(self, features: NDArray[np.floating], k: int = 20) -> list[NearestImages]:
        """Find the nearest training images of each image.

        Parameters
        ----------
        features : ndarray, shape (M, D)
            Features of M images.
        k : int
            Number of nearest images. All are returned if there are fewer than `k`.

        Returns
        -------
        list of NearestImages
            One per image. Images with equal distances keep the order of the training images.

        Raises
        ------
        ValueError
            The number of features is not D.
        """
        x = np.asarray(features, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.mean.size:
            raise ValueError(f"Expected features (N, {self.mean.size}). Received: {x.shape}")
        points = self.points.astype(np.float32)
        projected = _project(x, self.mean, self.scale, self.basis)  # (M, D) -> (M, K)
        squared_distance = (
            np.square(projected).sum(axis=1)[:, None]
            - 2.0 * product(projected, points.T)
            + np.square(points).sum(axis=1)[None, :]
        )  # (M, N)
        order = np.argsort(squared_distance, axis=1, kind="stable")[:, :k]  # (M, k)
        return [self._count(rows) for rows in order]

    def _count(self, rows: NDArray[np.intp]) -> NearestImages:
        counts = np.bincount(self.kinds[rows], minlength=len(KINDS))
        return NearestImages(
            **{kind: int(count) for kind, count in zip(KINDS, counts, strict=True)},
            positions=tuple(int(row) for row in rows),
            paths=tuple(str(path) for path in self.paths[rows]) if self.paths.size else (),
        )

    def save(self, path: str | Path) -> None:
        """Write the arrays to `path`, a compressed .npz file."""
        np.savez_compressed(
            path, **{field.name: getattr(self, field.name) for field in fields(self)}
        )

    @classmethod
    def load(cls, path: str | Path) -> "Neighbours":
        """Read a file that `save` wrote.

        Raises
        ------
        BundleError
            The file holds something else.
        """
        try:
            arrays = read_arrays(path, [field.name for field in fields(cls)], MAX_BYTES)
            neighbours = cls(**arrays)
            count, components = neighbours.points.shape
            if not (
                neighbours.mean.ndim == 1
                and neighbours.scale.shape == neighbours.mean.shape
                and neighbours.basis.shape == (neighbours.mean.size, components)
                and neighbours.kinds.shape == (count,)
                and neighbours.kinds.dtype == np.uint8
                and neighbours.kinds.max() < len(KINDS)
                and (neighbours.scale > 0).all()
                and neighbours.paths.shape in ((count,), (0,))
                and neighbours.paths.dtype.kind == "U"
                and all(is_relative_path(str(path)) for path in neighbours.paths)
            ):
                raise ValueError("The shapes or values of the arrays are inconsistent.")
        except (OSError, ValueError, TypeError) as error:
            raise BundleError(
                f"{Path(path).name} does not hold training images that this version can read: "
                "rebuild it with `python -m xray_core finish`, or train the model again."
            ) from error
        return neighbours


def count_contradictions(
    nearest: Sequence[NearestImages], labels: Sequence[str], verdicts: Sequence[str]
) -> dict[str, int]:
    """Count how often the nearest images contradict the network, and which of the two is right.

    Parameters
    ----------
    nearest : sequence of NearestImages, length N
        Nearest training images of images outside the training set.
    labels : sequence of str, length N
        Reference labels, "NORMAL" or "PNEUMONIA".
    verdicts : sequence of str, length N
        Verdicts of the network. Other verdicts than "NORMAL" and "PNEUMONIA" do not count.

    Returns
    -------
    dict of str to int
        The entry `neighbours_report` of a bundle's `config.json`. `images`: images with one of
        the two verdicts; `contradicted`: those whose nearest images have the other label;
        `network_right`: contradicted images with a correct verdict (for the others the nearest
        images are right); `agreed_right`: other images with a correct verdict.
    """
    report = dict.fromkeys(("images", "contradicted", "network_right", "agreed_right"), 0)
    for neighbours, label, verdict in zip(nearest, labels, verdicts, strict=True):
        if verdict not in ("NORMAL", "PNEUMONIA"):
            continue
        contradicted = neighbours.vote != verdict
        report["images"] += 1
        report["contradicted"] += contradicted
        report["network_right" if contradicted else "agreed_right"] += verdict == label
    return report


def fit_neighbours(
    features: NDArray[np.floating],
    labels: Sequence[str],
    subtypes: Sequence[str],
    paths: Sequence[str] | None = None,
) -> Neighbours:
    """Reduce the features of the training images by principal component analysis.

    The basis and the points are rounded to float16, which has no noticeable effect on the order
    of the nearest images.

    Parameters
    ----------
    features : ndarray, shape (N, D)
        Features of the training images.
    labels : sequence of str, length N
        "NORMAL" or "PNEUMONIA".
    subtypes : sequence of str, length N
        "bacteria", "virus" or "none".
    paths : sequence of str, length N, optional
        Paths of the images in the folder of the dataset.

    Returns
    -------
    Neighbours
        The training images, for `Neighbours.nearest`.

    Raises
    ------
    ValueError
        There is not one label and subtype for each image.
    """
    from sklearn.utils.extmath import randomized_svd

    x = np.asarray(features, dtype=np.float32)
    count, width = x.shape
    if not len(labels) == len(subtypes) == count:
        raise ValueError(
            f"Expected one label and subtype per image. Received: {count} images, {len(labels)} "
            f"labels, {len(subtypes)} subtypes"
        )
    mean = x.mean(axis=0)
    spread = x.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0).astype(np.float32)
    components = max(1, min(COMPONENTS, count - 1, width, MAX_BASIS_VALUES // width))
    _, _, directions = randomized_svd((x - mean) / scale, n_components=components, random_state=0)
    basis = directions.T.astype(np.float16)  # (K, D) -> (D, K)
    return Neighbours(
        mean=mean,
        scale=scale,
        basis=basis,
        points=_project(x, mean, scale, basis).astype(np.float16),
        kinds=np.array(
            [_kind(label, subtype) for label, subtype in zip(labels, subtypes, strict=True)],
            dtype=np.uint8,
        ),
        paths=np.array(paths if paths is not None else [], dtype=np.str_),
    )


def _project(
    x: NDArray[np.float32],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    basis: NDArray[np.float16],
) -> NDArray[np.float32]:
    return product((x - mean) / scale, basis.astype(np.float32))  # (N, D) -> (N, K)


def _kind(label: str, subtype: str) -> int:
    if label == "NORMAL":
        return KINDS.index("normal")
    return KINDS.index(SUBTYPES.get(subtype, "pneumonia"))
