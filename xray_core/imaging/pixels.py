"""Geometry and polarity of pixels: the resize to the model input, and adjustments by a reader."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from PIL import Image

from xray_core.imaging.adjustment import UNADJUSTED, WHOLE, Adjustment, Box
from xray_core.imaging.decoding_memory import strips
from xray_core.imaging.radiograph import Radiograph, read_only

MODEL_SIZE = (224, 224)


def to_model_input(pixels: np.ndarray | Radiograph) -> np.ndarray:
    """Resize an image to the model input. Training and prediction both use this function.

    Shrinking uses bilinear interpolation with antialiasing, which averages over the area.
    The aspect ratio is not kept, as in the training images. An image of 224 x 224 is only rounded.

    Parameters
    ----------
    pixels : ndarray, shape (H, W) or (H, W, 1), or Radiograph
        Grey levels in [0, 255].

    Returns
    -------
    ndarray of float32, shape (224, 224, 1)
        Whole grey levels in [0, 255].

    Raises
    ------
    ValueError
        If the shape or the range is a different one.
    """
    grey = pixels.pixels if isinstance(pixels, Radiograph) else _checked_grey(pixels)
    if grey.shape != MODEL_SIZE:
        # Pillow resizes across and then down. Strips therefore give the same result as the whole
        # image, without a copy of the whole. (H, W) -> (H, 224) -> (224, 224)
        narrow = [_resize(grey[rows], MODEL_SIZE[1]) for rows in strips(*grey.shape)]
        grey = _resize(np.concatenate(narrow), *MODEL_SIZE)
    # Whole levels, so that caches can hold bytes. The training images have 8 bits as well.
    levels = np.clip(np.rint(grey), 0, 255).astype(np.float32)
    return levels[:, :, np.newaxis]  # (224, 224) -> (224, 224, 1)


def rotate(radiograph: Radiograph, quarter_turns: int = 0, inverted: bool = False) -> Radiograph:
    """Rotate an image clockwise by quarter turns, and invert black and white if asked.

    Parameters
    ----------
    radiograph : Radiograph
    quarter_turns : int
        Negative values rotate anticlockwise.
    inverted : bool
        True replaces each grey level g by 255 - g.

    Returns
    -------
    Radiograph
        With `original_size` still as stored.
    """
    pixels = np.rot90(radiograph.pixels, -quarter_turns)
    if inverted:
        pixels = np.float32(255) - pixels
    spacing, depth = radiograph.pixel_spacing, radiograph.full_depth
    if spacing is not None and quarter_turns % 2:
        spacing = spacing[1], spacing[0]
    return replace(
        radiograph,
        pixels=read_only(pixels),
        pixel_spacing=spacing,
        full_depth=None if depth is None else depth.rotated(quarter_turns, inverted),
    )


def crop(radiograph: Radiograph, box: Box) -> Radiograph:
    """Crop an image.

    Parameters
    ----------
    radiograph : Radiograph
    box : Box
        The part that is kept, at least one pixel.

    Returns
    -------
    Radiograph
        Its pixels are a view of the input's; `original_size` is the size of the part in the file.
        The input itself for the whole image.
    """
    if box == WHOLE:
        return radiograph
    rows, columns = box.slices(radiograph.pixels.shape)
    pixels, depth = radiograph.pixels[rows, columns], radiograph.full_depth
    # A large image is held at half its height and width.
    scale = max(1, round(max(radiograph.original_size) / max(radiograph.pixels.shape)))
    return replace(
        radiograph,
        pixels=pixels,
        original_size=(scale * pixels.shape[0], scale * pixels.shape[1]),
        full_depth=None if depth is None else depth.cropped(rows, columns),
    )


def adjust(radiograph: Radiograph, adjustment: Adjustment) -> Radiograph:
    """Crop, mirror, rotate and invert an image as a reader asked for, and record it.

    Parameters
    ----------
    radiograph : Radiograph
    adjustment : Adjustment

    Returns
    -------
    Radiograph
        `adjustment` describes this change together with earlier ones; `pixel_spacing` and
        `full_depth` belong to the new rows and columns. The input itself if nothing is changed.
    """
    if adjustment == UNADJUSTED:
        return radiograph
    image = crop(radiograph, adjustment.crop)
    if adjustment.mirrored:
        depth = image.full_depth
        image = replace(
            image,
            pixels=image.pixels[:, ::-1],
            full_depth=None if depth is None else depth.mirrored(),
        )
    image = rotate(image, adjustment.quarter_turns, adjustment.inverted)
    return replace(image, adjustment=radiograph.adjustment.then(adjustment))


def _resize(grey: np.ndarray, width: int, height: int | None = None) -> np.ndarray:
    """Resize (H, W) to (height, width); without a height, only across."""
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))  # mode "F"
    # Pillow's BILINEAR widens its kernel when it shrinks, so that every pixel counts.
    return np.asarray(image.resize((width, height or len(grey)), Image.Resampling.BILINEAR))


def _checked_grey(pixels: np.ndarray) -> np.ndarray:
    grey = np.asarray(pixels)
    if grey.ndim == 3 and grey.shape[2] == 1:
        grey = grey[:, :, 0]  # (H, W, 1) -> (H, W)
    if grey.ndim != 2 or grey.size == 0:
        raise ValueError(f"Expected grey pixels (H, W) or (H, W, 1). Received: shape={grey.shape}")
    low, high = float(grey.min()), float(grey.max())
    if not (low >= -0.5 and high <= 255.5):  # NaN fails as well
        raise ValueError(f"Expected grey in [0, 255]. Received: range=[{low}, {high}]")
    if grey.dtype.kind == "f" and 0 < high <= 1:
        warnings.warn(
            f"Pixels look scaled to [0, 1] where grey in [0, 255] is expected: max={high}",
            stacklevel=3,
        )
    return grey
