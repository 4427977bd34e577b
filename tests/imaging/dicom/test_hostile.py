"""Damaged or malicious DICOM files, and other objects, are refused fast and in little memory."""

import contextlib
import io
import resource
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_maker import as_bytes, dicom_image, image_bytes
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import read_radiograph

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
GREY = np.arange(100, dtype="u1").reshape(10, 10)
PREAMBLE = bytes(128) + b"DICM"
UNDEFINED = b"\xff\xff\xff\xff"


def without_pixels(sop_class: str, **elements: object) -> bytes:
    return image_bytes_without("PixelData", SOPClassUID=sop_class, **elements)


def image_bytes_without(*keywords: str, **elements: object) -> bytes:
    data = dicom_image(GREY, **elements)
    whole = as_bytes(data)
    parsed = pydicom.dcmread(io.BytesIO(whole))
    for keyword in keywords:
        del parsed[keyword]
    buffer = io.BytesIO()
    parsed.save_as(buffer)
    return buffer.getvalue()


def compressed(frame: bytes, syntax: UID, pixels: np.ndarray = GREY, **elements: object) -> bytes:
    data = dicom_image(pixels, **elements)
    data.PixelData = encapsulate([frame])
    data["PixelData"].is_undefined_length = True
    return as_bytes(data, syntax)


def oversized(rows: int, columns: int) -> bytes:
    return image_bytes(np.zeros((50, 100), "u2"), Rows=rows, Columns=columns)


def header_only(kind: bytes, rows: int, columns: int) -> bytes:
    """Return a JPEG with this start-of-frame marker that declares a size and then ends."""
    return b"\xff\xd8\xff" + kind + struct.pack(">HBHHBBBB", 11, 8, rows, columns, 1, 1, 0x11, 0)


def many_elements(count: int) -> bytes:
    meta = as_bytes(dicom_image(GREY))
    start = meta.index(b"\x08\x00\x16\x00")
    return meta[:start] + b"\x09\x00\x10\x00LO\x00\x00" * count


def nested(depth: int) -> bytes:
    meta = as_bytes(dicom_image(GREY))
    start = meta.index(b"\x08\x00\x16\x00")
    level = b"\x08\x00\x15\x11SQ\0\0" + UNDEFINED + b"\xfe\xff\x00\xe0" + UNDEFINED
    return meta[:start] + level * depth


def deflate_bomb() -> bytes:
    whole = as_bytes(dicom_image(GREY), DeflatedExplicitVRLittleEndian)
    # The data set begins after the meta group, whose first element contains its length.
    start = 144 + struct.unpack("<L", whole[140:144])[0]
    packer = zlib.compressobj(1, wbits=-15)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(12)) + packer.flush()
    return whole[:start] + packed


def rle_bomb() -> bytes:
    segment = b"\x81\xff" * 2_000_000  # 2 bytes become 128
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + segment
    return compressed(frame, RLELossless)


def jpeg_2000(rows: int, columns: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "JPEG2000", no_jp2=True)
    stream = bytearray(buffer.getvalue())
    stream[8:16] = struct.pack(">2L", columns, rows)
    return bytes(stream)


HUGE = {
    "pixels": oversized(65_535, 65_535),
    "just over the limit": oversized(8_001, 8_000),
    "within the limit, but missing": oversized(8_000, 8_000),
    "frames": image_bytes(GREY, NumberOfFrames=2_000_000_000, Rows=60_000, Columns=60_000),
    "jpeg": compressed(header_only(b"\xc0", 65_000, 65_000), JPEGBaseline8Bit),
    "lossless jpeg": compressed(header_only(b"\xc3", 65_000, 65_000), JPEGLosslessSV1),
    "jpeg 2000": compressed(jpeg_2000(60_000, 60_000), JPEG2000Lossless),
    "elements": many_elements(3_000_000),
    "nesting": nested(20_000),
    "rle that fits": compressed(
        struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\xff" * 100,
        RLELossless,
        Rows=8000,
        Columns=8000,
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_excessive_sizes_are_refused_at_once(name: str) -> None:
    began = time.process_time()
    with pytest.raises(UnreadableImage) as refusal:
        read_radiograph(HUGE[name])
    assert time.process_time() - began < 2
    assert str(refusal.value).endswith(".")


def test_excessive_sizes_take_no_memory(tmp_path: Path) -> None:
    for number, data in enumerate(HUGE.values()):
        (tmp_path / f"{number}.dcm").write_bytes(data)
    (tmp_path / "warm.dcm").write_bytes(image_bytes(GREY))
    program = """
import resource, sys
from pathlib import Path
from xray_core import UnreadableImage, read_radiograph
folder = Path(sys.argv[1])
read_radiograph(folder / "warm.dcm")
biggest = max(path.stat().st_size for path in folder.iterdir())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in folder.glob("[0-9]*.dcm"):
    try:
        read_radiograph(path)
    except UnreadableImage:
        continue
    raise SystemExit(f"{path} was read")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 - 2 * biggest)
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    # The 64 megapixels that two of these declare take 64 MB even at one byte per pixel.
    assert int(run.stdout) < 130e6


def test_a_deflate_bomb_is_stopped() -> None:
    data = deflate_bomb()  # 200 MB in less than 1 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableImage):
        read_radiograph(data)
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert growth < 300e6


def test_an_rle_segment_that_is_too_long_is_cut_off() -> None:
    began = time.process_time()
    read = read_radiograph(rle_bomb())
    assert time.process_time() - began < 1
    assert read.pixels.shape == (10, 10)
    assert (read.pixels == 255).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (image_bytes_without("PixelData"), "no image"),
        (image_bytes(GREY, PixelData=b""), "no image"),
        (image_bytes_without("Rows"), "rows and columns"),
        (image_bytes(GREY, Rows=0), "rows and columns"),
        (image_bytes(GREY, PixelData=bytes(50)), "contains 50% of its image"),
        (image_bytes(GREY)[:-7], "incomplete"),
        (image_bytes(GREY, SamplesPerPixel=4), "4 values per pixel"),
        (image_bytes(GREY, BitsAllocated=12), "12 bits per pixel"),
        (image_bytes_without("BitsAllocated"), "0 bits per pixel"),
        (without_pixels("1.2.840.10008.1.3.10"), "table of contents"),
        (without_pixels("1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"), "a report"),
        (without_pixels("1.2.840.10008.5.1.4.1.1.104.1", Modality="DOC"), "a document"),
        (without_pixels("1.2.840.10008.5.1.4.1.1.9.1.1", Modality="ECG"), "a waveform"),
        (without_pixels("1.2.840.10008.5.1.4.1.1.11.1", Modality="PR"), "display settings"),
        (without_pixels("1.2.840.10008.5.1.4.1.1.481.5", Modality="RTPLAN"), "radiotherapy"),
        (PREAMBLE, "ends before"),
        (PREAMBLE + b"\x02\x00", "ends before"),
        (PREAMBLE + bytes(2000), "DICOM|damaged"),
        (PREAMBLE + b"\xff" * 2000, "DICOM|damaged"),
        (compressed(b"\0\0", JPEGBaseline8Bit), "cannot be decoded"),
        (compressed(b"\xff\xd8\xff\xd9", JPEGBaseline8Bit), "cannot be decoded"),
        (compressed(b"%!PS-Adobe-3.0 EPSF-3.0", JPEGBaseline8Bit), "cannot be decoded"),
        (compressed(header_only(b"\xc0", 10, 11), JPEGBaseline8Bit), "two different sizes"),
        (compressed(header_only(b"\xc3", 10, 10), JPEGLosslessSV1), "cannot be decoded"),
        (compressed(header_only(b"\xf7", 10, 10), JPEGLosslessSV1), "cannot be decoded"),
        (compressed(bytes(100), MPEG4HP41), "a video"),
        (compressed(bytes(100), MPEG4HP41).replace(b".1.2.4.102", b".1.2.4.199"), "its coding"),
        (compressed(struct.pack("<16L", 9, *[99] * 15), RLELossless), "damaged"),
        (compressed(struct.pack("<16L", 1, 9999, *[0] * 14), RLELossless), "damaged"),
        (compressed(b"\1\2\3", RLELossless), "damaged"),
    ],
)
def test_files_without_a_readable_image_are_refused_with_a_sentence(
    data: bytes, message: str
) -> None:
    with pytest.raises(UnreadableImage, match=message) as refusal:
        read_radiograph(data)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    "name",
    [
        "MR_truncated.dcm",
        "rtplan.dcm",
        "rtstruct.dcm",
        "test-SR.dcm",
        "waveform_ecg.dcm",
        "reportsi.dcm",
        "UN_sequence.dcm",
        "nested_priv_SQ.dcm",
        "no_meta.dcm",
        "dicomdirtests/DICOMDIR",
        "JPEG2000-embedded-sequence-delimiter.dcm",
    ],
)
def test_files_of_pydicom_without_an_image_are_refused(name: str) -> None:
    if not (PYDICOM_FILES / name).exists():
        pytest.skip("not in this release of pydicom")
    with pytest.raises(UnreadableImage):
        read_radiograph(PYDICOM_FILES / name)


def test_a_frame_that_crashes_gdcm_does_not_crash_this_process() -> None:
    data = (PYDICOM_FILES / "MR_small_jpeg_ls_lossless.dcm").read_bytes()
    frame = data.index(b"\xff\xd8\xff\xf7")
    for position in range(frame + 4, frame + 40, 6):
        broken = bytearray(data)
        broken[position] ^= 0xFF
        with contextlib.suppress(UnreadableImage):
            read_radiograph(bytes(broken))


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "liver_1frame.dcm",
        "MR_small_jp2klossless.dcm",
        "ExplVR_BigEnd.dcm",
        "examples_palette.dcm",
    ],
)
def test_damage_raises_no_other_exception(name: str) -> None:
    data = (PYDICOM_FILES / name).read_bytes()
    pixels = data.rfind(b"\xe0\x7f\x10\x00")
    random = np.random.default_rng(11)
    for number in range(60):
        broken = bytearray(data)
        end = pixels + 12 if number % 2 else len(data)
        for position in random.integers(0, end, 1 + number % 8):
            broken[position] = random.choice([0, 255, random.integers(0, 256)])
        if number % 7 == 0:
            broken = broken[: random.integers(0, len(broken))]
        with contextlib.suppress(UnreadableImage):
            read_radiograph(bytes(broken))


def test_deep_nesting_is_refused_in_a_thread() -> None:
    # Threads have smaller stacks than the main thread.
    outcomes: list[type] = []

    def read() -> None:
        try:
            read_radiograph(nested(5_000))
        except Exception as problem:
            outcomes.append(type(problem))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert outcomes == [UnreadableImage]


def test_lookup_tables_of_excessive_length_are_ignored() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 16])
    item.add_new("LUTData", "OW", bytes(3_000_000))
    read = read_radiograph(image_bytes(GREY, VOILUTSequence=pydicom.sequence.Sequence([item])))
    np.testing.assert_array_equal(read.pixels, GREY)


def test_threads_read_concurrently() -> None:
    files = {
        level: image_bytes(np.full((40, 50), level, "u2"), WindowCenter=100.5, WindowWidth=201)
        for level in range(10, 200, 20)
    }
    bad = image_bytes(GREY, PixelData=bytes(3))
    wrong: list[int] = []

    def read(level: int) -> None:
        for _ in range(10):
            with contextlib.suppress(UnreadableImage):
                read_radiograph(bad)
            if abs(float(read_radiograph(files[level]).pixels[0, 0]) - level * 1.275) > 0.01:
                wrong.append(level)

    threads = [threading.Thread(target=read, args=(level,)) for level in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_uncompressed_pixels_labelled_as_jpeg_are_read() -> None:
    data = dicom_image(GREY)
    data.PixelData = GREY.tobytes()
    whole = as_bytes(data, ExplicitVRLittleEndian)
    parsed = whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4\0")
    np.testing.assert_array_equal(read_radiograph(parsed).pixels, GREY)
