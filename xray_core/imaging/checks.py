"""Check from the pixels alone whether an image can be a chest X-ray, before any network runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xray_core.imaging.pixels import to_model_input
from xray_core.imaging.radiograph import Radiograph

FloatArray = NDArray[np.float32]

# Limits in pixels, grey levels of [0, 255], or shares in [0, 1].
SMALLEST_SIDE = 64
LARGEST_ASPECT = 3.5
SMALLEST_RANGE = 12.0
"""Smallest difference between the 1% and 99% percentiles of the grey levels."""
FEWEST_LEVELS = 32
"""Smallest number of grey levels that cover 99% of the pixels that are not black."""
LARGEST_BLACK = 0.85
"""Largest share of pixels with a grey level below 6."""
LARGEST_WHITE = 0.5
"""Largest share of pixels with a grey level of 250 or more."""
LARGEST_FLAT = 0.4
"""Largest share of pixels, black ones aside, equal to their neighbours on the right and below."""
LARGEST_LEVEL = 0.25
"""Largest share of pixels with the same grey level, black and white aside."""
LEAST_STRUCTURE = 5.0
"""Smallest standard deviation, in grey levels, of the block means without their linear slope."""
LARGEST_SLOPE = 0.75
"""Largest share of the variance of the block means that a linear slope explains."""
LEAST_DETAIL = 0.01
"""Smallest share of the variance that lies within blocks."""
MOST_DETAIL = 0.4
"""Largest share of the variance that lies within blocks."""

_BLOCK = 8  # side of the blocks that separate detail from structure, in pixels of the model input


def check_pixels(radiograph: Radiograph, image: FloatArray | None = None) -> list[str]:
    """Return the reasons why an image cannot be a chest X-ray.

    Parameters
    ----------
    radiograph : Radiograph
    image : ndarray of float32, shape (224, 224, 1), optional
        Its model input, computed here if not given.

    Returns
    -------
    list of str
        Sentences; empty if the image passes.

    Notes
    -----
    All 5,856 images of the Kaggle dataset pass, with a margin to each limit.
    """
    height, width = radiograph.original_size
    reasons = []
    if min(height, width) < SMALLEST_SIDE:
        reasons.append(
            f"The image is too small ({width} x {height} pixels). At least {SMALLEST_SIDE} pixels "
            "on each side are needed."
        )
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        reasons.append(
            f"The image is a narrow strip ({width} x {height} pixels). A chest X-ray is about as "
            "wide as it is high."
        )
    if radiograph.had_colour:
        reasons.append("Colour image. Upload a greyscale X-ray.")
    flat = _flatness(radiograph.pixels)
    return reasons + (flat or _texture(to_model_input(radiograph) if image is None else image))


def _flatness(pixels: FloatArray) -> list[str]:
    """Return the reason why the grey levels cannot be those of a radiograph, at most one."""
    # A grid as fine as the model input, so that an image enlarged without smoothing is not flat.
    step = max(1, max(pixels.shape) // 224)
    grid = np.clip(np.rint(pixels[::step, ::step]), 0, 255).astype(np.int16)
    low, high = np.percentile(grid, (1, 99))
    if high - low < SMALLEST_RANGE:
        return ["The image is blank: nearly all of it is one shade of grey."]

    share = np.bincount(grid.ravel(), minlength=256) / grid.size
    lit = np.sort(share[6:])[::-1]
    if share[:6].sum() > LARGEST_BLACK:
        return ["The image is nearly all black, like a mask or an empty image."]
    if share[250:].sum() > LARGEST_WHITE:
        return ["Most of the image is plain white, like a page of text or a screenshot."]
    levels_of_most = int(np.searchsorted(np.cumsum(lit), 0.99 * lit.sum())) + 1
    if levels_of_most < FEWEST_LEVELS:
        return [
            f"The image has only {levels_of_most} shades of grey, like a drawing, a mask or text."
        ]
    corner = grid[:-1, :-1]
    flat = (corner > 5) & (corner == grid[1:, :-1]) & (corner == grid[:-1, 1:])
    if share[8:250].max() > LARGEST_LEVEL or flat.mean() > LARGEST_FLAT:
        return ["Large parts of the image are one even shade, like a screenshot or a drawing."]
    return []


def _texture(image: FloatArray) -> list[str]:
    """Return the reason why detail or structure cannot be those of a radiograph, at most one."""
    grey = image[..., 0].astype(np.float64)
    rows, columns = (side // _BLOCK for side in grey.shape)
    # (H, W) -> (rows, 8, columns, 8) -> (rows, columns)
    blocks = grey.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3))
    down, across = np.linspace(-1, 1, rows)[:, np.newaxis], np.linspace(-1, 1, columns)
    level = blocks - blocks.mean()
    # `down` and `across` are orthogonal, so that the slope is removed one direction at a time.
    for direction in (down + 0 * across, across + 0 * down):
        level = level - direction * (level * direction).sum() / (direction**2).sum()
    within = grey.var() - blocks.var()
    if within > MOST_DETAIL * grey.var() and grey.std() > LEAST_STRUCTURE:
        return ["The image consists of fine detail, like text, a drawing or noise."]
    if level.std() < LEAST_STRUCTURE or level.var() < (1 - LARGEST_SLOPE) * blocks.var():
        return ["The image is nearly blank: an even shade or a smooth gradient of grey."]
    if within < LEAST_DETAIL * grey.var():
        return ["The image has no fine detail: it is blurred, or it is not an X-ray."]
    return []
