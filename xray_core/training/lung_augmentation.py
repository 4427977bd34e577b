"""Augmentation that needs lung masks: the crop to the lungs, and parts of images replaced.

An image whose lungs were replaced shows nothing that a diagnosis could rest on, so its target is
0.5 for both classes. An image whose surroundings were replaced keeps its label. Both teach a
network that the evidence lies in the lungs.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from xray_core.imaging.adjustment import WHOLE
from xray_core.model.lung_crop import LungCrop, classifier_crop, crop_image
from xray_core.model.recipes import Recipe
from xray_core.training.augmentation import (
    Generator,
    Pixels,
    change_grey_levels,
    draw_transform,
    transform,
)

NO_OPINION = 0.5  # target of an image whose lungs were replaced
LARGEST_DILATION = (
    14  # of a mask before the lungs are replaced, pixels: its outline tells the class
)
BOX_SHARE = 0.15  # of the images whose lungs are replaced: the whole box around them is replaced
TOLERANCE = 4  # pixels around the lungs in which the evidence counts as inside


class Sample(NamedTuple):
    """One augmented image.

    Attributes
    ----------
    pixels : numpy.ndarray
        float32 (H, W), grey levels in [0, 255].
    lungs : numpy.ndarray
        float32 (h, w), the share of each cell of the map that the lungs cover.
    target : float
        The label, or `NO_OPINION`.
    has_lungs : bool
        Whether `lungs` shows where the evidence should be.
    """

    pixels: Pixels
    lungs: Pixels
    target: float
    has_lungs: bool


def augment_lungs(
    pixels: Pixels,
    mask: Pixels,
    label: float,
    other: Pixels,
    recipe: Recipe,
    grid: tuple[int, int],
    rng: Generator,
) -> Sample:
    """Augment an image whose lungs are known.

    Parameters
    ----------
    pixels : numpy.ndarray
        The whole image as model input, float32 (H, W), grey levels in [0, 255].
    mask : numpy.ndarray
        bool (H, W), its lungs.
    label : float
        1 for pneumonia.
    other : numpy.ndarray
        Another training image, float32 (H, W): a source of replacements.
    recipe : Recipe
        Augmentation and margin of the crop.
    grid : (int, int)
        Height and width of the network's map.
    rng : numpy.random.Generator

    Returns
    -------
    Sample
    """
    how = recipe.augmentation
    crop = classifier_crop(mask, recipe)
    box = crop.box
    if crop.turn:
        straightened = LungCrop(crop.turn, WHOLE)
        pixels = crop_image(pixels[..., None], straightened)[..., 0]
        mask = crop_image(mask[..., None].astype(np.float32), straightened)[..., 0] > 0.5
    chance = rng.random()
    hidden = chance < how.hide_lungs and mask.any()
    if hidden:
        if rng.random() < BOX_SHARE:
            area = np.zeros(mask.shape, np.float32)
            (top, bottom), (left, right) = (
                (int(low * side), int(high * side))
                for low, high, side in zip(box[:2], box[2:], mask.shape, strict=True)
            )
            area[top:bottom, left:right] = 1.0
        else:
            area = _soft_area(mask, LARGEST_DILATION, rng)
        pixels = area * _replacement(pixels, other, rng) + (1 - area) * pixels
    elif chance < how.hide_lungs + how.replace_outside and mask.any():
        area = _soft_area(mask, LARGEST_DILATION, rng)
        pixels = area * pixels + (1 - area) * _replacement(pixels, other, rng)
    matrix, fill = draw_transform(pixels.shape, how, rng, box=box)
    moved = transform(mask.astype(np.float32), matrix, 0.0)
    image = change_grey_levels(transform(pixels.astype(np.float32), matrix, fill), how, rng)
    side = 2 * TOLERANCE + 1
    lungs = cv2.resize(
        cv2.dilate(moved, np.ones((side, side), np.uint8)), grid[::-1], interpolation=cv2.INTER_AREA
    )
    return Sample(
        image, lungs, NO_OPINION if hidden else label, bool(not hidden and lungs.sum() >= 1)
    )


def _soft_area(mask: Pixels, largest: int, rng: Generator) -> Pixels:
    """The mask, dilated and softened at random: float32 (H, W) in [0, 1]."""
    side = 2 * int(rng.integers(0, largest + 1)) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    area = cv2.dilate(mask.astype(np.uint8), disk).astype(np.float32)
    sigma = rng.uniform(0, 5)
    return cv2.GaussianBlur(area, (0, 0), sigma) if sigma > 0.5 else area


def _replacement(pixels: Pixels, other: Pixels, rng: Generator) -> Pixels:
    """What replaces a part: the image blurred, a grey level, clouds, or another image."""
    kind = rng.integers(5)
    if kind == 0:
        return cv2.GaussianBlur(pixels, (0, 0), rng.uniform(6, 40))
    if kind == 1:
        grey = pixels.mean() if rng.random() < 0.5 else rng.uniform(0, 255)
        return np.full_like(pixels, grey)
    if kind == 2:
        coarse = rng.standard_normal([int(rng.integers(2, 40))] * 2).astype(np.float32)
        clouds = cv2.resize(coarse, pixels.shape[::-1], interpolation=cv2.INTER_CUBIC)
        return np.clip(pixels.mean() + clouds * rng.uniform(10, 50), 0, 255).astype(np.float32)
    if kind == 3:
        other = cv2.GaussianBlur(other, (0, 0), rng.uniform(2, 20))
    flips = rng.random(2) < 0.5
    return other[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
