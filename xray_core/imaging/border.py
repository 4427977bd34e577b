"""Detect a uniform border, such as the black bars of a screenshot or a scanned page."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xray_core.imaging.adjustment import WHOLE, Box

# Differences in grey levels; widths as a share of the height or width of the image.
MAX_DEVIATION = 8.0
"""Largest deviation of a border pixel from the median of the border: the noise of a JPEG."""
UNIFORM_SHARE = 0.97
"""Share of a line within that deviation. The rest may be a letter or dust."""
SAME_LEVEL = 16.0
"""Largest difference between two sides of one border."""
STEP = 20.0
"""Smallest difference between the border and the image behind it."""
STEP_SHARE = 0.5
"""Share of the border's length along which that step must be present."""
MIN_WIDTH = 0.02
WIDE = 0.1
"""Width from which two opposite bars are a border without a step. No training image has a uniform
black margin as wide on both sides."""
MAX_WIDTH = 0.45


@dataclass(frozen=True)
class Border:
    """Width of a border on each side of an image, in pixels.

    Parameters
    ----------
    top, right, bottom, left : int
    """

    top: int
    right: int
    bottom: int
    left: int


def find_border(pixels: NDArray[np.float32]) -> Border | None:
    """Find a uniform border around an image.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W)
        Grey levels in [0, 255].

    Returns
    -------
    Border or None
        None if the image has no border.

    Notes
    -----
    A border has the same grey level on at least two opposite sides. It ends there with a step along
    half of its length, or it is wide. All sides of that level belong to it. The dark margin of a
    radiograph has no such step, and is rarely as wide on two opposite sides.
    """
    sides = [np.rot90(pixels, turns) for turns in range(4)]  # each rotated to the top
    levels = [float(np.median(side[0])) for side in sides]
    depths = [_depth(side, level) for side, level in zip(sides, levels, strict=True)]
    bordered = [
        pair
        for pair in ((0, 2), (1, 3))
        if abs(levels[pair[0]] - levels[pair[1]]) <= SAME_LEVEL and _is_border(sides, depths, pair)
    ]
    if not bordered:
        return None
    level = levels[bordered[0][0]]
    top, right, bottom, left = (
        depth if abs(own - level) <= SAME_LEVEL else 0
        for depth, own in zip(depths, levels, strict=True)
    )
    return Border(top, right, bottom, left)


def content_box(pixels: NDArray[np.float32]) -> Box:
    """Return the part of an image (H, W) inside its uniform border, the whole without one."""
    border = find_border(pixels)
    if border is None:
        return WHOLE
    height, width = pixels.shape
    return Box(
        border.top / height,
        border.left / width,
        1 - border.bottom / height,
        1 - border.right / width,
    )


def _depth(side: NDArray[np.float32], level: float) -> int:
    """Return the number of uniform lines at the top, up to MAX_WIDTH of the height."""
    most = int(MAX_WIDTH * len(side))
    for depth in range(most):
        if np.mean(np.abs(side[depth] - level) <= MAX_DEVIATION) < UNIFORM_SHARE:
            return depth
    return most


def _is_border(sides: list[NDArray[np.float32]], depths: list[int], pair: tuple[int, int]) -> bool:
    """Return True if two opposite sides are a border, by their width or the step behind them."""
    narrower = min(depths[side] / len(sides[side]) for side in pair)
    if narrower < MIN_WIDTH:
        return False
    if narrower >= WIDE:
        return True
    return sum(_step(sides, depths, side) for side in pair) / 2 >= STEP_SHARE


def _step(sides: list[NDArray[np.float32]], depths: list[int], number: int) -> float:
    """Return the share of the line behind the border that differs from it by STEP or more."""
    side = sides[number]
    # np.rot90 rotates anticlockwise: with the right side at the top, the top is on the left.
    before, behind = depths[(number + 3) % 4], depths[(number + 1) % 4]
    inner = min(depths[number] + 1, len(side) - 1)
    line = side[inner, before : side.shape[1] - behind]
    level = float(np.median(side[0]))
    return float(np.mean(np.abs(line - level) > STEP)) if line.size else 0.0
