"""Lung masks: cleaning, measurements, plausibility.

A mask comes from the segmentation network (recipe `lungs`). It shows where the lungs are, whether
the image can be a frontal chest X-ray, what part of it the classifier gets (`lung_crop`), and how
much of a heat map lies inside the lungs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_core.model.engine import Forward

FloatArray = NDArray[np.float32]
Mask = NDArray[np.bool_]

MASK_THRESHOLD = 0.5
SMALLEST_FIELD = 0.01
"""Smallest area of a lung field, as a share of the image; smaller components are removed."""


SLACK = 0.1
"""Share by which a limit of the lung fields lies beyond the fitted quantile."""
LIMITED_SIDES = {
    "area": ("low", "high"),
    "smaller": ("low",),
    "ratio": ("low",),
    "distance": ("low", "high"),
    "offset": ("high",),
    "cut": ("high",),
    "height": ("low",),
    "width": ("low",),
}
"""The sides on which a measurement can show that an image is no frontal chest X-ray."""


class LungFields(NamedTuple):
    """Measurements of a cleaned mask. All values are shares; lengths refer to the image's sides.

    Attributes
    ----------
    larger, smaller : float
        Areas of the two lung fields; `smaller` is 0 if there is only one field.
    distance : float
        Horizontal distance of the centroids of the two fields.
    offset : float
        Vertical distance of the centroids.
    cut : float
        Share of the outlines of the fields that lies on the edges of the image.
    height, width : float
        Size of the box around both fields.
    """

    larger: float
    smaller: float
    distance: float
    offset: float
    cut: float
    height: float
    width: float


def clean_mask(probability: NDArray[Any]) -> Mask:
    """Turn the output of the segmentation network into a mask of at most two lung fields.

    Parameters
    ----------
    probability : ndarray, shape (H, W)
        Probability that a pixel belongs to a lung, in [0, 1].

    Returns
    -------
    ndarray of bool, shape (H, W)
        The two largest connected components of the pixels above 50%, without components smaller
        than 1% of the image.
    """
    labels, order = lung_fields(np.asarray(probability) > MASK_THRESHOLD)
    return np.isin(labels, order)


def lung_fields(mask: NDArray[Any]) -> tuple[NDArray[Any], list[int]]:
    """Label the connected components, and list the (at most two) largest, largest first.

    Returns
    -------
    labels : ndarray of int32, shape (H, W)
    order : list of int
        Labels of the components that are at least 1% of the image.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    areas = stats[1:count, cv2.CC_STAT_AREA]
    order = [int(n) + 1 for n in np.argsort(-areas, kind="stable")[:2]]
    return np.asarray(labels, np.int32), [
        n for n in order if areas[n - 1] >= SMALLEST_FIELD * mask.size
    ]


def measure_fields(mask: Mask) -> LungFields:
    """Measure the lung fields of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        As `clean_mask` returns it.

    Returns
    -------
    LungFields
        All zero for an empty mask.
    """
    labels, order = lung_fields(mask)
    if not order:
        return LungFields(*[0.0] * 7)
    height, width = mask.shape
    parts = [labels == number for number in order]
    areas = [float(part.mean()) for part in parts]
    centres = [np.argwhere(part).mean(axis=0) / (height, width) for part in parts]
    both = np.isin(labels, order)
    rows, columns = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    padded = np.pad(both, 1).astype(np.uint8)
    outline = padded[1:-1, 1:-1] - cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    edge = np.ones(mask.shape, bool)
    edge[1:-1, 1:-1] = False
    return LungFields(
        larger=areas[0],
        smaller=areas[1] if len(areas) > 1 else 0.0,
        distance=float(abs(centres[0][1] - centres[-1][1])),
        offset=float(abs(centres[0][0] - centres[-1][0])),
        cut=float((edge & both).sum() / max(1, outline.sum())),
        height=float((rows[-1] - rows[0] + 1) / height),
        width=float((columns[-1] - columns[0] + 1) / width),
    )


def overlap(mask: Mask, reference: Mask) -> tuple[float, float]:
    """Return the Dice coefficient and the intersection over union of two masks.

    Parameters
    ----------
    mask, reference : ndarray of bool, same shape

    Returns
    -------
    dice, iou : float
        In [0, 1]; both 1 if both masks are empty.
    """
    both, total = int((mask & reference).sum()), int(mask.sum()) + int(reference.sum())
    if total == 0:
        return 1.0, 1.0
    return 2 * both / total, both / (total - both)


@dataclass(frozen=True)
class LungLimits:
    """Limits between which the lung fields of a frontal chest X-ray lie.

    Attributes
    ----------
    area, smaller, ratio, distance, offset, cut, height, width : (float, float)
        Smallest and largest value of the area of both fields, the area of the smaller field, its
        ratio to the larger one, and the measurements of the same name in `LungFields`.
    """

    area: tuple[float, float]
    smaller: tuple[float, float]
    ratio: tuple[float, float]
    distance: tuple[float, float]
    offset: tuple[float, float]
    cut: tuple[float, float]
    height: tuple[float, float]
    width: tuple[float, float]

    def are_plausible(self, lungs: LungFields) -> bool:
        """Tell whether two lung fields were found, of plausible size and place."""
        return all(
            low <= _value(lungs, name) <= high
            for name, (low, high) in ((one.name, getattr(self, one.name)) for one in fields(self))
        )

    @classmethod
    def fit(cls, lungs: Sequence[LungFields], quantile: float = 0.0005) -> LungLimits:
        """Fit the limits to the lung fields of frontal chest X-rays.

        Parameters
        ----------
        lungs : sequence of LungFields
            Measurements of predicted masks.
        quantile : float
            Share of the images beyond each limit of `LIMITED_SIDES`, in [0, 0.5). The other limits
            are 0 and 1.

        Returns
        -------
        LungLimits
            The quantiles, moved outwards by `SLACK` of their value.
        """
        limits = {}
        for one in fields(cls):
            values = [_value(image, one.name) for image in lungs]
            sides = LIMITED_SIDES[one.name]
            low, high = 0.0, 1.0
            if "low" in sides:
                low = (1 - SLACK) * float(np.quantile(values, quantile))
            if "high" in sides:
                high = min(1.0, (1 + SLACK) * float(np.quantile(values, 1 - quantile)))
            limits[one.name] = (low, high)
        return cls(**limits)

    def to_dict(self) -> dict[str, Any]:
        """Return the limits as plain data for `config.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LungLimits:
        """Read what `to_dict` returned.

        Raises
        ------
        ValueError
            A limit is missing, unknown, not a pair of numbers, or in the wrong order.
        """
        names = {one.name for one in fields(cls)}
        pairs = {
            name: tuple(value) for name, value in data.items() if isinstance(value, (list, tuple))
        }
        if (
            set(data) != names
            or not all(
                len(pair) == 2 and all(type(n) in (int, float) for n in pair) and pair[0] <= pair[1]
                for pair in pairs.values()
            )
            or len(pairs) != len(names)
        ):
            raise ValueError("its limits of the lung fields are not pairs of numbers")
        return cls(**pairs)


def _value(lungs: LungFields, name: str) -> float:
    if name == "area":
        return lungs.larger + lungs.smaller
    if name == "ratio":
        return lungs.smaller / lungs.larger if lungs.larger else 0.0
    return float(getattr(lungs, name))


def resize_mask(mask: Mask, shape: tuple[int, int]) -> Mask:
    """Return a mask (h, w) at the size of its image, bool (H, W); its outline is interpolated.

    The model input does not keep the aspect ratio, so height and width are scaled separately.
    """
    plane = Image.fromarray(mask.astype(np.uint8) * 255)
    resized = plane.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized) > 127


class LungSegmenter:
    """Finds the lungs in model inputs; safe to use from several threads at once.

    Parameters
    ----------
    forward : callable
        A network of the kind "segmentation", as `xray_core.model.engine` runs it: images
        (N, H, W, 1) -> probability of lung [(N, H, W, 1)].
    limits : LungLimits
        Limits of the lung fields of a frontal chest X-ray.
    """

    def __init__(self, forward: Forward, limits: LungLimits) -> None:
        self.limits = limits
        self._forward = forward

    def masks(self, images: FloatArray) -> list[Mask]:
        """Return the cleaned masks of N images.

        Parameters
        ----------
        images : ndarray of float32, shape (N, H, W, 1)
            Model inputs, grey levels in [0, 255].

        Returns
        -------
        list of ndarray of bool, shape (H, W)
            As `clean_mask` returns them.
        """
        (probability,) = self._forward(images)
        return [clean_mask(one) for one in probability[..., 0]]

    def has_plausible_lungs(self, mask: Mask) -> bool:
        """Tell whether a mask has two lung fields of plausible size and place."""
        return self.limits.are_plausible(measure_fields(mask))
