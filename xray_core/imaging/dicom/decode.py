"""Decode the first frame of a DICOM file, uncompressed or compressed, to its stored values."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from xray_core.errors import UnreadableImage
from xray_core.imaging.decoding_memory import Reservation, kept_shape, strip_bytes, strips
from xray_core.imaging.dicom import gdcm_worker
from xray_core.imaging.dicom.header import UNDEFINED_LENGTH, DicomFile

_WORKER_BYTES = 72 * 10**6  # an idle worker with GDCM
_JPEG_2000 = b"\xff\x4f\xff\x51"
_GDCM_SYNTAXES = {
    "JPEG": JPEGExtended12Bit,
    "JPEG lossless": JPEGLossless,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000,
}


@dataclass(frozen=True, eq=False)
class StoredImage:
    """The stored values of the first frame, before any lookup table.

    Parameters
    ----------
    values : ndarray
        (H, W) for grey levels and palette indices, (H, W, 3) for colours.
    photometric : str
        Photometric Interpretation of `values`. A decoder may change the one of the header.
    whole_cells : bool
        True for uncompressed and RLE frames, whose values have the bits above Bits Stored as well.
        Other decoders return the stored bits alone.
    """

    values: np.ndarray
    photometric: str
    whole_cells: bool


@dataclass(frozen=True)
class Codestream:
    """What the header of a compressed frame states.

    Parameters
    ----------
    kind : str
        "JPEG", "JPEG lossless", "JPEG-LS" or "JPEG 2000".
    rows, columns : int
    bits : int
        Bits per sample.
    components : int
        Samples per pixel.
    signed : bool
    """

    kind: str
    rows: int
    columns: int
    bits: int
    components: int
    signed: bool = False


def decode_first_frame(
    file: DicomFile, reservation: Reservation, *, beside: int = 0
) -> StoredImage:
    """Decode the first frame of Pixel Data (7FE0,0010), Float (7FE0,0008) or Double (7FE0,0009).

    Parameters
    ----------
    file : DicomFile
    reservation : Reservation
        Acquires the estimated peak before decoding.
    beside : int
        Bytes that the caller needs in addition, for what it makes of the frame.

    Returns
    -------
    StoredImage

    Raises
    ------
    UnreadableImage
        If the frame is incomplete or cannot be decoded. Damaged content may raise any exception,
        which the caller catches.

    Notes
    -----
    `read_header` must come before: it checks the sizes in `file.options`.
    """
    options = file.options
    start = file.stream.tell()
    beside += file.inflated
    if file.length != UNDEFINED_LENGTH and not _is_mislabelled(file):
        reservation.acquire(_native_peak(options) + beside)
        values, photometric = _decode_native(
            memoryview(file.data)[start:], file.length, options, file.big_endian
        )
        return StoredImage(values, photometric, whole_cells=True)
    frame = get_frame(file.stream, 0, number_of_frames=options["number_of_frames"])
    reservation.acquire(_compressed_peak(frame, options) + beside)
    return _decode_compressed(frame, options, file.syntax)


def _is_mislabelled(file: DicomFile) -> bool:
    """Return True if pixels of defined length are in fact compressed."""
    compressed = bool(file.syntax) and file.syntax.is_transfer_syntax and file.syntax.is_compressed
    start = file.stream.tell()
    item = file.data[start : start + 4] == b"\xfe\xff\x00\xe0"
    return item and compressed and file.length < _frame_bytes(file.options)


def _frame_bytes(options: dict) -> int:
    values = options["rows"] * options["columns"] * options["samples_per_pixel"]
    return (values * options["bits_allocated"] + 7) // 8


def _native_peak(options: dict) -> int:
    """Return the peak, in bytes, of reading one uncompressed frame."""
    values = options["rows"] * options["columns"] * options["samples_per_pixel"]
    # Single bits become bytes; 4:2:2 is resampled.
    return 2 * max(_frame_bytes(options), values) + _display_bytes(options)


def _compressed_peak(frame: bytes, options: dict) -> int:
    """Return the measured peak, in bytes, of decoding one compressed frame."""
    stream = read_codestream_header(frame)
    values = options["rows"] * options["columns"] * options["samples_per_pixel"]
    if stream is None:  # RLE: all planes, and one more while it is decoded
        decoding = _frame_bytes(options) + options["rows"] * options["columns"]
    elif stream.kind == "JPEG 2000" or (stream.kind == "JPEG" and stream.bits == 8):
        decoding = 8 * values
    else:  # the copy of GDCM, its text form, and the values here
        decoding = (4 if stream.bits <= 8 else 8) * values + _WORKER_BYTES
    return decoding + _display_bytes(options)


def _display_bytes(options: dict) -> int:
    rows, columns = options["rows"], options["columns"]
    return 5 * math.prod(kept_shape(rows, columns)) + strip_bytes(rows, columns)


def _decode_native(
    data: memoryview, length: int, options: dict, big: bool
) -> tuple[np.ndarray, str]:
    needed, frames = _frame_bytes(options), options["number_of_frames"]
    if options["photometric_interpretation"] == "YBR_FULL_422":
        if length >= needed * frames:  # tagged as subsampled, but stored in full
            options["photometric_interpretation"] = "YBR_FULL"
        else:
            needed = needed // 3 * 2
    available = min(length, len(data))
    if available < needed:
        share = 100 * available // needed
        raise UnreadableImage(
            f"The DICOM file is incomplete: it contains {share}% of its image. Export it again."
        )
    syntax = ExplicitVRBigEndian if big else ExplicitVRLittleEndian
    # One frame only, and the byte that pads an odd length.
    source = data[: min(needed + needed % 2, available)]
    options = options | {
        "transfer_syntax_uid": syntax,
        "number_of_frames": 1,
        "pixel_vr": "OW",
    }
    return _decode_with_pydicom(syntax, source, options)


def _decode_compressed(frame: bytes, options: dict, declared: UID) -> StoredImage:
    """Decode one compressed frame. Its own header overrides the transfer syntax of the file."""
    if frame.startswith(b"\0\0\0\x0cjP  "):  # a JP2 file around the codestream
        frame = frame[max(0, frame[:4096].find(_JPEG_2000)) :]
    stream = read_codestream_header(frame)
    if stream is None:
        if "RLE" not in declared.name:
            raise UnreadableImage(_undecodable(declared))
        values, photometric = _decode_rle(frame, options), options["photometric_interpretation"]
        return StoredImage(values, photometric, whole_cells=True)
    if (stream.rows, stream.columns) != (options["rows"], options["columns"]):
        raise UnreadableImage("The DICOM file states two different sizes for its image.")
    if stream.components not in (1, 3):
        raise UnreadableImage("The image in the DICOM file has an unusual number of colours.")
    if stream.kind == "JPEG 2000" or (stream.kind == "JPEG" and stream.bits == 8):
        try:
            values, photometric = _decode_with_pillow(frame, stream, options, declared)
            return StoredImage(values, photometric, whole_cells=False)
        except RuntimeError:
            pass  # GDCM may decode what Pillow does not
    photometric = options["photometric_interpretation"]
    if photometric in ("YBR_RCT", "YBR_ICT"):  # a JPEG 2000 decoder undoes these itself
        photometric = "RGB"
    values = _decode_with_gdcm(frame, stream, options, declared)
    return StoredImage(values, photometric, whole_cells=False)


def _decode_with_pillow(
    frame: bytes, stream: Codestream, options: dict, declared: UID
) -> tuple[np.ndarray, str]:
    if stream.kind == "JPEG":
        syntax = JPEGBaseline8Bit
    else:
        syntax = JPEG2000Lossless if declared == JPEG2000Lossless else JPEG2000
    if stream.bits <= 8:  # the cells of the file may be larger
        options = options | {"bits_allocated": 8, "bits_stored": min(options["bits_stored"], 8)}
    options = options | {"transfer_syntax_uid": syntax, "number_of_frames": 1, "pixel_vr": "OB"}
    return _decode_with_pydicom(
        syntax, encapsulate([frame], has_bot=False), options, plugin="pillow"
    )


def _decode_with_pydicom(
    syntax: UID, source: bytes | memoryview, options: dict, plugin: str = ""
) -> tuple[np.ndarray, str]:
    # raw: YBR is not converted, since its Y is the grey level that is needed.
    values, properties = get_decoder(syntax).as_array(
        source, index=0, raw=True, decoding_plugin=plugin, **options
    )
    return values, str(properties["photometric_interpretation"])


def _decode_with_gdcm(frame: bytes, stream: Codestream, options: dict, declared: UID) -> np.ndarray:
    syntax = _GDCM_SYNTAXES[stream.kind]
    if stream.kind == "JPEG-LS" and declared == JPEGLSNearLossless:
        syntax = JPEGLSNearLossless
    lossy_jpeg_in_grey = stream.bits in (8, 12) and stream.components == 1
    if stream.bits > 16 or (stream.kind == "JPEG" and not lossy_jpeg_in_grey):
        raise UnreadableImage(_undecodable(declared))
    width = 1 if stream.bits <= 8 else 2
    request = {
        "transfer_syntax": str(syntax),
        "rows": stream.rows,
        "columns": stream.columns,
        "samples": stream.components,
        "allocated": 8 * width,
        "bits": stream.bits,
        "signed": stream.signed,
    }
    shape = (stream.rows, stream.columns, stream.components)
    decoded = _run_worker(json.dumps(request).encode() + b"\n" + frame, width * math.prod(shape))
    if decoded is None:
        raise UnreadableImage(_undecodable(declared))
    values = np.frombuffer(decoded, f"<u{width}")
    if stream.components == 3:
        return values.reshape(shape)
    # The DICOM header decides whether the uppermost bit of the stream is a sign.
    values = values.view(f"<{'i' if options['pixel_representation'] else 'u'}{width}")
    spare = 8 * width - stream.bits
    if spare:
        values <<= spare
        values >>= spare
    return values.reshape(shape[:2])


def _run_worker(request: bytes, expected: int) -> bytearray | None:
    """Return the bytes that the worker decodes; None if their number is not the expected one.

    They are read into one buffer, which takes half the memory of collecting pieces.
    """
    values = bytearray(expected)
    try:
        with subprocess.Popen(
            [sys.executable, "-P", gdcm_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            limit = threading.Timer(gdcm_worker.MAX_SECONDS, worker.kill)
            limit.start()
            try:
                # The worker reads all of its input before it writes.
                worker.stdin.write(request)
                worker.stdin.close()
                received = worker.stdout.readinto(values)  # type: ignore[attr-defined]
                complete = received == expected and not worker.stdout.read(1)
            finally:
                limit.cancel()
                worker.kill()  # it is finished or hangs
    except OSError:  # the worker ended early
        return None
    return values if complete else None


def read_codestream_header(frame: bytes) -> Codestream | None:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 codestream.

    Parameters
    ----------
    frame : bytes
        One compressed frame.

    Returns
    -------
    Codestream or None
        None for any other content, such as RLE.

    References
    ----------
    ITU-T T.81 (JPEG), T.87 (JPEG-LS), T.800 (JPEG 2000).
    """
    if frame.startswith(_JPEG_2000):
        x1, y1, x0, y0 = struct.unpack(">4L", frame[8:24])
        components, bits = struct.unpack(">HB", frame[40:43])
        size = y1 - y0, x1 - x0
        return Codestream("JPEG 2000", *size, (bits & 0x7F) + 1, components, bits >= 0x80)
    if not frame.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, rows, columns, components = struct.unpack(">BHHB", frame[at + 4 : at + 10])
            kind = {0xF7: "JPEG-LS", 0xC3: "JPEG lossless"}.get(marker, "JPEG")
            return Codestream(kind, rows, columns, bits, components)
        at += 2 + struct.unpack(">H", frame[at + 2 : at + 4])[0]
    return None


def _decode_rle(frame: bytes, options: dict) -> np.ndarray:
    """Decode RLE (PS3.5, Annex G): one PackBits segment for each byte of each sample."""
    rows, columns = options["rows"], options["columns"]
    samples, width = options["samples_per_pixel"], options["bits_allocated"] // 8
    count, *offsets = struct.unpack("<16L", frame[:64])
    if count != samples * width or not 0 < count <= 15:
        raise UnreadableImage("The compressed image in the DICOM file is damaged.")
    ends = [*offsets[1:count], len(frame)]
    planes = np.empty((samples, rows, columns, width), dtype=np.uint8)
    for segment in range(count):
        # Pillow's decoder stops when the plane is full, even if a hostile segment goes on.
        packed = frame[offsets[segment] : ends[segment]]
        plane = Image.frombytes("L", (rows * columns, 1), packed, "packbits", "L")
        sample, byte = divmod(segment, width)  # most significant byte first
        for lines in strips(rows, columns):
            strip = plane.crop((lines.start * columns, 0, lines.stop * columns, 1))
            target = planes[sample, lines, :, width - 1 - byte]
            target[...] = np.asarray(strip).reshape(target.shape)
    sign = "i" if options["pixel_representation"] else "u"
    values = planes.view(f"<{sign}{width}")[..., 0]  # (samples, H, W)
    return values[0] if samples == 1 else np.moveaxis(values, 0, -1)


def _undecodable(syntax: UID) -> str:
    if any(video in syntax.name for video in ("MPEG", "HEVC", "AVC")):
        return "This DICOM file contains a video, not an image."
    name = syntax.name if syntax.is_transfer_syntax and not syntax.is_private else "its coding"
    return (
        f"The compressed image in the DICOM file cannot be decoded ({name}). "
        "It may be damaged; please export it uncompressed."
    )
