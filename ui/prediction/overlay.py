"""Drawing a map and the outline of the lungs over their image, for the report."""

from dataclasses import replace

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from xray_core.model.lungs import resize_mask
from xray_core.prediction.predictor import Prediction
from xray_core.prediction.report_pdf import Overlay, Pictures

COLOUR_MAPS = {"Heat": "YlOrRd_r", "Blue to yellow": "cividis", "Rainbow": "turbo"}
"""Names in the viewer, with the names in matplotlib."""

REPORT_COLOURS, REPORT_OPACITY = "Heat", 0.6
"""How the report draws a map, whatever the viewer shows."""

_LUNGS = (90, 200, 255)
COLOUR_LEGEND = ("low", "high (relative to this image)")


def colours(name: str) -> NDArray[np.uint8]:
    """Return a colour map as uint8 (256, 3)."""
    table = matplotlib.colormaps[COLOUR_MAPS[name]](np.arange(256), bytes=True)  # (256, 4)
    return np.asarray(table[:, :3])


def draw_pictures(image: NDArray[np.uint8], prediction: Prediction) -> Pictures:
    """Return an image (H, W) as the report shows it: with its map and its lungs, if it has any.

    They do not depend on the settings of the viewer.
    """
    overlay = None
    if prediction.heatmap is not None:
        overlay = draw_overlay(image, prediction.heatmap, REPORT_COLOURS, REPORT_OPACITY)
    described = {"method": prediction.method, "map_note": prediction.map_note}
    if prediction.lung_mask is None:
        return Pictures(image, overlay, **described)
    mask = resize_mask(prediction.lung_mask, image.shape)
    if overlay is not None:
        overlay = replace(overlay, pixels=draw_lungs(overlay.pixels, mask))
    return Pictures(draw_lungs(image, mask), overlay, lungs_outlined=True, **described)


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
