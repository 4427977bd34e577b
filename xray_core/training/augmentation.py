"""Augmentation for training, and simulated shifts for validation.

All functions take and return grey levels, float32 (H, W) in [0, 255]. Random numbers come from the
generator passed in, so the same seed gives the same image.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from xray_core.imaging.adjustment import WHOLE, Box
from xray_core.model.recipes import Augmentation

CROP_ASPECT = (3 / 4, 4 / 3)  # ratio of height to width, relative to the image
PART_AREA, PART_ASPECT = (0.05, 0.4), (1 / 4, 4.0)

Pixels = np.ndarray
Generator = np.random.Generator


def augment(pixels: Pixels, augmentation: Augmentation, rng: Generator) -> Pixels:
    """Augment an image at random.

    Parameters
    ----------
    pixels : numpy.ndarray
        Grey levels, float32 (H, W), in [0, 255].
    augmentation : Augmentation
        The recipe's augmentation.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        Same shape, type and range.
    """
    return change_grey_levels(_warp(pixels, augmentation, rng), augmentation, rng)


def augment_with_mask(
    pixels: Pixels, mask: Pixels, augmentation: Augmentation, rng: Generator
) -> tuple[Pixels, Pixels]:
    """Augment an image at random, and move its mask with it.

    Parameters
    ----------
    pixels : numpy.ndarray
        Grey levels, float32 (H, W), in [0, 255].
    mask : numpy.ndarray
        float32 (H, W), in [0, 1].
    augmentation : Augmentation
        The recipe's augmentation. Only its geometric changes apply to the mask, which is 0 outside
        the image.
    rng : numpy.random.Generator

    Returns
    -------
    image, mask : numpy.ndarray
        Same shape, type and range. At edges, a moved mask has values between 0 and 1.
    """
    matrix, fill = draw_transform(pixels.shape, augmentation, rng)
    image = change_grey_levels(transform(pixels, matrix, fill), augmentation, rng)
    return image, transform(mask, matrix, 0.0)


def change_grey_levels(image: Pixels, augmentation: Augmentation, rng: Generator) -> Pixels:
    """Apply all of an augmentation except its geometric changes.

    Parameters
    ----------
    image : numpy.ndarray
        Grey levels, float32 (H, W), in [0, 255].
    augmentation : Augmentation
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        Same shape, type and range.
    """
    if augmentation.detail and rng.random() < augmentation.detail:
        image = _change_detail(image, rng)
    if augmentation.recompress and rng.random() < augmentation.recompress:
        if rng.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0))
        image = recompress(image, int(rng.integers(40, 96)))
    if augmentation.marker and rng.random() < augmentation.marker:
        image = _add_marker(image, rng)
    if augmentation.gamma != (1.0, 1.0):
        image = _gamma(image, _log_uniform(rng, *augmentation.gamma))
    if augmentation.gain != (1.0, 1.0) or augmentation.offset:
        image = image * rng.uniform(*augmentation.gain) + rng.uniform(
            -augmentation.offset, augmentation.offset
        )
    if augmentation.resolution and rng.random() < augmentation.degrade:
        longest = max(augmentation.resolution + 1, min(200, image.shape[0]))
        image = _resolution(image, int(rng.integers(augmentation.resolution, longest)))
    if augmentation.blur and rng.random() < augmentation.degrade:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, max(0.3, augmentation.blur)))
    if augmentation.sharpen and rng.random() < augmentation.degrade:
        image = _sharpen(image, rng.uniform(0, augmentation.sharpen))
    if augmentation.noise and rng.random() < augmentation.degrade:
        spread = rng.uniform(0, augmentation.noise)
        image = image + spread * rng.standard_normal(image.shape, dtype=np.float32)
    if augmentation.erase and rng.random() < augmentation.erase:
        image = _erase(image, rng)
    if augmentation.frame and rng.random() < augmentation.frame:
        image = _paint_border(image, rng)
    return np.clip(image, 0, 255).astype(np.float32)


def _warp(pixels: Pixels, augmentation: Augmentation, rng: Generator) -> Pixels:
    """Mirror, rotate, zoom, stretch, shear and shift in one resampling."""
    return transform(pixels, *draw_transform(pixels.shape, augmentation, rng))


def draw_transform(
    shape: tuple[int, ...], augmentation: Augmentation, rng: Generator, *, box: Box = WHOLE
) -> tuple[np.ndarray | None, float]:
    """Draw the geometric changes of an augmentation, which are one affine transform.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    augmentation : Augmentation
    rng : numpy.random.Generator
    box : Box
        The part of the image that is enlarged to its whole size first.

    Returns
    -------
    matrix : numpy.ndarray or None
        (2, 3), from positions in the image to positions in the result; None for no change.
    fill : float
        Grey level outside the image.
    """
    height, width = shape
    if augmentation.whole and rng.random() < augmentation.whole:
        box = WHOLE
    if augmentation.part and rng.random() < augmentation.part:
        box = _draw_crop(box, PART_AREA, PART_ASPECT, rng)
    elif augmentation.crop < 1:
        box = _draw_crop(box, (augmentation.crop, 1.0), CROP_ASPECT, rng)
    angle = np.deg2rad(rng.uniform(-augmentation.rotation, augmentation.rotation))
    scale = _log_uniform(rng, *augmentation.zoom)
    ratio = np.sqrt(_log_uniform(rng, 1 / (1 + augmentation.stretch), 1 + augmentation.stretch))
    shear = rng.uniform(-augmentation.shear, augmentation.shear)
    shift = rng.uniform(-augmentation.shift, augmentation.shift, size=2)
    mirror = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    mirror = np.where([augmentation.flip_horizontal, augmentation.flip_vertical], mirror, 1.0)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = (
        scale
        * rotation
        @ np.array([[1.0, shear], [0.0, 1.0]])
        @ np.diag(mirror * [1 / ratio, ratio])
    )
    fill = 0.0
    if augmentation.fill and rng.random() < augmentation.fill:
        fill = rng.uniform(0, 255)
    if box == WHOLE and np.allclose(linear, np.eye(2)) and not shift.any():
        return None, fill
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    # Positions are centres of pixels, so the box's own centre moves to the centre of the image.
    inside = np.array(
        [(box.left + box.right) / 2 * width - 0.5, (box.top + box.bottom) / 2 * height - 0.5]
    )
    linear = linear @ np.diag([1 / (box.right - box.left), 1 / (box.bottom - box.top)])
    return np.column_stack([linear, centre + shift - linear @ inside]), fill


def _draw_crop(
    box: Box, area: tuple[float, float], aspect: tuple[float, float], rng: Generator
) -> Box:
    """Draw a part of a box: its share of the area, and its ratio of height to width, relative."""
    share, ratio = rng.uniform(*area), _log_uniform(rng, *aspect)
    height = min(1.0, np.sqrt(share * ratio)) * (box.bottom - box.top)
    width = min(1.0, np.sqrt(share / ratio)) * (box.right - box.left)
    top = box.top + rng.uniform(0, box.bottom - box.top - height)
    left = box.left + rng.uniform(0, box.right - box.left - width)
    return Box(top, left, top + height, left + width)


def transform(pixels: Pixels, matrix: np.ndarray | None, fill: float) -> Pixels:
    """Apply what `draw_transform` returned to an image (H, W), by linear interpolation."""
    if matrix is None:
        return pixels
    height, width = pixels.shape
    return cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=fill)


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _gamma(image: Pixels, gamma: float) -> Pixels:
    return np.float32(255) * (np.clip(image, 0, 255) / np.float32(255)) ** np.float32(gamma)


def _resolution(image: Pixels, side: int) -> Pixels:
    """Reduce to `side` pixels and enlarge again: a coarse detector or a reduced copy."""
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _erase(image: Pixels, rng: Generator) -> Pixels:
    """Fill one rectangle, 10% to 40% of each side, with a uniform grey level."""
    height, width = image.shape
    h = int(height * rng.uniform(0.1, 0.4))
    w = int(width * rng.uniform(0.1, 0.4))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    image = image.copy()
    image[top : top + h, left : left + w] = rng.uniform(0, 255)
    return image


def _paint_border(image: Pixels, rng: Generator) -> Pixels:
    """Paint over some borders, up to 18% of a side: markers, labels, edges of the detector."""
    height, width = image.shape
    grey = rng.choice([0.0, rng.uniform(0, 255)])
    top, bottom, left, right = np.where(rng.random(4) < 0.6, rng.uniform(0.02, 0.18, 4), 0.0)
    image = image.copy()
    image[: int(top * height)] = grey
    image[height - int(bottom * height) :] = grey
    image[:, : int(left * width)] = grey
    image[:, width - int(right * width) :] = grey
    return image


def _add_marker(image: Pixels, rng: Generator) -> Pixels:
    """Draw a letter near the border, like a side marker."""
    height, width = image.shape
    letter = str(rng.choice(["R", "L", "D", "S", "AP", "PA"]))
    size = rng.uniform(0.4, 1.1) * height / 224
    thick = int(rng.integers(1, 4))
    (wide, high), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    x = int(rng.uniform(0, max(1, width - wide)))
    y = int(rng.uniform(0.02, 0.2) * height) + high
    if rng.random() < 0.5:  # beside the chest instead of above it
        x = int(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.8, 0.95)]) * width)
        y = int(rng.uniform(0.1, 0.9) * height)
    ink = np.zeros((height, width), np.uint8)
    cv2.putText(ink, letter, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, 255, thick, cv2.LINE_AA)
    cover = ink.astype(np.float32) / np.float32(255)
    return image + cover * (np.float32(rng.uniform(170, 255)) - image)


def _change_detail(image: Pixels, rng: Generator) -> Pixels:
    """Change the contrast of coarse and of fine structures, as a detector's processing does."""
    coarse = cv2.GaussianBlur(image, (0, 0), _log_uniform(rng, 6, 40))
    fine, mean = image - coarse, coarse.mean()
    changed = mean + (coarse - mean) * rng.uniform(0.5, 1.2) + fine * rng.uniform(0.6, 2.0)
    return np.clip(changed, 0, 255).astype(np.float32)


def _sharpen(image: Pixels, amount: float) -> Pixels:
    """Unsharp masking with a Gaussian of two pixels."""
    return image + np.float32(amount) * (image - cv2.GaussianBlur(image, (0, 0), 2.0))


# Simulated shift: differences in scanner, archive or technique at another hospital.


def change_contrast(image: Pixels, factor: float) -> Pixels:
    """Scale the grey levels about their mean.

    Parameters
    ----------
    image : numpy.ndarray
        Grey levels (H, W).
    factor : float
        Above 1 increases contrast.

    Returns
    -------
    numpy.ndarray
        Grey levels (H, W), not clipped.
    """
    return (image - image.mean()) * factor + image.mean()


def _brightness(image: Pixels, rng: Generator) -> Pixels:
    return image + rng.uniform(-45, 45)


def _local_contrast(image: Pixels, rng: Generator) -> Pixels:
    clahe = cv2.createCLAHE(clipLimit=float(rng.uniform(1.0, 4.0)), tileGridSize=(8, 8))
    return clahe.apply(np.clip(image, 0, 255).astype(np.uint8)).astype(np.float32)


def _crop(image: Pixels, rng: Generator) -> Pixels:
    """Crop up to 12% of each side and resize to the original size."""
    height, width = image.shape
    top, bottom = (int(height * share) for share in rng.uniform(0, 0.12, 2))
    left, right = (int(width * share) for share in rng.uniform(0, 0.12, 2))
    rest = image[top : height - bottom, left : width - right]
    return cv2.resize(rest, (width, height), interpolation=cv2.INTER_LINEAR)


def recompress(image: Pixels, quality: int) -> Pixels:
    """Encode an image as JPEG and decode it again.

    Parameters
    ----------
    image : numpy.ndarray
        Grey levels (H, W).
    quality : int
        JPEG quality, 1 to 100.

    Returns
    -------
    numpy.ndarray
        Integer grey levels, float32 (H, W).
    """
    levels = np.clip(image, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.float32)


def _tilt(image: Pixels, rng: Generator) -> Pixels:
    return _warp(image, Augmentation(rotation=10.0, shift=10.0), rng)


SHIFTS: dict[str, Callable[[Pixels, Generator], Pixels]] = {
    "gamma": lambda image, rng: _gamma(image, _log_uniform(rng, 0.55, 1.8)),
    "contrast": lambda image, rng: change_contrast(image, _log_uniform(rng, 0.6, 1.6)),
    "brightness": _brightness,
    "blur": lambda image, rng: cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.8)),
    "sharpness": lambda image, rng: _sharpen(image, rng.uniform(0.5, 2.0)),
    "resolution": lambda image, rng: _resolution(image, int(rng.integers(64, 160))),
    "local contrast": _local_contrast,
    "crop": _crop,
    "JPEG quality": lambda image, rng: recompress(image, int(rng.integers(20, 80))),
    "tilt": _tilt,
    "aspect": lambda image, rng: _warp(image, Augmentation(stretch=0.25), rng),
    "border": _paint_border,
    "side marker": _add_marker,
}


def simulate_shift(pixels: Pixels, rng: Generator, *, kinds: int = 5) -> Pixels:
    """Simulate an image from another hospital: several SHIFTS, drawn at random and combined.

    Parameters
    ----------
    pixels : numpy.ndarray
        Grey levels, float32 (H, W), in [0, 255].
    rng : numpy.random.Generator
    kinds : int
        Number of shifts.

    Returns
    -------
    numpy.ndarray
        Same shape, type and range.
    """
    image = pixels
    for name in rng.choice(list(SHIFTS), size=kinds, replace=False):
        image = SHIFTS[str(name)](image, rng)
    return np.clip(image, 0, 255).astype(np.float32)
