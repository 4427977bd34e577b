"""The training images most like an image: evidence by example, seen through the network's features."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import BundleError
from xray_core.labels import SUBTYPES
from xray_core.model.bundle_checks import read_arrays, stays_inside

KINDS = ("normal", "bacterial", "viral", "pneumonia")
"""What a training image is; "pneumonia" where the subtype is not known."""

DIMENSIONS = 64
BASIS_NUMBERS = 2**19
"""Bound on the PCA basis, of any width of features, so that a file stays under 3 MB."""


LARGEST_FILE = 256_000_000
"""Bytes of the arrays in a file, unpacked: of some 250,000 training images."""


@dataclass(frozen=True)
class NearestImages:
    """How many of the nearest training images were what, nearest first where images are listed.

    `positions` are rows of the features that were fitted; `paths` are those images' paths within
    the dataset's folder, () where none were stored.
    """

    normal: int
    bacterial: int
    viral: int
    pneumonia: int
    positions: tuple[int, ...]
    paths: tuple[str, ...]

    @property
    def vote(self) -> str:
        """The majority's class, "NORMAL" or "PNEUMONIA"; a tie votes for pneumonia."""
        return "NORMAL" if 2 * self.normal > len(self.positions) else "PNEUMONIA"

    def sentence(self) -> str:
        """Return the counts as a sentence for the page."""
        parts = [
            f"{self.normal} normal",
            f"{self.bacterial} bacterial pneumonia",
            f"{self.viral} viral pneumonia",
        ]
        if self.pneumonia:
            parts.append(f"{self.pneumonia} pneumonia of unknown kind")
        return (
            f"Of the {len(self.positions)} most similar training images: {', '.join(parts)}. "
            "Similarity uses the same network, so it is not independent evidence."
        )


@dataclass(frozen=True)
class Neighbours:
    """Training images as points in the leading principal components of the network's features.

    `mean` and `scale` (D,) standardise, `basis` (D, K) projects, `points` (N, K) are the images;
    `kinds` (N,) uint8 are positions in KINDS; `paths` (N,) or (0,).
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    basis: NDArray[np.float16]
    points: NDArray[np.float16]
    kinds: NDArray[np.uint8]
    paths: NDArray[np.str_]

    def nearest(self, features: NDArray[np.floating], k: int = 20) -> list[NearestImages]:
        """Return, for each row of `features` (N, D), what its `k` nearest training images were.

        With fewer than `k` images in training all of them count. Equal distances keep the order
        of training.
        """
        x = np.asarray(features, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.mean.size:
            raise ValueError(f"Expected features (N, {self.mean.size}). Received: {x.shape}")
        points = self.points.astype(np.float32)
        scores = _project(x, self.mean, self.scale, self.basis)
        squared = (
            np.square(scores).sum(axis=1)[:, None]
            - 2.0 * scores @ points.T
            + np.square(points).sum(axis=1)[None, :]
        )  # (N, images)
        order = np.argsort(squared, axis=1, kind="stable")[:, :k]
        return [self._images(row) for row in order]

    def _images(self, rows: NDArray[np.intp]) -> NearestImages:
        counts = np.bincount(self.kinds[rows], minlength=len(KINDS))
        return NearestImages(
            **{kind: int(count) for kind, count in zip(KINDS, counts, strict=True)},
            positions=tuple(int(row) for row in rows),
            paths=tuple(str(path) for path in self.paths[rows]) if self.paths.size else (),
        )

    def save(self, path: str | Path) -> None:
        """Write the images' points to `path` (.npz), compressed."""
        np.savez_compressed(
            path, **{field.name: getattr(self, field.name) for field in fields(self)}
        )

    @classmethod
    def load(cls, path: str | Path) -> "Neighbours":
        """Read what `save` wrote; raises BundleError where `path` holds something else."""
        try:
            images = cls(**read_arrays(path, [field.name for field in fields(cls)], LARGEST_FILE))
            count, kept = images.points.shape
            if not (
                images.mean.ndim == 1
                and images.scale.shape == images.mean.shape
                and images.basis.shape == (images.mean.size, kept)
                and images.kinds.shape == (count,)
                and images.kinds.dtype == np.uint8
                and images.kinds.max() < len(KINDS)
                and (images.scale > 0).all()
                and images.paths.shape in ((count,), (0,))
                and images.paths.dtype.kind == "U"
                and all(stays_inside(str(image)) for image in images.paths)
            ):
                raise ValueError("The arrays do not fit one another.")
        except (OSError, ValueError, TypeError) as error:
            raise BundleError(
                f"{Path(path).name} holds no training images that this version can read: train the "
                "model again, or rebuild it with `python -m xray_core finish`."
            ) from error
        return images


def vote_report(
    nearest: Sequence[NearestImages], labels: Sequence[str], verdicts: Sequence[str]
) -> dict[str, int]:
    """Count how often the nearest images contradict the network, and who is right then.

    Args:
        nearest: N times the nearest training images of an image that is not among them.
        labels: N times "NORMAL" or "PNEUMONIA".
        verdicts: N verdicts; images that are uncertain, refused or unreadable do not count.

    Returns:
        For `config["neighbours_report"]`: the numbers of `images` with a verdict, of those
        `contradicted` by their nearest images, and on how many the network was right:
        `network_right` where contradicted (the vote was right on the others), `agreed_right`
        elsewhere.
    """
    report = dict.fromkeys(("images", "contradicted", "network_right", "agreed_right"), 0)
    for images, label, verdict in zip(nearest, labels, verdicts, strict=True):
        if verdict not in ("NORMAL", "PNEUMONIA"):
            continue
        contradicted = images.vote != verdict
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
    """Reduce the training images' `features` (N, D) by PCA and keep them with what they were.

    `labels` are "NORMAL" or "PNEUMONIA", `subtypes` "bacteria", "virus" or "none". The basis and
    the points are rounded to float16, which moves no image among its neighbours noticeably.
    """
    from sklearn.utils.extmath import randomized_svd

    x = np.asarray(features, dtype=np.float32)
    count, width = x.shape
    if not len(labels) == len(subtypes) == count:
        raise ValueError(
            f"Expected one label and subtype an image. Received: {count} images, {len(labels)} "
            f"labels, {len(subtypes)} subtypes"
        )
    mean = x.mean(axis=0)
    spread = x.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0).astype(np.float32)
    kept = max(1, min(DIMENSIONS, count - 1, width, BASIS_NUMBERS // width))
    _, _, directions = randomized_svd((x - mean) / scale, n_components=kept, random_state=0)
    basis = directions.T.astype(np.float16)
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
    return ((x - mean) / scale) @ basis.astype(np.float32)  # (N, D) -> (N, K)


def _kind(label: str, subtype: str) -> int:
    if label == "NORMAL":
        return KINDS.index("normal")
    return KINDS.index(SUBTYPES.get(subtype, "pneumonia"))
