"""Images with a flat frame around them: black bars of a screenshot, the border of a scanned page."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xray_core.imaging.radiograph import Radiograph

EVENNESS = 8.0
"""Grey levels that a line of a frame may stray from its median: a JPEG's noise, no more."""
EVEN_SHARE = 0.97
"""Share of a line that must be that even; the rest may be a letter or a speck of dust."""
SAME_LEVEL = 16.0
STEP = 20.0
STEP_SHARE = 0.5
NARROWEST = 0.02
WIDE = 0.1
"""Share of the picture from which two opposite bars are a frame whatever lies behind them. No image
of the training set has as much even black on both sides."""
WIDEST = 0.45


@dataclass(frozen=True)
class Frame:
    """How many lines of pixels a frame takes on each side of a picture."""

    top: int
    right: int
    bottom: int
    left: int


def find_border(pixels: NDArray[np.float32]) -> Frame | None:
    """Return the flat frame around an image (H, W), grey in [0, 255]; None where there is none.

    An image's own margin is dark, too, but fades into the image, and hardly ever lies on two opposite
    sides as wide as bars. A frame has one level on two opposite sides at least, and ends there in
    one step along half of its length, or is wide. All sides of that level belong to it.
    """
    sides = [np.rot90(pixels, turns) for turns in range(4)]  # each with its own side on top
    levels = [float(np.median(side[0])) for side in sides]
    depths = [_depth(side, level) for side, level in zip(sides, levels, strict=True)]
    framed = [
        pair
        for pair in ((0, 2), (1, 3))
        if abs(levels[pair[0]] - levels[pair[1]]) <= SAME_LEVEL and _is_framed(sides, depths, pair)
    ]
    if not framed:
        return None
    level = levels[framed[0][0]]
    top, right, bottom, left = (
        depth if abs(own - level) <= SAME_LEVEL else 0
        for depth, own in zip(depths, levels, strict=True)
    )
    return Frame(top, right, bottom, left)


def crop_border(radiograph: Radiograph) -> Radiograph:
    """Return the image without the frame around it; as it is where there is none.

    The pixels are a view of the image's own.
    """
    frame = find_border(radiograph.pixels)
    if frame is None:
        return radiograph
    height, width = radiograph.pixels.shape
    pixels = radiograph.pixels[frame.top : height - frame.bottom, frame.left : width - frame.right]
    # Of a large image one pixel stands for several stored ones.
    scale = max(1, round(max(radiograph.original_size) / max(height, width)))
    return replace(
        radiograph,
        pixels=pixels,
        original_size=(scale * pixels.shape[0], scale * pixels.shape[1]),
    )


def _depth(side: NDArray[np.float32], level: float) -> int:
    """Return how many lines from the top are even at `level`, up to WIDEST of the height."""
    most = int(WIDEST * len(side))
    for depth in range(most):
        if np.mean(np.abs(side[depth] - level) <= EVENNESS) < EVEN_SHARE:
            return depth
    return most


def _is_framed(sides: list[NDArray[np.float32]], depths: list[int], pair: tuple[int, int]) -> bool:
    """Tell whether two opposite sides are bars, by their width or by the step that ends them."""
    narrower = min(depths[side] / len(sides[side]) for side in pair)
    if narrower < NARROWEST:
        return False
    if narrower >= WIDE:
        return True
    return sum(_step(sides, depths, side) for side in pair) / 2 >= STEP_SHARE


def _step(sides: list[NDArray[np.float32]], depths: list[int], number: int) -> float:
    """Return the share of the image's edge that differs from the frame, two lines further in."""
    side = sides[number]
    # np.rot90 turns anticlockwise: with the right side on top, the image's top is on the left.
    before, behind = depths[(number + 3) % 4], depths[(number + 1) % 4]
    inner = min(depths[number] + 1, len(side) - 1)
    line = side[inner, before : side.shape[1] - behind]
    level = float(np.median(side[0]))
    return float(np.mean(np.abs(line - level) > STEP)) if line.size else 0.0
