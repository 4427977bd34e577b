"""Decode image files other than DICOM to grey levels, upright.

Pillow holds a decoded image at up to four bytes a pixel. All later steps work on strips of it, so
that no second copy of the whole is needed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageOps, UnidentifiedImageError

from xray_core.errors import UnreadableImage
from xray_core.imaging.decoder_logs import silence_libtiff
from xray_core.imaging.decoding_memory import (
    Reservation,
    assemble,
    is_halved,
    kept_shape,
    sample_positions,
    strip_bytes,
    strips,
)
from xray_core.imaging.file_types import DAMAGED, describe_unknown

# Decoders that an upload can reach. Pillow has about forty more; few of them are hardened.
PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")

_ORIENTATION = ExifTags.Base.Orientation
# TIFF 6.0, sections 8 and 15
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ROWS_PER_STRIP = 258, 262, 278
_TILE_WIDTH, _TILE_LENGTH = 322, 323


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image file.

    Parameters
    ----------
    levels : ndarray of uint8 or float32, shape (H, W)
        Grey levels in [0, 255], upright.
    original_size : tuple of int
        (height, width) as stored.
    had_colour : bool
    source_format : str
        Pillow's name of the format.
    mode : str
        Pillow's name of the stored mode.
    frames : int
    notes : tuple of str
    """

    levels: np.ndarray
    original_size: tuple[int, int]
    had_colour: bool
    source_format: str
    mode: str
    frames: int
    notes: tuple[str, ...]


def read_picture(data: bytes, *, max_pixels: int, reservation: Reservation) -> Picture:
    """Decode the first frame of an image file, after acquiring the memory for it.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_pixels : int
        Larger images are refused before decoding.
    reservation : Reservation
        Acquires the estimated peak before decoding.

    Returns
    -------
    Picture
        Halved if the image has more than `LARGEST_KEPT` pixels.

    Raises
    ------
    UnreadableImage
        If the file is refused. Damaged content may raise any exception, which the caller catches.
    """
    silence_libtiff()
    try:
        image = Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(_too_many_pixels(max_pixels)) from None
    except UnidentifiedImageError:
        raise UnreadableImage(describe_unknown(data)) from None
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImage(_too_many_pixels(max_pixels))
        mode = image.mode
        source_format = "JPEG" if image.format == "MPO" else str(image.format)
        frames = getattr(image, "n_frames", 1)
        notes = [f"Only the first of {frames} frames was read."] if frames > 1 else []
        if getattr(image, "tag_v2", {}).get(_ORIENTATION, 1) >= 5:
            width, height = height, width  # Pillow gives the size of a TIFF after rotation
        reservation.acquire(_peak_bytes(image, source_format, frames))
        halve = is_halved(height, width)
        if halve and source_format == "JPEG":
            # The decoder itself halves, by omitting the higher half of the frequencies.
            image.draft(image.mode, (-(-width // 2), -(-height // 2)))
        if halve and source_format == "WEBP":
            levels, had_colour = _large_webp(data, image)
        else:
            image.load()
            levels, had_colour = _grey_levels(image, notes)
        orientation = _orientation(image)  # after load(), which rotates TIFF upright
    return Picture(
        levels=_upright(levels, orientation),
        original_size=(height, width),
        had_colour=had_colour,
        source_format=source_format,
        mode=mode,
        frames=frames,
        notes=tuple(notes),
    )


def has_colour(sample: Image.Image) -> bool:
    """Return True if the colour channels of an image differ noticeably.

    Parameters
    ----------
    sample : PIL.Image.Image
        The image, or a grid of samples of it.

    Returns
    -------
    bool
    """
    # A grid of samples detects a colour photograph as reliably as all pixels, and is faster.
    size = (min(sample.width, 64), min(sample.height, 64))
    sample = sample.resize(size, Image.Resampling.NEAREST)
    if sample.mode != "RGB":
        sample = sample.convert("RGB")
    # (h, w, 3) -> (3, h * w), each channel in one piece
    channels = np.ascontiguousarray(np.asarray(sample).reshape(-1, 3).T)
    apart = channels.max(axis=0) - channels.min(axis=0)
    return bool(np.count_nonzero(apart > 20) > 0.005 * apart.size)


def bit_depth(highest: float) -> int:
    """Return the usual bit depth of a detector that holds a value.

    Parameters
    ----------
    highest : float
        The largest grey value, at most 65,535.

    Returns
    -------
    int
        The smallest of 8, 10, 12, 14 and 16.
    """
    return next(bits for bits in (8, 10, 12, 14, 16) if highest <= 2**bits - 1)


def _too_many_pixels(most: int) -> str:
    return f"The image has more than {most // 10**6} megapixels, more than a radiograph has."


def _peak_bytes(image: Image.Image, source_format: str, frames: int) -> int:
    """Return the measured peak, in bytes, of decoding an image that is only opened so far."""
    width, height = image.size
    pixels, kept = width * height, int(np.prod(kept_shape(height, width)))
    in_pillow = 2 if image.mode.startswith("I;") else 1 if image.mode in ("1", "L", "P") else 4
    decoded = pixels * in_pillow
    if source_format == "JPEG":
        decoded = kept * in_pillow
        if image.info.get("progressive") or len(image.getbands()) > 1:
            # Several scans need all coefficients at once, in two bytes each.
            decoded += 2 * pixels * len(image.getbands())
    elif source_format == "WEBP" and is_halved(height, width) and frames == 1:
        decoded = 8 * pixels  # the copies of libwebp (lossless) and OpenCV
    elif source_format == "WEBP":
        decoded = 20 * pixels  # two canvases, and the copies of libwebp and Pillow
    elif source_format == "TIFF":
        decoded += max(_tiff_buffer(image), decoded if _is_rotated_by_pillow(image) else 0)
    elif source_format == "GIF":
        decoded *= 2
    deep = in_pillow == 2 or image.mode[0] in "IF"
    # Bytes and then float32, or float32 at once. Rotating float32 takes two copies.
    grey = kept * (12 if deep and source_format == "PNG" else 5)
    return decoded + grey + strip_bytes(height, width)


def _tiff_buffer(image: Image.Image) -> int:
    """Return the bytes of a strip or tile of a compressed TIFF; either may be the whole image."""
    if image.info.get("compression") == "raw":
        return 0
    tags = getattr(image, "tag_v2", {})
    width, height = image.size
    strip = width * min(height, int(tags.get(_ROWS_PER_STRIP, height)))
    tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0))
    bits = tags.get(_BITS_PER_SAMPLE, (8,))
    return max(strip, tile) * max(4, sum(bits) // 8)


def _is_rotated_by_pillow(image: Image.Image) -> bool:
    """Return True if Pillow rotates a TIFF upright, which takes a copy of it."""
    return bool(getattr(image, "tag_v2", {}).get(_ORIENTATION, 1) != 1)


def _large_webp(data: bytes, image: Image.Image) -> tuple[np.ndarray, bool]:
    """Decode a WebP with OpenCV, which holds one copy where Pillow holds four."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != image.size[::-1] or pixels.ndim != 3:
        raise UnreadableImage(DAMAGED)
    order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    height, width = pixels.shape[:2]
    has_alpha = pixels.shape[2] == 4 and bool(pixels[..., 3].any())

    def levels(rows: slice) -> np.ndarray:
        return _levels(Image.fromarray(cv2.cvtColor(pixels[rows], order)), has_alpha)

    sample = pixels[np.ix_(sample_positions(height), sample_positions(width))]
    colour = has_colour(Image.fromarray(cv2.cvtColor(sample, order)))
    return assemble(levels, height, width, np.uint8), colour


def _grey_levels(image: Image.Image, notes: list[str]) -> tuple[np.ndarray, bool]:
    """Return grey levels (h, w), uint8 or float32, halved if large, and whether it had colour."""
    if image.mode[0] in "IF":
        return _deep_levels(image, notes), False
    # Some exporters write an alpha of zero everywhere. It is then ignored.
    has_alpha = any(
        alpha.getbbox() is not None
        for rows in strips(image.height, image.width)
        for alpha in _alpha(_cut(image, rows))
    )
    levels = assemble(
        lambda rows: _levels(_cut(image, rows), has_alpha), image.height, image.width, np.uint8
    )
    return levels, image.mode not in ("1", "L") and has_colour(image)


def _levels(strip: Image.Image, has_alpha: bool) -> np.ndarray:
    levels = strip.convert("L")
    if has_alpha:
        for alpha in _alpha(strip):
            levels = ImageChops.multiply(levels, alpha)  # on black
    return np.asarray(levels)


def _alpha(image: Image.Image) -> list[Image.Image]:
    """Return the image's alpha channel in a list, empty where it has none."""
    if "A" in image.getbands() and image.mode in ("RGBA", "LA", "PA"):
        return [image.getchannel("A")]
    if "transparency" in image.info and image.mode not in ("1", "L"):
        return [image.convert("RGBA").getchannel("A")]
    return []


def _deep_levels(image: Image.Image, notes: list[str]) -> np.ndarray:
    """Scale deep pixels to [0, 255]: by bit depth where that is known, else by their extremes.

    Whole numbers from 0 to 65,535 are scaled by the smallest of 8, 10, 12, 14 and 16 bits that
    holds the largest: PNG and TIFF cannot say that a detector's 12 bits lie in their 16.
    Floats up to 1 are read as [0, 1]. Other values (negative, larger) are stretched, with a note.
    """
    extremes = [
        (grey.min(), grey.max())
        for grey in (_as_floats(_cut(image, rows)) for rows in strips(image.height, image.width))
    ]
    low = float(min(darkest for darkest, _ in extremes))
    high = float(max(brightest for _, brightest in extremes))
    shift = 0.0
    if image.mode[0] == "F" and low >= 0 and high <= 1:
        scale = 255.0
    elif low >= 0 and high <= 65_535:
        bits = bit_depth(high)
        if bits < 16:
            notes.append(f"The grey values use {bits} bits and were read on that scale.")
        scale = 255 / (2**bits - 1)
    else:
        notes.append("The grey values have no known scale. Their full range is shown.")
        shift, scale = low, 255 / (high - low) if high > low else 0.0
    # WhiteIsZero of TIFF, which Pillow undoes only for 8 bits and less.
    white_is_zero = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0

    def levels(rows: slice) -> np.ndarray:
        grey = _as_floats(_cut(image, rows))
        with np.errstate(over="ignore"):  # the range of floats may exceed their type
            if shift:
                grey -= shift
            grey *= scale
        np.minimum(grey, 255, out=grey)
        return 255 - grey if white_is_zero else grey

    return assemble(levels, image.height, image.width, np.float32)


def _as_floats(strip: Image.Image) -> np.ndarray:
    grey = np.asarray(strip).astype(np.float32)  # a copy, to be changed in place
    if strip.mode[0] == "F":
        np.nan_to_num(grey, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return grey


def _cut(image: Image.Image, rows: slice) -> Image.Image:
    return image.crop((0, rows.start, image.width, rows.stop))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block does not make the image unreadable
        return 1


def _upright(levels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation of 1 to 8 (TIFF 6.0, tag 274)."""
    if orientation == 1:
        return levels
    image = Image.fromarray(levels)
    # Only the orientation is copied: other fields of a damaged EXIF block could fail.
    image.getexif()[_ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))
