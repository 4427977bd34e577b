"""Measured properties of one image: size, grey levels, sharpness, border and hashes.

The worker processes import only this module and start without pandas. OpenCV and the hashes are
imported where an image is measured, because a page with a cached table does not need them.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xray_core.errors import UnreadableImage

MEASURED = (
    "width",
    "height",
    "mode",
    "mean",
    "spread",
    "sharpness",
    "border",
    "sha256",
    "perceptual_hash",
    "problem",
)
BORDER_SHARE = 0.05
_HASH_SIDE = 16
_SHRUNK = 32  # side of the image that is hashed


def measure_files(root: Path, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Measure image files on one core.

    The perceptual hashes are computed last: between two images, decoding would displace the
    library's code from the processor's cache and double their time.

    Parameters
    ----------
    root : pathlib.Path
        The folder that the paths are relative to.
    paths : sequence of str
        The files.

    Returns
    -------
    list of dict
        `path` and the measurements MEASURED of each file; see `measure_index` for their units.
    """
    import cv2

    cv2.setNumThreads(1)  # the processes already fill the cores
    measured = [_measured(root, path) for path in paths]
    for row, small in measured:
        if small is not None:
            row["perceptual_hash"] = _perceptual_hash(small)
    return [row for row, _ in measured]


def _measured(root: Path, path: str) -> tuple[dict[str, Any], np.ndarray | None]:
    """The row without its perceptual hash, and the (32, 32) uint8 image to hash.

    The image is None if the file cannot be read.
    """
    import cv2

    from xray_core.imaging.radiograph import read_radiograph

    row: dict[str, Any] = dict.fromkeys(MEASURED)
    row |= {"path": path, "problem": "", "mode": "", "sha256": "", "perceptual_hash": ""}
    try:
        with open(os.path.join(root, path), "rb") as file:
            data = file.read()
    except OSError:
        return row | {
            "problem": "The file cannot be opened. Check that this program may read it."
        }, None
    row["sha256"] = hashlib.sha256(data).hexdigest()
    try:
        image = read_radiograph(data)
    except UnreadableImage as error:
        return row | {"problem": str(error)}, None
    levels = cv2.convertScaleAbs(image.pixels)  # (H, W), whole grey levels
    means, spreads = cv2.meanStdDev(levels)
    mean = float(means[0, 0])
    small = cv2.resize(levels, (_SHRUNK, _SHRUNK), interpolation=cv2.INTER_AREA)
    row |= {
        "height": image.original_size[0],
        "width": image.original_size[1],
        "mode": image.colour_mode,
        "mean": round(mean, 3),
        "spread": round(float(spreads[0, 0]), 3),
        "sharpness": round(cv2.norm(cv2.Laplacian(levels, cv2.CV_16S)) ** 2 / levels.size, 3),
        "border": round(_border(levels, mean), 3),
    }
    return row, small


def _perceptual_hash(small: np.ndarray) -> str:
    """The 256-bit pHash of a (32, 32) uint8 image, as 64 hex digits."""
    from imagehash import phash
    from PIL import Image

    bits = phash(Image.fromarray(small), _HASH_SIDE, _SHRUNK // _HASH_SIDE).hash  # (16, 16)
    return np.packbits(bits).tobytes().hex()


def _border(levels: np.ndarray, mean: float) -> float:
    """Mean grey level of a frame with a width of 5% of the height and width."""
    import cv2

    height, width = levels.shape
    down, across = (max(1, round(BORDER_SHARE * side)) for side in (height, width))
    inside = levels[down : height - down, across : width - across]
    inner_sum = cv2.sumElems(inside)[0] if inside.size else 0.0
    return (mean * levels.size - inner_sum) / (levels.size - inside.size)
