"""A map laid on its image: colours, opacity and outlines, drawn anew without computing the map."""

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from xray_core.prediction.report_pdf import MapPicture

COLOUR_MAPS = {"Heat": "YlOrRd_r", "Blue to yellow": "cividis", "Rainbow": "turbo"}
"""Names on the page, and matplotlib's: all change steadily from low to high."""

OUTLINE_LEVELS = (0.5, 0.75)
_OUTLINE = (255, 210, 40)
OUTLINE_LEGEND = "Outer line: half of the map's maximum. Inner line: three quarters."
COLOUR_LEGEND = ("low", "high (relative to this image)")


def colours(name: str) -> NDArray[np.uint8]:
    """Return a colour map as uint8 (256, 3)."""
    table = matplotlib.colormaps[COLOUR_MAPS[name]](np.arange(256), bytes=True)  # (256, 4)
    return np.asarray(table[:, :3])


def overlay(
    case: NDArray[np.uint8], heatmap: NDArray[np.float32], name: str, opacity: float
) -> MapPicture:
    """Return the image (H, W) under its map (H, W) in [0, 1].

    A place is covered in proportion to its value, so that the image stays clear where the map says
    nothing; `opacity` in [0, 1] is that of the strongest place.
    """
    table = colours(name)
    colour = table[np.rint(heatmap * 255).astype(np.uint8)].astype(np.float32)
    cover = (np.float32(opacity) * heatmap)[..., np.newaxis]  # (H, W) -> (H, W, 1)
    grey = case[..., np.newaxis].astype(np.float32)
    pixels = np.rint(grey * (1 - cover) + colour * cover).astype(np.uint8)
    return MapPicture(pixels, COLOUR_LEGEND, table)


def outlined(case: NDArray[np.uint8], heatmap: NDArray[np.float32], opacity: float) -> MapPicture:
    """Return the image with lines where its map passes OUTLINE_LEVELS.

    Each line has a dark rim, so that it is seen on bright and on dark ground.
    """
    picture = np.repeat(case[..., np.newaxis], 3, axis=2).astype(np.float32)
    width = max(1, round(max(case.shape) / 400))
    for level in OUTLINE_LEVELS:
        line = _edges(heatmap >= level)
        for colour, grown in (((0, 0, 0), 2 * width), (_OUTLINE, width)):
            square = np.ones((2 * grown + 1, 2 * grown + 1), np.uint8)
            where = cv2.dilate(line, square).astype(bool)
            picture[where] += np.float32(opacity) * (np.float32(colour) - picture[where])
    return MapPicture(np.rint(picture).astype(np.uint8), (OUTLINE_LEGEND,))


def legend_html(picture: MapPicture) -> str:
    """Return what the colours or the lines mean, as HTML."""
    if picture.colours is None:
        return f'<p class="legend">{" ".join(picture.legend)}</p>'
    low, high = picture.legend
    stops = ", ".join(f"rgb{tuple(int(v) for v in picture.colours[i])}" for i in range(0, 256, 51))
    return (
        f'<p class="legend">{low} <span role="img" aria-label="Colour scale from low to high" '
        f'style="background: linear-gradient(to right, {stops})"></span> {high}</p>'
    )


def _edges(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return 1 where a pixel differs from its left or upper neighbour, uint8 (H, W)."""
    edge = np.zeros(mask.shape, np.uint8)
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edge[1:] |= mask[1:] != mask[:-1]
    return edge
