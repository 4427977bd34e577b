"""Read a file of any supported format into a `Radiograph`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from xray_core.errors import UnreadableImage
from xray_core.imaging.adjustment import UNADJUSTED, Adjustment
from xray_core.imaging.decode import read_picture
from xray_core.imaging.decoder_logs import suppress_logs
from xray_core.imaging.decoding_memory import Reservation
from xray_core.imaging.file_types import DAMAGED, is_dicom
from xray_core.imaging.full_depth import FullDepth

# The largest radiographic detectors have 19 megapixels, mammography 29, a phone camera 50.
MAX_PIXELS = 64_000_000
MAX_BYTES = 200 * 2**20

Source = str | os.PathLike[str] | bytes | BinaryIO


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A decoded image with what the checks need to know about it. It holds no patient identity.

    Parameters
    ----------
    pixels : ndarray of float32, shape (H, W)
        Grey levels in [0, 255], upright, bone bright, read-only. An image of more than 20
        megapixels is held at half its height and width.
    original_size : tuple of int
        (height, width) as stored, before rotation and halving.
    had_colour : bool
        True if the colour channels differ noticeably.
    source_format : str
        "JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "DICOM", or "array" for pixels from memory.
    modality, view, body_part : str or None
        DICOM Modality (0008,0060), View Position (0018,5101), Body Part Examined (0018,0015).
    age_years : float or None
        Patient's Age (0010,1010), used only to warn about ages outside the training data.
    frames : int
        Number of frames in the file. Only the first is read.
    notes : tuple of str
        Sentences about what was noticed while reading.
    windows : tuple of str
        Names of the DICOM windows that ``read_radiograph(..., window=i)`` selects.
    colour_mode : str
        Pillow's name of the stored mode, such as "L" or "RGB"; "" for DICOM.
    pixel_spacing : tuple of float or None
        Distance between the rows and between the columns of `pixels` in mm, where a DICOM file
        states it.
    spacing_at_detector : bool
        True if that distance is measured at the detector, where the chest is magnified.
    full_depth : FullDepth or None
        The values of a DICOM image before its window, if requested: for display, never for the
        model.
    adjustment : Adjustment
        What a reader changed in the image since.
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
    colour_mode: str = ""
    pixel_spacing: tuple[float, float] | None = None
    spacing_at_detector: bool = False
    full_depth: FullDepth | None = None
    adjustment: Adjustment = UNADJUSTED


def read_radiograph(source: Source, *, window: int = 0, full_depth: bool = False) -> Radiograph:
    """Read an image from a path, bytes or a file object (JPEG, PNG, TIFF, BMP, GIF, WebP, DICOM).

    The format is recognised by the content, not by the file name.

    Parameters
    ----------
    source : path, bytes or binary file object
        At most 200 MB.
    window : int
        Index into the windows of a DICOM file. An index out of range selects the first.
    full_depth : bool
        Whether to keep the values of a DICOM image before its window as well.

    Returns
    -------
    Radiograph

    Raises
    ------
    UnreadableImage
        If the content cannot be read for any reason. No other exception is raised for it.
    """
    with open_radiograph(source, window=window, full_depth=full_depth) as radiograph:
        return radiograph


@contextmanager
def open_radiograph(
    source: Source, *, window: int = 0, full_depth: bool = False
) -> Iterator[Radiograph]:
    """Read an image as `read_radiograph` does, and reserve memory for it until the block ends.

    Concurrent decodes wait for each other if together they would need too much memory; see
    `decoding_memory`. Do not read another image inside the block: it could wait for this one.

    Parameters
    ----------
    source : path, bytes or binary file object
    window : int
        Index into the windows of a DICOM file.
    full_depth : bool
        As in `read_radiograph`.

    Yields
    ------
    Radiograph

    Raises
    ------
    UnreadableImage
        If the content cannot be read.
    """
    with Reservation() as reservation:
        radiograph = _decode(_read_bytes(source), window, reservation, full_depth)
        reservation.shrink(2 * radiograph.pixels.nbytes)
        yield radiograph


def read_only(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as a contiguous, read-only float32 array, copied only if needed.

    Parameters
    ----------
    pixels : ndarray, shape (H, W)

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    pixels.flags.writeable = False
    return pixels


def _decode(
    data: bytes, window: int, reservation: Reservation, full_depth: bool = False
) -> Radiograph:
    try:
        with suppress_logs("PIL"):
            if is_dicom(data):
                return _read_dicom(data, window, reservation, full_depth)
            return _read_picture(data, reservation)
    except UnreadableImage as error:
        problem = str(error)
    except MemoryError:
        problem = "The image is too large for this computer's memory."
    except (Exception, RecursionError):
        problem = DAMAGED
    # Raised outside the handlers: the handled exception would keep half-decoded pixels alive.
    reservation.shrink(0)
    raise UnreadableImage(problem)


def _read_bytes(source: Source) -> bytes:
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
            raise UnreadableImage(
                "The file cannot be opened. Check that this program may read it."
            ) from None
    elif hasattr(source, "read"):
        try:
            if source.seekable():
                source.seek(0)
            data = bytes(source.read(MAX_BYTES + 1))
        except MemoryError:
            raise
        except Exception:  # a reader of compressed or remote files raises errors of its own
            raise UnreadableImage("The file cannot be read to its end.") from None
    else:
        raise TypeError(f"Expected a path, bytes or a file object. Received: {type(source)}")
    if len(data) > MAX_BYTES:
        raise UnreadableImage(_too_many_bytes())
    if not data:
        raise UnreadableImage("The file is empty.")
    return data


def _too_many_bytes() -> str:
    return f"The file is larger than {MAX_BYTES // 2**20} MB. Please export a single image."


def _read_picture(data: bytes, reservation: Reservation) -> Radiograph:
    picture = read_picture(data, max_pixels=MAX_PIXELS, reservation=reservation)
    return Radiograph(
        pixels=read_only(picture.levels),
        original_size=picture.original_size,
        had_colour=picture.had_colour,
        source_format=picture.source_format,
        frames=picture.frames,
        notes=picture.notes,
        colour_mode=picture.mode,
    )


def _read_dicom(data: bytes, window: int, reservation: Reservation, full_depth: bool) -> Radiograph:
    # pydicom takes half a second to import, and few files need it.
    from xray_core.imaging.dicom.read import read_dicom

    image = read_dicom(
        data,
        window=window,
        max_pixels=MAX_PIXELS,
        reservation=reservation,
        full_depth=full_depth,
    )
    return Radiograph(
        pixels=read_only(image.levels),
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
        pixel_spacing=image.pixel_spacing,
        spacing_at_detector=image.spacing_at_detector,
        full_depth=image.full_depth,
    )
