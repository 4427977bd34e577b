"""From the bytes of a DICOM file to its header and the stored pixels of its first frame.

Nothing in a file is believed: what it declares is checked against what it holds before anything
of that size is allocated, and only the elements named here are read, so that no name, date or
number of a patient is ever decoded.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from xray_core.errors import UnreadableImage
from xray_core.imaging.decoding_memory import Place
from xray_core.imaging.dicom.decode import (
    compressed_bytes,
    compressed_frame,
    frame_bytes,
    native_bytes,
    native_frame,
)

# What a header may cost: reads (about 5 microseconds each), and bytes of one element. The largest
# element wanted is a sequence of lookup tables of at most 128 KB each.
_MAX_READS = 200_000
_MAX_ELEMENT_BYTES = 2**20

_GE_PRIVATE = "1.2.840.113619.5.2"  # implicit VR little endian with big-endian pixels
_PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_UNDEFINED = 0xFFFFFFFF

# All of group 28, which describes pixels, and what tells an image's kind. Nothing else is read.
_TAGS: list[BaseTag | int] = [Tag(tag) for tag in DicomDictionary if tag >> 16 == 0x0028]
_TAGS += map(
    Tag,
    (
        "SOPClassUID",
        "Modality",
        "ViewPosition",
        "ViewCodeSequence",
        "BodyPartExamined",
        "PatientAge",
        "PresentationIntentType",
        "SeriesDescription",
        "ProtocolName",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
    ),
)


@dataclass(frozen=True)
class StoredImage:
    """A header and the stored values of the first frame, before any lookup table.

    `values` is (H, W) for grey and palette, (H, W, 3) for colour; `photometric` says which colour
    space `values` are in (a decoder may have changed the header's).
    """

    header: Dataset
    values: np.ndarray
    photometric: str
    frames: int
    compressed: bool


def read_stored_image(data: bytes, max_pixels: int, place: Place) -> StoredImage:
    """Read header and first frame of a DICOM file, checking sizes before decoding.

    Waits for a place in memory before it decodes.

    Raises `UnreadableImage` where the file holds no image or one that cannot be decoded; damaged
    content may raise anything else, which the caller has to catch.
    """
    stream = _Metered(data)
    stream.seek(132 if data[128:132] == b"DICM" else 0)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = UID(str(value(meta, "TransferSyntaxUID") or "").strip())
    if syntax == DeflatedExplicitVRLittleEndian:
        data = _inflated(stream.read(), limit=max_pixels * 2)
        stream = _Metered(data)
    # Elements of a network command (group 0) may precede the data set.
    read_dataset(stream, True, True, stop_when=lambda tag, vr, length: tag >> 16 != 0)
    implicit, little = _encoding(stream, syntax)
    header = read_dataset(
        stream,
        implicit,
        little,
        stop_when=lambda tag, vr, length: int(tag) in _PIXELS,
        defer_size=_MAX_ELEMENT_BYTES,
        specific_tags=_TAGS,
    )
    for tag in list(header.keys()):
        if header.get_item(tag, keep_deferred=True).value is None:  # put off because of its size
            del header[tag]
    implicit, little = map(bool, header.original_encoding)
    keyword, length = _pixel_element(stream, implicit, little)
    if not keyword or length == 0:
        raise UnreadableImage(_not_an_image(header, meta))
    options = _geometry(header, keyword, max_pixels)
    frames = options["number_of_frames"]
    start = stream.tell()
    if length != _UNDEFINED and not _mislabelled(data[start : start + 4], length, options, syntax):
        big = not little or syntax == _GE_PRIVATE
        place.take(native_bytes(options))
        values, photometric = native_frame(memoryview(data)[start:], length, options, big)
        return StoredImage(header, values, photometric, frames, compressed=False)
    frame = get_frame(stream, 0, number_of_frames=frames)
    place.take(compressed_bytes(frame, options))
    values, photometric = compressed_frame(frame, options, syntax)
    return StoredImage(header, values, photometric, frames, compressed=True)


def value(dataset: Dataset, keyword: str) -> object | None:
    """Give an element's value, or None where it is absent, empty or undecodable."""
    try:
        found = dataset.get(keyword)
    except Exception:  # pydicom raises whatever a malformed value makes it raise
        return None
    return None if found in ("", b"", []) else found


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Give a sequence's items; none where it is absent or malformed."""
    found = value(dataset, keyword)
    return (
        [item for item in found if isinstance(item, Dataset)] if isinstance(found, Sequence) else []
    )


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """Give an element's values as numbers; none where it is absent or malformed."""
    found = value(dataset, keyword)
    if found is None or isinstance(found, bytes):
        return []
    several = [found] if isinstance(found, str) or not isinstance(found, Sequence) else list(found)
    try:
        return [float(str(number)) for number in several]
    except ValueError:
        return []


class _Metered(io.BytesIO):
    """Bytes that refuse to be read in absurdly many pieces, such as millions of empty elements."""

    reads_left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise UnreadableImage("The DICOM file's header is too long to be that of an image.")
        return super().read(size)


def _inflated(deflated: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(deflated, limit + 2**20)
    if inflater.unconsumed_tail:
        raise UnreadableImage("The DICOM file unpacks to more data than any image has.")
    return data


def _encoding(stream: io.BytesIO, syntax: UID) -> tuple[bool, bool]:
    """Give (implicit VR, little endian), believing the first element over the file's claim."""
    start = stream.tell()
    first = stream.read(6)
    stream.seek(start)
    if len(first) < 6:
        raise UnreadableImage("The DICOM file ends before its image begins.")
    little_group, big_group = struct.unpack("<H", first[:2])[0], struct.unpack(">H", first[:2])[0]
    little = syntax != ExplicitVRBigEndian
    if min(little_group, big_group) < 0x100:
        little = little_group < big_group
    implicit = syntax in (ImplicitVRLittleEndian, _GE_PRIVATE)
    if not syntax:
        implicit = not (first[4:6].isalpha() and first[4:6].isupper())
    return implicit, little


def _pixel_element(stream: io.BytesIO, implicit: bool, little: bool) -> tuple[str, int]:
    order = "<" if little else ">"
    head = stream.read(8)
    if len(head) < 8:
        return "", 0
    group, element, length = struct.unpack(f"{order}HHL", head)
    if not implicit and head[4:6].isalpha():
        length = struct.unpack(f"{order}L", stream.read(4))[0]
    return _PIXELS.get(group << 16 | element, ""), length


def _geometry(header: Dataset, keyword: str, max_pixels: int) -> dict:
    """Collect pydicom's decoding options, with the standard's defaults for what old files omit."""

    def number(name: str, default: int) -> int:
        digits = re.match(r"\s*(\d+)", str(value(header, name)))
        return int(digits[1]) if digits else default

    rows, columns = number("Rows", 0), number("Columns", 0)
    if rows < 1 or columns < 1:
        raise UnreadableImage("The DICOM file does not say how many rows and columns it has.")
    samples = number("SamplesPerPixel", 1)
    if samples not in (1, 3):
        raise UnreadableImage(f"The DICOM file has {samples} values a pixel; 1 or 3 can be read.")
    if rows * columns * samples > max_pixels:
        raise UnreadableImage(
            f"The DICOM file claims {rows} x {columns} pixels, more than any image has."
        )
    allocated = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(
        keyword, number("BitsAllocated", 0)
    )
    if allocated not in (1, 8, 16, 32, 64):
        raise UnreadableImage(f"The DICOM file stores {allocated} bits a pixel, which is unusual.")
    photometric = str(value(header, "PhotometricInterpretation") or "").strip().upper()
    if samples == 1 and photometric not in ("MONOCHROME1", "PALETTE COLOR"):
        photometric = "MONOCHROME2"
    if samples == 3 and not photometric.startswith("YBR"):
        photometric = "RGB"
    return {
        "pixel_keyword": keyword,
        "rows": rows,
        "columns": columns,
        "samples_per_pixel": samples,
        "bits_allocated": allocated,
        "bits_stored": min(max(number("BitsStored", allocated), 1), allocated),
        "pixel_representation": number("PixelRepresentation", 0) & 1,
        "planar_configuration": number("PlanarConfiguration", 0) & 1,
        "photometric_interpretation": photometric,
        "number_of_frames": max(number("NumberOfFrames", 1), 1),
    }


def _mislabelled(first: bytes, length: int, options: dict, syntax: UID) -> bool:
    """Tell whether pixels of defined length are compressed all the same, as some writers do."""
    compressed = bool(syntax) and syntax.is_transfer_syntax and syntax.is_compressed
    return first == b"\xfe\xff\x00\xe0" and compressed and length < frame_bytes(options)


def _not_an_image(header: Dataset, meta: Dataset) -> str:
    kind = UID(str(value(header, "SOPClassUID") or value(meta, "MediaStorageSOPClassUID") or ""))
    words = f"{kind.name} {value(header, 'Modality') or ''}"
    if "Media Storage Directory" in words:
        return "This is the table of contents of a DICOM disc; please choose one of its images."
    for sign, what in (
        ("SR", "a report"),
        ("PDF", "a document"),
        ("CDA", "a document"),
        ("Waveform", "a waveform such as an ECG"),
        ("ECG", "a waveform such as an ECG"),
        ("RT", "radiotherapy data"),
        ("Presentation State", "display settings"),
        ("Key Object", "a list of images"),
    ):
        if sign in words:
            return f"This DICOM file holds {what}, not an image."
    return "This DICOM file holds no image."
