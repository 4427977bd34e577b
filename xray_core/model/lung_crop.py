"""The part of an image that a classifier gets: straightened and cropped to the lungs.

The line between the centroids of the two lung fields shows how far an image is tilted. The image is
turned until that line has the slope that it has in most images, and cropped to the lungs with a
margin. A tilted image and the image itself then give nearly the same input.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_core.imaging.adjustment import WHOLE, Box
from xray_core.model.lungs import Mask, lung_fields
from xray_core.model.recipes import Recipe

FloatArray = NDArray[np.float32]

TYPICAL_SLOPE = 2.9
"""Slope of the line between the centroids in degrees, the right end of the image lower: the median
of the training images. Heart and diaphragm make the two lung fields unequal."""
LARGEST_TURN = 20.0
"""Degrees. A larger slope comes from an incomplete mask, or from an image on its side."""
LARGEST_MAP = 4096
"""Pixels of a side up to which a map is interpolated bicubically, beyond it linearly."""


class LungCrop(NamedTuple):
    """A crop to the lungs.

    Attributes
    ----------
    turn : float
        Degrees by which the model input is turned counterclockwise about its centre first.
    box : Box
        The part of the turned model input that is kept.
    """

    turn: float
    box: Box

    def matrix(self, source: tuple[int, int], target: tuple[int, int]) -> NDArray[np.float64]:
        """Return the affine map from pixels of an image to pixels of its crop.

        Parameters
        ----------
        source, target : (int, int)
            Height and width of the image, at any size, and of the crop.

        Returns
        -------
        ndarray of float64, shape (2, 3)
            From (column, row, 1) in the image to (column, row) in the crop; both count from the
            centre of the first pixel.
        """
        box = self.box
        width, height = box.right - box.left, box.bottom - box.top
        to_crop = np.array(
            [[1 / width, 0, -box.left / width], [0, 1 / height, -box.top / height], [0, 0, 1]]
        )
        from_shares = np.linalg.inv(_to_shares(target))
        whole = from_shares @ to_crop @ _turn(self.turn) @ _to_shares(source)
        return np.asarray(whole[:2], np.float64)


UNCROPPED = LungCrop(0.0, WHOLE)
"""The crop of a classifier that gets the whole image."""


def _to_shares(shape: tuple[int, int]) -> NDArray[np.float64]:
    """From pixels (column, row) to shares of width and height."""
    height, width = shape
    return np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1]])


def _turn(degrees: float) -> NDArray[np.float64]:
    """Counterclockwise about the centre, in shares of the sides of a square image."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array(
        [[cos, sin, 0.5 * (1 - cos - sin)], [-sin, cos, 0.5 * (1 + sin - cos)], [0, 0, 1]]
    )


def lung_slope(mask: Mask) -> float:
    """Return the slope of the line between the centroids of the two lung fields.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        As `clean_mask` returns it.

    Returns
    -------
    float
        Degrees in (-90, 90], positive where the field on the right of the image is lower;
        `TYPICAL_SLOPE` without two fields.
    """
    labels, order = lung_fields(mask)
    if len(order) < 2:
        return TYPICAL_SLOPE
    centroids = [np.argwhere(labels == number).mean(axis=0) for number in order]
    (top, left), (bottom, right) = sorted(centroids, key=lambda centroid: float(centroid[1]))
    return float(np.rad2deg(np.arctan2(bottom - top, right - left)))


def lung_crop(mask: Mask, margin: float) -> LungCrop:
    """Return the crop that straightens an image and shows its lungs with a margin.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        As `clean_mask` returns it.
    margin : float
        Width of the margin on each side, as a share of the box around the lungs.

    Returns
    -------
    LungCrop
        The whole image for an empty mask. The box ends at the edges of the turned image.
    """
    if not mask.any():
        return UNCROPPED
    tilt = lung_slope(mask) - TYPICAL_SLOPE
    turn = tilt if abs(tilt) <= LARGEST_TURN else 0.0
    rows, columns = np.nonzero(mask)
    points = np.stack([columns, rows, np.ones_like(rows)])
    x, y, _ = _turn(turn) @ _to_shares(mask.shape) @ points  # centres of the turned pixels
    edges = []
    for centres, side in ((y, mask.shape[0]), (x, mask.shape[1])):
        first, last = centres.min() - 0.5 / side, centres.max() + 0.5 / side
        space = margin * (last - first)
        edges.append((max(0.0, float(first - space)), min(1.0, float(last + space))))
    (top, bottom), (left, right) = edges
    return LungCrop(turn, Box(top, left, bottom, right))


def crop_image(image: FloatArray, crop: LungCrop) -> FloatArray:
    """Crop a model input and enlarge the crop to the size of the model input.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 1)
        A model input, grey levels in [0, 255].
    crop : LungCrop

    Returns
    -------
    ndarray of float32, shape (H, W, 1)
        Whole grey levels in [0, 255], as `imaging.pixels.to_model_input` returns them. The pixels
        at the edge of the image continue into corners that the turn left empty.
    """
    if crop == UNCROPPED:
        return image
    shape = (image.shape[0], image.shape[1])
    moved = cv2.warpAffine(
        np.ascontiguousarray(image[..., 0], dtype=np.float32),
        crop.matrix(shape, shape),
        shape[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.clip(np.rint(moved), 0, 255).astype(np.float32)[..., np.newaxis]


def classifier_crop(mask: Mask, recipe: Recipe) -> LungCrop:
    """Return the part of an image that the classifier of a recipe gets.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        The lungs, as `clean_mask` returns them.
    recipe : Recipe
        Recipe of the classifier. Without a `lung_margin` the classifier gets the whole image.
    """
    return lung_crop(mask, recipe.lung_margin) if recipe.lung_margin > 0 else UNCROPPED


def classifier_input(image: FloatArray, mask: Mask, recipe: Recipe) -> FloatArray:
    """Return the input of the classifier of a recipe. Training and prediction both use it.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W, 1)
        The whole image as model input, grey levels in [0, 255].
    mask : ndarray of bool, shape (H, W)
        Its lungs, as `clean_mask` returns them.
    recipe : Recipe
        Recipe of the classifier.

    Returns
    -------
    ndarray of float32, shape (H, W, 1)
        The image straightened and cropped to the lungs where the recipe has a `lung_margin`, else
        the image itself.
    """
    return crop_image(image, classifier_crop(mask, recipe))


def resize_map(
    coarse: FloatArray, shape: tuple[int, int], crop: LungCrop = UNCROPPED
) -> FloatArray:
    """Return a map of the classifier's input at the size and in the frame of its image.

    The model input does not keep the aspect ratio, so height and width are scaled separately.

    Parameters
    ----------
    coarse : ndarray of float32, shape (h, w)
        The map, in [0, 1].
    shape : (int, int)
        Height and width (H, W) of the whole image.
    crop : LungCrop
        The part of the image that the classifier's input shows; the map is zero outside of it.

    Returns
    -------
    ndarray of float32, shape (H, W)
        In [0, 1], bicubic.
    """
    plane = Image.fromarray(np.ascontiguousarray(coarse, dtype=np.float32))
    if crop == UNCROPPED:
        resized = np.asarray(plane.resize(shape[::-1], Image.Resampling.BICUBIC), np.float32)
        return np.clip(resized, 0.0, 1.0)
    box = crop.box
    height = min(max(1, round((box.bottom - box.top) * shape[0])), LARGEST_MAP)
    width = min(max(1, round((box.right - box.left) * shape[1])), LARGEST_MAP)
    part = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    moved = cv2.warpAffine(
        np.clip(part, 0.0, 1.0),
        crop.matrix(shape, (height, width)),
        shape[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    return np.asarray(moved, np.float32)
