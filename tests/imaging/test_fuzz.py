"""Damaged archives and images, with a fixed seed, are read or refused with a sentence."""

import io
import zipfile
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from dicom_maker import as_bytes, dicom_image
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from xray_core.errors import UnreadableImage
from xray_core.imaging import decoding_memory
from xray_core.imaging.radiograph import Radiograph, read_radiograph
from xray_core.prediction.archive import ArchivedFile, read_archive

GREY = np.random.default_rng(0).integers(0, 256, (24, 20), dtype="u1")
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def image_file(kind: str, mode: str = "L", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def deep(dtype: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY.astype(dtype) * 16).save(buffer, kind)
    return buffer.getvalue()


def dicom(syntax: str, dtype: str = "u2", **elements: object) -> bytes:
    pixels = np.dstack([GREY] * 3) if dtype == "rgb" else GREY.astype(dtype)
    if syntax == ExplicitVRBigEndian:
        pixels = pixels.astype(">u2")
    data = dicom_image(pixels, PatientAge="051Y", WindowCenter=100, WindowWidth=200, **elements)
    if syntax == RLELossless:
        as_bytes(data)  # sets the meta information of an uncompressed file
        data.compress(RLELossless)
    return as_bytes(data, syntax)


IMAGES = {
    "JPEG": image_file("JPEG"),
    "JPEG in colour": image_file("JPEG", "RGB", progressive=True),
    "PNG": image_file("PNG"),
    "PNG with alpha": image_file("PNG", "RGBA"),
    "PNG with a palette": image_file("PNG", "P", transparency=3),
    "PNG of 16 bits": deep("u2", "PNG"),
    "TIFF": image_file("TIFF"),
    "TIFF of floats": deep("f4", "TIFF"),
    "TIFF, LZW": image_file("TIFF", compression="tiff_lzw"),
    "TIFF, deflate": image_file("TIFF", "RGB", compression="tiff_adobe_deflate"),
    "TIFF, JPEG": image_file("TIFF", compression="jpeg"),
    "TIFF, fax": image_file("TIFF", "1", compression="group4"),
    "GIF": image_file("GIF"),
    "BMP": image_file("BMP"),
    "WebP": image_file("WEBP", "RGB"),
    "WebP, lossless": image_file("WEBP", "RGBA", lossless=True),
}
DICOMS = {
    "explicit": dicom(ExplicitVRLittleEndian),
    "implicit": dicom(ImplicitVRLittleEndian),
    "big-endian": dicom(ExplicitVRBigEndian),
    "deflated": dicom(DeflatedExplicitVRLittleEndian),
    "RLE": dicom(RLELossless),
    "RLE in colour": dicom(RLELossless, "rgb"),
    "signed": dicom(ExplicitVRLittleEndian, "i4"),
    "in colour": dicom(ExplicitVRLittleEndian, "rgb", PhotometricInterpretation="YBR_FULL"),
}


def damaged(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield copies with one to eight bytes changed, some of them also shortened or lengthened."""
    random = np.random.default_rng(seed)
    for number in range(count):
        broken = bytearray(data)
        for position in random.integers(0, len(broken), 1 + number % 8):
            broken[position] = random.choice([0, 1, 127, 255, random.integers(0, 256)])
        if number % 7 == 3:
            del broken[random.integers(0, len(broken)) :]
        if number % 7 == 5:
            position = random.integers(0, len(broken))
            broken[position:position] = random.bytes(int(random.integers(1, 40)))
        yield bytes(broken)


def outcome(data: bytes) -> type:
    """Return the type of the result; any exception but UnreadableImage fails the test."""
    problem = None
    try:
        read = read_radiograph(data)
    except UnreadableImage as refusal:
        problem = refusal
    if problem is not None:
        assert str(problem).endswith((".", "?"))
        assert problem.__context__ is None  # it would keep half-decoded pixels alive
        return UnreadableImage
    assert read.pixels.dtype == np.float32
    assert read.pixels.ndim == 2
    assert float(read.pixels.min()) >= 0
    assert float(read.pixels.max()) <= 255
    return Radiograph


@pytest.mark.parametrize("name", [*IMAGES, *DICOMS])
def test_a_damaged_image_is_read_or_refused_with_a_sentence(name: str) -> None:
    data = (IMAGES | DICOMS)[name]
    assert outcome(data) is Radiograph
    outcomes = Counter(map(outcome, damaged(data, 40, seed=len(name))))
    assert outcomes[UnreadableImage] > 0
    assert decoding_memory.SMALL_POOL.held == decoding_memory.LARGE_POOL.held == 0


FILES = {
    "first.png": IMAGES["PNG"],
    "second.dcm": DICOMS["explicit"],
    "third.jpeg": IMAGES["JPEG"],
    "fourth.tif": IMAGES["TIFF"],
}


def packed(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_archive_yields_its_files_or_a_sentence(method: str) -> None:
    for broken in damaged(packed(METHODS[method]), 80, seed=METHODS[method]):
        images, problem = [], "."
        try:
            images = list(read_archive(broken))
        except UnreadableImage as refusal:
            problem = str(refusal)
        assert problem.endswith(".")
        for one in images:
            assert isinstance(one, ArchivedFile)
            assert (one.data is None) == (one.problem is not None)
            if one.data:
                outcome(one.data)


@pytest.mark.parametrize("method", METHODS)
def test_damage_within_one_file_leaves_the_others_unchanged(method: str) -> None:
    whole = packed(METHODS[method])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        entries = archive.infolist()
    random = np.random.default_rng(7)
    problems = 0
    for number in range(80):
        entry = entries[number % len(entries)]
        start = entry.header_offset + 30 + len(entry.filename)
        broken = bytearray(whole)
        for position in random.integers(start, start + entry.compress_size, 1 + number % 5):
            broken[position] ^= int(random.integers(1, 256))
        images = {one.name: one for one in read_archive(bytes(broken))}
        assert list(images) == list(FILES)
        for name, one in images.items():
            if name != entry.filename:
                assert one.data == FILES[name]
        problems += images[entry.filename].problem is not None
    assert problems > 70
