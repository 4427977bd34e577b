"""The one door for pixels: a file becomes a `Radiograph`, and that the model's input."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from xray_core.errors import UnreadableImage
from xray_core.imaging.decode import read_picture
from xray_core.imaging.decoder_logs import quiet
from xray_core.imaging.decoding_memory import Place, strips
from xray_core.imaging.file_types import DAMAGED, is_dicom

# The largest radiographic detectors have 19 megapixels, mammography 29, a phone's camera 50.
MAX_PIXELS = 64_000_000
MAX_BYTES = 200 * 2**20
MODEL_SIZE = (224, 224)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A decoded image and what the checks need to know about it, without anyone's identity.

    `pixels` is float32 (H, W), grey in [0, 255], upright, bone bright, and read-only. Of an image
    of more than 20 megapixels, more than any detector for chest X-rays has, each averages 2 x 2.
    `original_size` is (height, width) as stored, before any turning or averaging.
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
    """Read an image from a path, bytes or a file object (JPEG, PNG, TIFF, BMP, GIF, WebP or DICOM).

    The content decides the format, never the name. `window` chooses among a DICOM file's windows;
    one that does not exist counts as the first.
    Raises `UnreadableImage`, and nothing else, whatever the content.
    """
    with reading(source, window=window) as radiograph:
        return radiograph


@contextmanager
def reading(
    source: str | os.PathLike[str] | bytes | BinaryIO, *, window: int = 0
) -> Iterator[Radiograph]:
    """Read an image as `read_radiograph` does, and keep its place in memory until the block ends.

    Decodes of this process wait for each other where together they would take too much; see
    `decoding_memory`. Read no other image within the block: it might wait for this one.
    """
    with Place() as place:
        radiograph = _decoded(_read_bytes(source), window, place)
        place.keep(2 * radiograph.pixels.nbytes)
        yield radiograph


def _decoded(data: bytes, window: int, place: Place) -> Radiograph:
    try:
        with quiet("PIL"):
            return (_read_dicom if is_dicom(data) else _read_picture)(data, window, place)
    except UnreadableImage as error:
        problem = str(error)
    except MemoryError:
        problem = "The image is too large for this computer's memory."
    except (Exception, RecursionError):
        problem = DAMAGED
    # Raised out here: an error within the handlers would hold on to half-decoded pixels.
    place.keep(0)
    raise UnreadableImage(problem)


def to_model_input(pixels: np.ndarray | Radiograph) -> np.ndarray:
    """Resize an image to the network's input; the one resize, for training and application alike.

    Takes grey (H, W) or (H, W, 1) in [0, 255] and gives float32 (224, 224, 1), whole grey levels
    in [0, 255]. The aspect ratio is not kept, as in the training images. Shrinking averages over
    the area: the same network fed by nearest-neighbour resizing loses a third of its specificity.
    An image of 224 x 224 passes unchanged but for rounding. Raises `ValueError` for another shape
    or range.
    """
    grey = pixels.pixels if isinstance(pixels, Radiograph) else _checked_grey(pixels)
    if grey.shape != MODEL_SIZE:
        # Pillow resizes across and then down, so that strips give the same as the whole at once,
        # and no copy of the whole is needed. (H, W) -> (H, 224) -> (224, 224)
        narrow = [_resized(grey[rows], MODEL_SIZE[1]) for rows in strips(*grey.shape)]
        grey = _resized(np.concatenate(narrow), *MODEL_SIZE)
    # Whole levels, so that caches can hold bytes; the training images have 8 bits, too.
    levels = np.clip(np.rint(grey), 0, 255).astype(np.float32)
    return levels[:, :, np.newaxis]  # (224, 224) -> (224, 224, 1)


def _resized(grey: np.ndarray, width: int, height: int | None = None) -> np.ndarray:
    """Resize (H, W) to (height, width), without a height only across."""
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))  # mode "F"
    # Pillow's BILINEAR widens its kernel when shrinking, so that every pixel counts.
    return np.asarray(image.resize((width, height or len(grey)), Image.Resampling.BILINEAR))


def rotate(radiograph: Radiograph, quarter_turns: int = 0, inverted: bool = False) -> Radiograph:
    """Turn an image clockwise by quarter turns and, if asked, exchange black and white."""
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


def _read_picture(data: bytes, window: int, place: Place) -> Radiograph:
    picture = read_picture(data, max_pixels=MAX_PIXELS, place=place)
    return Radiograph(
        pixels=_frozen(picture.levels),
        original_size=picture.original_size,
        had_colour=picture.had_colour,
        source_format=picture.source_format,
        frames=picture.frames,
        notes=picture.notes,
        colour_mode=picture.mode,
    )


def _read_dicom(data: bytes, window: int, place: Place) -> Radiograph:
    from xray_core.imaging.dicom.display import (
        read_dicom,  # pydicom costs half a second, and few files need it
    )

    image = read_dicom(data, window=window, max_pixels=MAX_PIXELS, place=place)
    return Radiograph(
        pixels=_frozen(image.pixels),
        original_size=image.original_size,
        had_colour=image.had_colour,
        source_format="DICOM",
        modality=image.modality,
        view=image.view,
        body_part=image.body_part,
        age_years=image.age_years,
        frames=image.frames,
        notes=image.notes,
        windows=image.windows,
    )


def _frozen(pixels: np.ndarray) -> np.ndarray:
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    pixels.flags.writeable = False
    return pixels


def _too_many_bytes() -> str:
    return f"The file is larger than {MAX_BYTES // 2**20} MB. Please export a single image."
