"""A map and the outline of the lungs, drawn over their image: for reports, captures and files."""

import secrets
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_core.model.lungs import resize_mask
from xray_core.prediction.report_pdf import Overlay, Pictures
from xray_core.prediction.result import Prediction

COLOUR_MAPS = {"Heat": "YlOrRd_r", "Blue to yellow": "cividis", "Rainbow": "turbo"}
"""Names in the viewer, with the names in matplotlib. Drawn maps have the first."""

SIDE = 1024
"""Longest side of a stored overlay in pixels."""

_OPACITY = 0.6
_LUNGS = (90, 200, 255)
_LEGEND = ("low", "high (relative to this image)")


def colours(name: str = "Heat") -> NDArray[np.uint8]:
    """Return a colour map as uint8 (256, 3)."""
    import matplotlib  # heavy, and the pages import this module for tables

    table = matplotlib.colormaps[COLOUR_MAPS[name]](np.arange(256), bytes=True)  # (256, 4)
    return np.asarray(table[:, :3])


def draw_map(image: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image under its map.

    Parameters
    ----------
    image
        uint8 (H, W).
    heatmap
        float32 (H, W) in [0, 1]. The opacity of a pixel is proportional to it, so that the image
        stays visible where the map is low.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, 3).
    """
    colour = colours()[np.rint(heatmap * 255).astype(np.uint8)].astype(np.float32)
    cover = (np.float32(_OPACITY) * heatmap)[..., np.newaxis]  # (H, W) -> (H, W, 1)
    grey = image[..., np.newaxis].astype(np.float32)
    drawn: NDArray[np.uint8] = np.rint(grey * (1 - cover) + colour * cover).astype(np.uint8)
    return drawn


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


def draw_pictures(image: NDArray[np.uint8], prediction: Prediction) -> Pictures:
    """Return an image (H, W) as a report shows it: with its map and its lungs, if it has any."""
    overlay = None
    if prediction.heatmap is not None:
        overlay = Overlay(draw_map(image, prediction.heatmap), _LEGEND, colours())
    if prediction.lung_mask is not None:
        mask = resize_mask(prediction.lung_mask, image.shape)
        image = draw_lungs(image, mask)
        if overlay is not None:
            overlay = replace(overlay, pixels=draw_lungs(overlay.pixels, mask))
    return Pictures(
        image,
        overlay,
        lungs_outlined=prediction.lung_mask is not None,
        method=prediction.method,
        map_note=prediction.map_note,
    )


def write_overlay(
    folder: Path, sha256: str, image: NDArray[np.uint8], heatmap: NDArray[np.float32]
) -> Path:
    """Store an image under its map as `folder`/AB/SHA256.jpg; complete or absent.

    The name is the hash of the image's bytes, which the table lists as well: names of files in a
    list or an archive never lead anywhere.

    Parameters
    ----------
    folder
        Where the overlays are; created where it does not exist. AB are the hash's first two digits.
    sha256
        Hash of the image file.
    image, heatmap
        As for `draw_map`.

    Raises
    ------
    OSError
        It cannot be written.
    """
    target = folder / sha256[:2] / f"{sha256}.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Another process may write the overlay of an identical image at the same time.
    temporary = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        Image.fromarray(draw_map(image, heatmap)).save(temporary, "JPEG", quality=90)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target
