"""The one door for pixels: a file becomes a `Radiograph`, and that the model's input."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

from xray_core.errors import UnreadableImage
from xray_core.file_kinds import DAMAGED, is_dicom, not_an_image
from xray_core.quiet import quiet, silence_libtiff

# The largest radiographic detectors have 19 megapixels, mammography 29, a phone's camera 50. At 64
# megapixels the float32 film takes 256 MB, which a server of 1 GB still survives.
MAX_PIXELS = 64_000_000
MAX_BYTES = 200 * 2**20
MODEL_SIZE = (224, 224)

# Decoders that an upload may reach. Pillow knows some forty more, few of them hardened.
PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")

_DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A decoded film and what the checks need to know about it, without anyone's identity.

    `pixels` is float32 (H, W), grey in [0, 255], upright, bone bright, and read-only.
    `original_size` is (height, width) as stored, before any turning.
    `had_colour` tells whether the colour channels differed noticeably.
    `age_years` is the patient's age, only to warn of ages that the model does not know.
    `windows` names the DICOM windows that `read_radiograph(..., window=i)` can choose from.
    """

    pixels: np.ndarray
    original_size: tuple[int, int]
    had_colour: bool = False
    source_format: str = "array"
    modality: str | None = None
    view: str | None = None
    body_part: str | None = None
    age_years: float | None = None
    frames: int = 1
    notes: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    colour_mode: str = ""  # Pillow's name of the stored mode ("L", "RGB"); "" for DICOM


def read_radiograph(
    source: str | os.PathLike[str] | bytes | BinaryIO, *, window: int = 0
) -> Radiograph:
    """Read a film from a path, bytes or a file object (JPEG, PNG, TIFF, BMP, GIF, WebP or DICOM).

    The content decides the format, never the name. `window` chooses among a DICOM file's windows;
    one that does not exist counts as the first.
    Raises `UnreadableImage`, and nothing else, whatever the content.
    """
    data = _read_bytes(source)
    try:
        with quiet("PIL"):
            return _read_dicom(data, window) if is_dicom(data) else _read_picture(data)
    except UnreadableImage:
        raise
    except MemoryError:
        raise UnreadableImage("The image is too large for this computer's memory.") from None
    except (Exception, RecursionError):
        raise UnreadableImage(DAMAGED) from None


def to_model_input(pixels: np.ndarray | Radiograph) -> np.ndarray:
    """Resize a film to the network's input; the one resize, for training and application alike.

    Takes grey (H, W) or (H, W, 1) in [0, 255] and gives float32 (224, 224, 1), whole grey levels
    in [0, 255]. The aspect ratio is not kept, as in the training films. Shrinking averages over
    the area: the same network fed by nearest-neighbour resizing loses a third of its specificity.
    An image of 224 x 224 passes unchanged but for rounding. Raises `ValueError` for another shape
    or range.
    """
    grey = pixels.pixels if isinstance(pixels, Radiograph) else _checked_grey(pixels)
    if grey.shape != MODEL_SIZE:
        film = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))  # mode "F"
        # Pillow's BILINEAR widens its kernel when shrinking, so that every pixel counts.
        grey = np.asarray(film.resize(MODEL_SIZE[::-1], Image.Resampling.BILINEAR))
    # Whole levels, so that caches can hold bytes; the training films have 8 bits, too.
    levels = np.clip(np.rint(grey), 0, 255).astype(np.float32)
    return levels[:, :, np.newaxis]  # (224, 224) -> (224, 224, 1)


def turned(radiograph: Radiograph, quarter_turns: int = 0, inverted: bool = False) -> Radiograph:
    """Turn a film clockwise by quarter turns and, if asked, exchange black and white."""
    pixels = np.rot90(radiograph.pixels, -quarter_turns)
    if inverted:
        pixels = np.float32(255) - pixels
    return replace(radiograph, pixels=_frozen(pixels))


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


def _read_bytes(source: str | os.PathLike[str] | bytes | BinaryIO) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            if not path.is_file():
                raise UnreadableImage("The file does not exist or is not a file.")
            if path.stat().st_size > MAX_BYTES:
                raise UnreadableImage(_too_many_bytes())
            data = path.read_bytes()
        except (OSError, ValueError):
            raise UnreadableImage("The file cannot be opened; may this program read it?") from None
    elif hasattr(source, "read"):
        try:
            if source.seekable():
                source.seek(0)
            data = source.read(MAX_BYTES + 1)
        except (OSError, ValueError):
            raise UnreadableImage("The file cannot be read to its end.") from None
    else:
        raise TypeError(f"Expected a path, bytes or a file object. Received: {type(source)}")
    if len(data) > MAX_BYTES:
        raise UnreadableImage(_too_many_bytes())
    if not data:
        raise UnreadableImage("The file is empty.")
    return data


def _read_picture(data: bytes) -> Radiograph:
    silence_libtiff()
    try:
        image = Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(_too_many_pixels()) from None
    except UnidentifiedImageError:
        raise UnreadableImage(not_an_image(data)) from None
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise UnreadableImage(_too_many_pixels())
        colour_mode = image.mode
        source_format = "JPEG" if image.format == "MPO" else str(image.format)
        frames = getattr(image, "n_frames", 1)
        notes = [f"Only the first of {frames} frames was read."] if frames > 1 else []
        if getattr(image, "tag_v2", {}).get(274, 1) >= 5:
            width, height = height, width  # Pillow gives the size of TIFF as it is to be turned
        image.load()
        orientation = _orientation(image)  # after load(), which turns TIFF upright by itself
        grey, had_colour = _to_grey(image, notes)
    return Radiograph(
        pixels=_frozen(_upright(grey, orientation)),
        original_size=(height, width),
        had_colour=had_colour,
        source_format=source_format,
        frames=frames,
        notes=tuple(notes),
        colour_mode=colour_mode,
    )


def _read_dicom(data: bytes, window: int) -> Radiograph:
    from xray_core.dicom import read_dicom  # pydicom costs half a second, and few files need it

    film = read_dicom(data, window=window, max_pixels=MAX_PIXELS)
    pixels, had_colour = film.pixels, False
    if pixels.ndim == 3:  # (H, W, 3) -> (H, W)
        image = Image.fromarray(pixels)
        pixels, had_colour = np.asarray(image.convert("L")), _has_colour(image)
    return Radiograph(
        pixels=_frozen(pixels),
        original_size=(pixels.shape[0], pixels.shape[1]),
        had_colour=had_colour,
        source_format="DICOM",
        modality=film.modality,
        view=film.view,
        body_part=film.body_part,
        age_years=film.age_years,
        frames=film.frames,
        notes=film.notes,
        windows=film.windows,
    )


def _to_grey(image: Image.Image, notes: list[str]) -> tuple[np.ndarray, bool]:
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"), dtype=np.float32), False
    if image.mode[0] in "IF":
        grey = _scaled(np.asarray(image), notes)
        # TIFF's WhiteIsZero (tag 262), which Pillow undoes for shallow pixels only.
        tags = getattr(image, "tag_v2", {})
        return 255 - grey if tags.get(262) == 0 else grey, False
    levels = image.convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        if "A" not in image.getbands():
            image = image.convert("RGBA")
        alpha = image.getchannel("A")
        # Some exporters write an alpha of zero everywhere; the film is there all the same.
        if alpha.getbbox() is not None:
            levels = ImageChops.multiply(levels, alpha)  # on black
    return np.asarray(levels, dtype=np.float32), _has_colour(image)


def _has_colour(image: Image.Image) -> bool:
    # A grid of samples tells a photograph as surely as all pixels, at no cost.
    size = (min(image.width, 64), min(image.height, 64))
    sample = image.resize(size, Image.Resampling.NEAREST)
    if sample.mode != "RGB":
        sample = sample.convert("RGB")
    # (h, w, 3) -> (3, h * w), each channel in one piece
    channels = np.ascontiguousarray(np.asarray(sample).reshape(-1, 3).T)
    apart = channels.max(axis=0) - channels.min(axis=0)
    return bool(np.count_nonzero(apart > 20) > 0.005 * apart.size)


def _scaled(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Scale deep pixels to [0, 255]: by bit range where that can be told, else by their extremes.

    Whole numbers from 0 to 65,535 are scaled by the smallest of 8, 10, 12, 14 and 16 bits that
    holds the largest: PNG and TIFF cannot say that a detector's 12 bits lie in their 16.
    Floats up to 1 are taken for [0, 1]. All else (negative, larger) is stretched, with a note.
    """
    grey = values.astype(np.float32)  # a copy, to be changed in place
    if values.dtype.kind == "f":
        np.nan_to_num(grey, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        grey *= 255
    elif low >= 0 and high <= 65_535:
        bits = next(depth for depth in _DEPTHS if high <= 2**depth - 1)
        if bits < 16:
            notes.append(f"The grey values use {bits} bits and were read on that scale.")
        grey *= 255 / (2**bits - 1)
    else:
        notes.append("The grey values have no known scale; darkest and brightest were stretched.")
        grey -= low
        grey *= 255 / (high - low) if high > low else 0
    return grey


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a damaged EXIF block does not make the film unreadable
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation of 1 to 8 (TIFF 6.0, tag 274)."""
    if orientation == 1:
        return pixels
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarter_turns)


def _frozen(pixels: np.ndarray) -> np.ndarray:
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    pixels.flags.writeable = False
    return pixels


def _too_many_pixels() -> str:
    return f"The image has more than {MAX_PIXELS // 10**6} megapixels, more than any film has."


def _too_many_bytes() -> str:
    return f"The file is larger than {MAX_BYTES // 2**20} MB. Please export a single film."
