"""Decode the pixels of one DICOM frame, native or compressed, never more than was asked for."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
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


@dataclass(frozen=True)
class Codestream:
    """What the header of a compressed frame says about itself."""

    kind: str  # "JPEG" | "JPEG lossless" | "JPEG-LS" | "JPEG 2000"
    rows: int
    columns: int
    bits: int
    components: int


def frame_bytes(options: dict) -> int:
    values = options["rows"] * options["columns"] * options["samples_per_pixel"]
    return (values * options["bits_allocated"] + 7) // 8


def native_frame(data: memoryview, length: int, options: dict, big: bool) -> tuple[np.ndarray, str]:
    needed, frames = frame_bytes(options), options["number_of_frames"]
    if options["photometric_interpretation"] == "YBR_FULL_422":
        if length >= needed * frames:  # tagged as subsampled, but stored in full
            options["photometric_interpretation"] = "YBR_FULL"
        else:
            needed = needed // 3 * 2
    available = min(length, len(data))
    if available < needed:
        share = 100 * available // needed
        raise UnreadableImage(
            f"The DICOM file is incomplete: it holds {share}% of its image. Please export it again."
        )
    syntax = ExplicitVRBigEndian if big else ExplicitVRLittleEndian
    # One frame only, and the byte that pads an odd length.
    source = data[: min(needed + needed % 2, available)]
    options = options | {
        "transfer_syntax_uid": syntax,
        "number_of_frames": 1,
        "pixel_vr": "OW",
    }
    return _decoded(syntax, source, options)


def compressed_frame(frame: bytes, options: dict, declared: UID) -> tuple[np.ndarray, str]:
    """Decode one compressed frame, believing its own header over the file's transfer syntax."""
    stream = codestream(frame)
    if stream is None:
        if "RLE" not in declared.name:
            raise UnreadableImage(_undecodable(declared))
        return _rle(frame, options), options["photometric_interpretation"]
    if (stream.rows, stream.columns) != (options["rows"], options["columns"]):
        raise UnreadableImage("The DICOM file contradicts itself about the size of its image.")
    if stream.components not in (1, 3):
        raise UnreadableImage("The DICOM file's image has an unusual number of colours.")
    if stream.kind == "JPEG":
        syntax = JPEGBaseline8Bit if stream.bits == 8 else JPEGExtended12Bit
    elif stream.kind == "JPEG lossless":
        syntax = JPEGLossless
    elif stream.kind == "JPEG-LS":
        syntax = JPEGLSNearLossless if declared == JPEGLSNearLossless else JPEGLSLossless
    else:
        syntax = JPEG2000Lossless if declared == JPEG2000Lossless else JPEG2000
    if stream.components != options["samples_per_pixel"]:
        photometric = "RGB" if stream.components == 3 else "MONOCHROME2"
        options = options | {
            "samples_per_pixel": stream.components,
            "photometric_interpretation": photometric,
        }
    if stream.kind != "JPEG 2000":
        allocated = 8 if stream.bits <= 8 else 16
        options = options | {
            "bits_allocated": allocated,
            "bits_stored": min(options["bits_stored"], allocated),
        }
    options = options | {"transfer_syntax_uid": syntax, "number_of_frames": 1, "pixel_vr": "OB"}
    try:
        if syntax == JPEGExtended12Bit:
            return _jpeg_12_bit(frame, stream, options), options["photometric_interpretation"]
        return _decoded(syntax, encapsulate([frame], has_bot=False), options)
    except (RuntimeError, NotImplementedError):
        raise UnreadableImage(_undecodable(declared)) from None


def _decoded(syntax: UID, source: bytes | memoryview, options: dict) -> tuple[np.ndarray, str]:
    decoder = get_decoder(syntax)
    # Pillow's decoders meet more hostile files than GDCM's; what they cannot do, GDCM may.
    preferred = "pillow" if "pillow" in decoder.available_plugins else ""
    for plugin in dict.fromkeys((preferred, "")):
        try:
            # raw: YBR stays as it is, since its Y is the grey that is wanted.
            values, found = decoder.as_array(
                source, index=0, raw=True, decoding_plugin=plugin, **options
            )
            return values, str(found["photometric_interpretation"])
        except RuntimeError:
            continue
    raise RuntimeError(f"no decoder for {syntax}")


def _jpeg_12_bit(frame: bytes, stream: Codestream, options: dict) -> np.ndarray:
    """Decode 12-bit JPEG with GDCM, which can, though pydicom's plug-in does not ask it to."""
    import gdcm

    if stream.components != 1:
        raise NotImplementedError("12-bit JPEG in colour")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stream.columns, stream.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    image.SetPhotometricInterpretation(grey)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    sign = options["pixel_representation"]
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, stream.bits, stream.bits - 1, sign))
    decoded = image.GetBuffer()
    if decoded is None:
        raise RuntimeError("GDCM gives no image")
    buffer = decoded.encode("utf-8", "surrogateescape")  # GDCM hands bytes over as text
    return np.frombuffer(buffer, "<i2" if sign else "<u2").reshape(stream.rows, stream.columns)


def codestream(frame: bytes) -> Codestream | None:
    """Read the size from a JPEG, JPEG-LS or JPEG 2000 header (ITU-T T.81, T.87, T.800)."""
    j2k = frame[:4096].find(b"\xff\x4f\xff\x51")
    if j2k >= 0 and not frame.startswith(b"\xff\xd8"):
        x1, y1, x0, y0 = struct.unpack(">4L", frame[j2k + 8 : j2k + 24])
        components, bits = struct.unpack(">HB", frame[j2k + 40 : j2k + 43])
        return Codestream("JPEG 2000", y1 - y0, x1 - x0, (bits & 0x7F) + 1, components)
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


def _rle(frame: bytes, options: dict) -> np.ndarray:
    """Decode RLE (PS3.5, Annex G): a PackBits segment for each byte of each sample."""
    rows, columns = options["rows"], options["columns"]
    samples, width = options["samples_per_pixel"], options["bits_allocated"] // 8
    count, *offsets = struct.unpack("<16L", frame[:64])
    if count != samples * width or not 0 < count <= 15:
        raise UnreadableImage("The DICOM file's compressed image is damaged.")
    ends = [*offsets[1:count], len(frame)]
    planes = np.empty((samples, rows, columns, width), dtype=np.uint8)
    for segment in range(count):
        # Pillow's decoder stops when the plane is full, however far a hostile segment would go.
        packed = frame[offsets[segment] : ends[segment]]
        plane = Image.frombytes("L", (rows * columns, 1), packed, "packbits", "L")
        sample, byte = divmod(segment, width)  # most significant byte first
        planes[sample, :, :, width - 1 - byte] = np.asarray(plane).reshape(rows, columns)
    sign = "i" if options["pixel_representation"] else "u"
    values = planes.view(f"<{sign}{width}")[..., 0]  # (samples, H, W)
    return values[0] if samples == 1 else np.moveaxis(values, 0, -1)


def _undecodable(syntax: UID) -> str:
    if any(video in syntax.name for video in ("MPEG", "HEVC", "AVC")):
        return "This DICOM file holds a video, not a film."
    known = syntax.name if syntax.is_transfer_syntax and not syntax.is_private else "its coding"
    return (
        f"The DICOM file's compressed image cannot be decoded ({known}). "
        "It may be damaged; please export it uncompressed."
    )
