"""Read the header of a DICOM file. No declared value is trusted before it is checked.

Only the elements listed here are read, so that no name, date or number of a patient is decoded
when an image is. A DICOM result needs them; `pacs.source` requests them for that purpose alone.
All other DICOM modules read elements through `value`, `items` and `numbers`.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from xray_core.errors import UnreadableImage
from xray_core.imaging.decoding_memory import Reservation

# Limits of a header: reads (about 5 microseconds each), and bytes of one element. The largest
# element that is needed is a sequence of lookup tables of at most 128 KB each.
_MAX_READS = 200_000
_MAX_ELEMENT_BYTES = 2**20

_GE_PRIVATE = "1.2.840.113619.5.2"  # implicit VR little endian with big-endian pixels
_PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
UNDEFINED_LENGTH = 0xFFFFFFFF
# Radiography; other (OT) and secondary capture (SC) are used by digitisers and screen captures.
_XRAY_MODALITIES = ("CR", "DX", "RG", "OT", "SC")
_CHEST = ("CHEST", "THORAX", "LUNG")
_LATERAL_VIEWS = ("LL", "RL", "LATERAL", "LAT")
RAW_DETECTOR_DATA = "The file contains raw detector data, not an image processed for viewing."
_DAYS_PER_UNIT = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}

# All of group 28, which describes pixels, their distance at the detector, and the elements that
# state the type of an image.
_TAGS: list[BaseTag | int] = [Tag(tag) for tag in DicomDictionary if tag >> 16 == 0x0028]
_TAGS += map(
    Tag,
    (
        "SOPClassUID",
        "Modality",
        "ViewPosition",
        "ImagerPixelSpacing",
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


@dataclass(frozen=True, eq=False)
class DicomFile:
    """The header of a DICOM file, and where its pixels start.

    Parameters
    ----------
    header : pydicom.Dataset
        The elements that are read.
    options : dict
        pydicom's decoding options, checked: `rows`, `columns`, `samples_per_pixel`, ...
    syntax : pydicom.uid.UID
        Transfer Syntax UID (0002,0010) as declared; "" if the file has none.
    big_endian : bool
        Byte order of uncompressed pixels.
    data : bytes
        The file, inflated if it was deflated.
    stream : io.BytesIO
        Over `data`, at the first byte of the value of Pixel Data.
    length : int
        Declared length of Pixel Data in bytes, or `UNDEFINED_LENGTH`.
    inflated : int
        Bytes of `data` if it was inflated, which are held beside the file; else 0.
    """

    header: Dataset
    options: dict
    syntax: UID
    big_endian: bool
    data: bytes
    stream: io.BytesIO
    length: int
    inflated: int = 0


def read_header(
    data: bytes,
    max_pixels: int,
    reservation: Reservation,
    further_tags: Collection[BaseTag] = (),
) -> DicomFile:
    """Read the header of a DICOM file up to its pixels, and check the sizes that it declares.

    Parameters
    ----------
    data : bytes
        The whole file, with or without preamble (PS3.10, section 7.1).
    max_pixels : int
        Larger images are refused.
    reservation : Reservation
        Acquires the larger pool as a whole before a deflated file is inflated, and keeps it.
    further_tags : collection of pydicom.tag.BaseTag
        Elements to read besides those listed in this module.

    Returns
    -------
    DicomFile

    Raises
    ------
    UnreadableImage
        If the file contains no image, or one that cannot be decoded. Damaged content may raise any
        exception, which the caller catches.
    """
    stream = _MeteredStream(data)
    stream.seek(132 if data[128:132] == b"DICM" else 0)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = UID(str(value(meta, "TransferSyntaxUID") or "").strip())
    inflated = 0
    if syntax == DeflatedExplicitVRLittleEndian:
        reservation.acquire_all()
        data = _inflate(stream.read(), limit=max_pixels * 2)
        inflated = len(data)
        stream = _MeteredStream(data)
    # Elements of a network command (group 0) may precede the data set.
    read_dataset(stream, True, True, stop_when=lambda tag, vr, length: tag >> 16 != 0)
    implicit, little = _encoding(stream, syntax)
    header = read_dataset(
        stream,
        implicit,
        little,
        stop_when=lambda tag, vr, length: int(tag) in _PIXELS,
        defer_size=_MAX_ELEMENT_BYTES,
        specific_tags=[*_TAGS, *further_tags],
    )
    for tag in list(header.keys()):
        if header.get_item(tag, keep_deferred=True).value is None:  # deferred because of its size
            del header[tag]
    implicit, little = map(bool, header.original_encoding)
    keyword, length = _pixel_element(stream, implicit, little)
    if not keyword or length == 0:
        raise UnreadableImage(_not_an_image(header, meta))
    options = _decoding_options(header, keyword, max_pixels)
    big_endian = not little or syntax == _GE_PRIVATE
    return DicomFile(header, options, syntax, big_endian, data, stream, length, inflated)


def value(dataset: Dataset, keyword: str) -> object | None:
    """Return the value of an element, or None if it is absent, empty or malformed.

    Parameters
    ----------
    dataset : pydicom.Dataset
    keyword : str
        DICOM keyword, such as "WindowCenter".

    Returns
    -------
    object or None
    """
    try:
        result = dataset.get(keyword)
    except Exception:  # a malformed value can raise any exception in pydicom
        return None
    return None if result in ("", b"", []) else result


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; an empty list if it is absent or malformed.

    Parameters
    ----------
    dataset : pydicom.Dataset
    keyword : str

    Returns
    -------
    list of pydicom.Dataset
    """
    sequence = value(dataset, keyword)
    if not isinstance(sequence, Sequence):
        return []
    return [item for item in sequence if isinstance(item, Dataset)]


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """Return the values of an element as numbers; an empty list if it is absent or malformed.

    Parameters
    ----------
    dataset : pydicom.Dataset
    keyword : str

    Returns
    -------
    list of float
    """
    values = value(dataset, keyword)
    if values is None or isinstance(values, bytes):
        return []
    several = [values] if isinstance(values, str) or not isinstance(values, Sequence) else values
    try:
        return [float(str(number)) for number in several]
    except ValueError:
        return []


def code_string(header: Dataset, keyword: str) -> str | None:
    """Return a code string (PS3.5, section 6.2) such as a modality.

    Parameters
    ----------
    header : pydicom.Dataset
    keyword : str

    Returns
    -------
    str or None
        In upper case. None if the element is absent or is not a valid code, since free text could
        contain a name.
    """
    text = str(value(header, keyword) or "").strip().upper()
    return text if re.fullmatch(r"[A-Z0-9 _]{1,16}", text) else None


def type_cautions(header: Dataset, frames: int) -> list[str]:
    """Return what in the header contradicts a frontal chest X-ray made for viewing.

    Parameters
    ----------
    header : pydicom.Dataset
        Modality (0008,0060), Body Part Examined (0018,0015), Presentation Intent Type (0008,0068)
        and the elements that `is_lateral` reads.
    frames : int

    Returns
    -------
    list of str
        Sentences.
    """
    notes = []
    if frames > 1:
        notes.append(f"Only the first of {frames} frames was read.")
    notes.extend(not_a_frontal_chest(header))
    if value(header, "PresentationIntentType") == "FOR PROCESSING":
        notes.append(RAW_DETECTOR_DATA)
    return notes


def not_a_frontal_chest(header: Dataset) -> list[str]:
    """Return why an image is no frontal chest X-ray according to its own header.

    Parameters
    ----------
    header : pydicom.Dataset
        Modality (0008,0060), Body Part Examined (0018,0015) and the elements that `is_lateral`
        reads.

    Returns
    -------
    list of str
        Sentences; empty if nothing in the header contradicts it.
    """
    reasons = []
    modality = code_string(header, "Modality")
    body_part = code_string(header, "BodyPartExamined")
    if modality and modality not in _XRAY_MODALITIES:
        reasons.append(f"According to the file, this is not an X-ray (modality {modality}).")
    if body_part and not any(chest in body_part for chest in _CHEST):
        reasons.append(f"According to the file, this is not a chest (body part {body_part}).")
    if is_lateral(header):
        reasons.append(
            "According to the file, this is a lateral view. The model is for frontal views."
        )
    return reasons


def is_lateral(header: Dataset) -> bool:
    """Return True if the header describes a lateral view.

    Parameters
    ----------
    header : pydicom.Dataset
        View Position (0018,5101); without it the Code Meaning of View Code Sequence (0054,0220),
        Series Description (0008,103E) and Protocol Name (0018,1030).

    Returns
    -------
    bool
    """
    view = code_string(header, "ViewPosition")
    if view:
        return view in _LATERAL_VIEWS
    texts = [value(item, "CodeMeaning") for item in items(header, "ViewCodeSequence")]
    texts += [value(header, keyword) for keyword in ("SeriesDescription", "ProtocolName")]
    text = " ".join(str(text or "") for text in texts).upper()
    # A lateral decubitus is a frontal view of a patient who lies on the side.
    return bool(re.search(r"\bLAT(ERAL)?\b", text)) and not re.search(
        r"DECUB|\b[AP]\.?[AP]\b", text
    )


def age_in_years(header: Dataset) -> float | None:
    """Return Patient's Age (0010,1010), an age string (PS3.5, section 6.2) such as 018M, in years.

    Parameters
    ----------
    header : pydicom.Dataset

    Returns
    -------
    float or None
        A number without a unit is read as years. The first of several values counts. None if the
        element is absent or is not an age.
    """
    age = value(header, "PatientAge")
    if isinstance(age, Sequence) and not isinstance(age, str | bytes):
        age = age[0] if age else None
    text = age.decode("ascii", "replace") if isinstance(age, bytes) else str(age or "")
    match = re.fullmatch(r"(\d{1,3})([DWMY]?)", text.strip(" \0").upper())
    if not match:
        return None
    count, unit = int(match[1]), match[2] or "Y"
    return count * _DAYS_PER_UNIT[unit] / _DAYS_PER_UNIT["Y"]


class _MeteredStream(io.BytesIO):
    """Bytes with a limited number of reads, against headers of millions of empty elements."""

    reads_left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise UnreadableImage("The header of the DICOM file is too long for an image.")
        return super().read(size)


def _inflate(deflated: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(deflated, limit + 2**20)
    if inflater.unconsumed_tail:
        raise UnreadableImage("The DICOM file unpacks to more data than a radiograph has.")
    return data


def _encoding(stream: io.BytesIO, syntax: UID) -> tuple[bool, bool]:
    """Return (implicit VR, little endian). The first element overrides the declared syntax."""
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


def _decoding_options(header: Dataset, keyword: str, max_pixels: int) -> dict:
    """Return pydicom's decoding options, with the standard's defaults for what old files omit."""

    def number(name: str, default: int) -> int:
        digits = re.match(r"\s*(\d+)", str(value(header, name)))
        return int(digits[1]) if digits else default

    rows, columns = number("Rows", 0), number("Columns", 0)
    if rows < 1 or columns < 1:
        raise UnreadableImage("The DICOM file does not state how many rows and columns it has.")
    samples = number("SamplesPerPixel", 1)
    if samples not in (1, 3):
        raise UnreadableImage(f"The DICOM file has {samples} values per pixel; 1 or 3 can be read.")
    if rows * columns * samples > max_pixels:
        raise UnreadableImage(
            f"The DICOM file declares {rows} x {columns} pixels, more than a radiograph has."
        )
    allocated = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(
        keyword, number("BitsAllocated", 0)
    )
    if allocated not in (1, 8, 16, 32, 64):
        raise UnreadableImage(
            f"The DICOM file stores {allocated} bits per pixel, which cannot be read."
        )
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


def _not_an_image(header: Dataset, meta: Dataset) -> str:
    kind = UID(str(value(header, "SOPClassUID") or value(meta, "MediaStorageSOPClassUID") or ""))
    text = f"{kind.name} {value(header, 'Modality') or ''}"
    if "Media Storage Directory" in text:
        return "This is the table of contents of a DICOM disc; choose one of its images."
    for word, content in (
        ("SR", "a report"),
        ("PDF", "a document"),
        ("CDA", "a document"),
        ("Waveform", "a waveform such as an ECG"),
        ("ECG", "a waveform such as an ECG"),
        ("RT", "radiotherapy data"),
        ("Presentation State", "display settings"),
        ("Key Object", "a list of images"),
    ):
        if word in text:
            return f"This DICOM file contains {content}, not an image."
    return "This DICOM file contains no image."
