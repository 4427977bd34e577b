"""Drawing a map over its image: colours, opacity and outlines."""

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from xray_core.prediction.report_pdf import Overlay

COLOUR_MAPS = {"Heat": "YlOrRd_r", "Blue to yellow": "cividis", "Rainbow": "turbo"}
"""Names on the page, with the names in matplotlib."""

OUTLINE_LEVELS = (0.5, 0.75)
_OUTLINE = (255, 210, 40)
_LUNGS = (90, 200, 255)
OUTLINE_LEGEND = "Outer line: half of the map's maximum. Inner line: three quarters."
COLOUR_LEGEND = ("low", "high (relative to this image)")


def colours(name: str) -> NDArray[np.uint8]:
    """Return a colour map as uint8 (256, 3)."""
    table = matplotlib.colormaps[COLOUR_MAPS[name]](np.arange(256), bytes=True)  # (256, 4)
    return np.asarray(table[:, :3])


def draw_overlay(
    image: NDArray[np.uint8], heatmap: NDArray[np.float32], name: str, opacity: float
) -> Overlay:
    """Return the image (H, W) under its map (H, W) in [0, 1].

    The opacity of a pixel is proportional to the map's value, so that the image stays visible where
    the map is low. `opacity` in [0, 1] is that of the maximum.
    """
    table = colours(name)
    colour = table[np.rint(heatmap * 255).astype(np.uint8)].astype(np.float32)
    cover = (np.float32(opacity) * heatmap)[..., np.newaxis]  # (H, W) -> (H, W, 1)
    grey = image[..., np.newaxis].astype(np.float32)
    pixels = np.rint(grey * (1 - cover) + colour * cover).astype(np.uint8)
    return Overlay(pixels, COLOUR_LEGEND, table)


def draw_outlines(
    image: NDArray[np.uint8], heatmap: NDArray[np.float32], opacity: float
) -> Overlay:
    """Return the image with lines where its map crosses OUTLINE_LEVELS.

    Each line has a dark edge, so that it is visible on bright and dark areas.
    """
    pixels = np.repeat(image[..., np.newaxis], 3, axis=2).astype(np.float32)
    width = max(1, round(max(image.shape) / 400))
    for level in OUTLINE_LEVELS:
        line = _edges(heatmap >= level)
        for colour, grown in (((0, 0, 0), 2 * width), (_OUTLINE, width)):
            square = np.ones((2 * grown + 1, 2 * grown + 1), np.uint8)
            where = cv2.dilate(line, square).astype(bool)
            pixels[where] += np.float32(opacity) * (np.float32(colour) - pixels[where])
    return Overlay(np.rint(pixels).astype(np.uint8), (OUTLINE_LEGEND,))


def draw_lungs(image: NDArray[np.uint8], lungs: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return an image, uint8 (H, W) or (H, W, 3), with the outline of its lungs, bool (H, W).

    The line has a dark edge, so that it is visible on bright and dark areas.
    """
    pixels = image.copy() if image.ndim == 3 else np.repeat(image[..., np.newaxis], 3, axis=2)
    lines, _ = cv2.findContours(lungs.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    width = max(1, round(max(image.shape[:2]) / 400))
    for colour, thickness in (((0, 0, 0), 3 * width), (_LUNGS, width)):
        cv2.polylines(pixels, lines, True, colour, thickness, cv2.LINE_AA)
    return pixels


def legend_html(overlay: Overlay) -> str:
    """Return the legend of the colours or lines as HTML."""
    if overlay.colours is None:
        return f'<p class="legend">{" ".join(overlay.legend)}</p>'
    low, high = overlay.legend
    stops = ", ".join(f"rgb{tuple(int(v) for v in overlay.colours[i])}" for i in range(0, 256, 51))
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
