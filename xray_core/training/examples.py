"""The two example images of a bundle: composites that show no single patient.

Each is the pixel average of five similar training images of five patients. The average of a whole
class is too blurred to resemble a radiograph, and the input check refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from xray_core.labels import LABELS
from xray_core.model.calibration import Calibration
from xray_core.model.gate import Gate
from xray_core.model.neighbours import Neighbours
from xray_core.training.data import ImageSet

MEMBERS = 5
TRIALS = 40
NEARLY_EQUAL = 0.995  # correlation of two copies of one image; members must be below it


class NetworkOutputs(Protocol):
    """What a network returns for N images: `features` (N, D) and `logit` (N,)."""

    @property
    def features(self) -> np.ndarray: ...
    @property
    def logit(self) -> np.ndarray: ...


def write_examples(
    folder: Path,
    outputs: Callable[[ImageSet], NetworkOutputs],
    images: ImageSet,
    calibration: Calibration,
    gate: Gate,
    neighbours: Neighbours,
) -> list[Path]:
    """Write `normal.png` and `pneumonia.png` (224 x 224, grey).

    A group qualifies if its average is classified correctly, not as uncertain, and passes the input
    check. Of these, the group with most nearest training images of its class is used; the more
    similar one if equal. A class without such a group gets no example.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write; created if absent.
    outputs : callable
        Runs the network on whole images.
    images : ImageSet
        The training fold, whole images.
    calibration : Calibration
    gate : Gate
    neighbours : Neighbours

    Returns
    -------
    list of pathlib.Path
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for value, label in enumerate(LABELS):
        groups = find_similar_groups(images, value)
        if not groups:
            continue
        means = [images.pixels[group].astype(np.float32).mean(axis=0) for group in groups]
        composites = np.rint(np.stack(means)).astype(np.uint8)  # (trials, 224, 224, 1)
        table = images.table.iloc[[group[0] for group in groups]]
        label_of_all = np.full(len(groups), value, np.float32)
        result = outputs(ImageSet(table, composites, label_of_all))
        best: tuple[int, np.ndarray] | None = None
        for image, distance, z, nearest in zip(
            composites,
            gate.squared_distance(result.features),
            result.logit,
            neighbours.nearest(result.features),
            strict=True,
        ):
            correct = calibration.verdict(float(calibration.probability(z))) == label
            if not correct or gate.outcome(distance) != "passed":
                continue
            agreeing = len(nearest.positions) - nearest.normal if value else nearest.normal
            if best is None or agreeing > best[0]:
                best = (agreeing, image)
        if best is not None:
            path = folder / f"{label.lower()}.png"
            Image.fromarray(best[1][..., 0]).save(path, optimize=True)
            written.append(path)
    return written


def find_similar_groups(images: ImageSet, value: int, *, trials: int = TRIALS) -> list[np.ndarray]:
    """Find groups of five similar images of five patients, the most similar first.

    Similarity is the correlation of the images at 32 x 32 pixels. A group contains no two copies of
    one image.

    Parameters
    ----------
    images : ImageSet
        The images.
    value : int
        The label: 0 normal, 1 pneumonia.
    trials : int
        Largest number of groups.

    Returns
    -------
    list of numpy.ndarray
        Five positions in `images` each.
    """
    rows = np.flatnonzero(images.label == value)
    patient = pd.factorize(images.table["patient"].to_numpy()[rows])[0]
    if len(np.unique(patient)) < MEMBERS:
        return []
    small = np.stack(
        [
            cv2.resize(image[..., 0], (32, 32), interpolation=cv2.INTER_AREA).reshape(-1)
            for image in images.pixels[rows]
        ]
    ).astype(np.float32)
    small -= small.mean(axis=1, keepdims=True)
    small /= np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)
    groups: list[tuple[float, np.ndarray]] = []
    for start in range(len(rows)):
        similarity = small @ small[start]  # (N,) correlation with the first image of the group
        members = [start]
        for candidate in np.argsort(-similarity, kind="stable")[:60]:
            if patient[candidate] in patient[members]:
                continue
            if float((small[members] @ small[candidate]).max()) < NEARLY_EQUAL:
                members.append(int(candidate))
            if len(members) == MEMBERS:
                mutual = small[members] @ small[members].T
                groups.append((float(mutual.min()), rows[members]))
                break
    groups.sort(key=lambda group: -group[0])
    return [members for _, members in groups[:trials]]
