"""One image's plain properties: size, greys, sharpness, border, and hashes.

The processes that measure import this module alone, and start without pandas. OpenCV and the
hashes are imported where an image is measured, since a page with a kept table needs neither.
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
_SHRUNK = 32  # side of the image that pHash sees


def measure_file(root: Path, path: str) -> dict[str, Any]:
    """Return the measurements of the one image at `root / path`, as `measure_index` names them."""
    return measure_files(root, [path])[0]


def measure_files(root: Path, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return `measure_file` of each path, on one core.

    The hashes come last, all in a row: between two images the decoder would push the library's
    code out of the processor's cache, and it would take twice as long.
    """
    import cv2

    cv2.setNumThreads(1)  # the processes already fill the cores
    measured = [_measured(root, path) for path in paths]
    for row, small in measured:
        if small is not None:
            row["perceptual_hash"] = _perceptual_hash(small)
    return [row for row, _ in measured]


def _measured(root: Path, path: str) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return an image's row without its perceptual hash, and the image (32, 32) uint8 for that.

    The image is None where the file cannot be read.
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
    """Return the 256-bit pHash of an image shrunk to (32, 32) uint8, as 64 hex digits."""
    from imagehash import phash
    from PIL import Image

    bits = phash(Image.fromarray(small), _HASH_SIDE, _SHRUNK // _HASH_SIDE).hash  # (16, 16)
    return np.packbits(bits).tobytes().hex()


def _border(levels: np.ndarray, mean: float) -> float:
    """Return the mean grey of a frame that is 5% of height and width wide."""
    import cv2

    height, width = levels.shape
    down, across = (max(1, round(BORDER_SHARE * side)) for side in (height, width))
    inside = levels[down : height - down, across : width - across]
    inner_sum = cv2.sumElems(inside)[0] if inside.size else 0.0
    return (mean * levels.size - inner_sum) / (levels.size - inside.size)
