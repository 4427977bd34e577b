"""Storing the Grad-CAM map over its image as a JPEG."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 1024
"""Longest side of a stored overlay in pixels."""

_OPACITY = 0.6  # as in the report


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
    image
        uint8 (H, W).
    heatmap
        float32 (H, W) in [0, 1]. The opacity of a pixel is proportional to it.

    Raises
    ------
    OSError
        It cannot be written.
    """
    import matplotlib  # heavy, and the pages import this module for tables

    table = matplotlib.colormaps["YlOrRd_r"](np.arange(256), bytes=True)[:, :3]
    colour = table[np.rint(heatmap * 255).astype(np.uint8)].astype(np.float32)  # (H, W, 3)
    cover = (_OPACITY * heatmap)[..., np.newaxis]  # (H, W) -> (H, W, 1)
    drawn = np.rint(image[..., np.newaxis] * (1 - cover) + colour * cover).astype(np.uint8)
    target = folder / sha256[:2] / f"{sha256}.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".tmp")
    Image.fromarray(drawn).save(temporary, "JPEG", quality=90)
    temporary.replace(target)
    return target
