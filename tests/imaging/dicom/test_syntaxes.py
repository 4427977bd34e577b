"""Transfer syntaxes, files without preamble or meta information, and pydicom's test files."""

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_maker import as_bytes, assert_levels, dicom_image, stored
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from xray_core.imaging.radiograph import read_radiograph

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_uncompressed_transfer_syntaxes(syntax: UID) -> None:
    pixels = stored(0, 819, 4095)
    if syntax == ExplicitVRBigEndian:
        data = dicom_image(pixels.astype(">u2"), WindowCenter=2048, WindowWidth=4096)
    else:
        data = dicom_image(pixels, WindowCenter=2048, WindowWidth=4096)
    assert_levels(read_radiograph(as_bytes(data, syntax)), 0, 51, 255)


def test_rle_is_decoded() -> None:
    pixels = np.arange(600, dtype="u2").reshape(20, 30)
    plain = dicom_image(pixels, WindowCenter=300, WindowWidth=600)
    expected = read_radiograph(as_bytes(plain)).pixels
    plain.compress(RLELossless)
    data = as_bytes(plain, RLELossless)
    np.testing.assert_array_equal(read_radiograph(data).pixels, expected)


def rle_frame(pixels: np.ndarray) -> bytes:
    """Return pixels, uint16 (H, W) of at most 128 columns, as an RLE frame of literal runs."""
    bytes_of_pixels = pixels.astype(">u2").view("u1").reshape(*pixels.shape, 2)
    high, low = (
        b"".join(bytes([pixels.shape[1] - 1]) + row.tobytes() for row in bytes_of_pixels[..., byte])
        for byte in range(2)
    )
    return struct.pack("<16L", 2, 64, 64 + len(high), *[0] * 13) + high + low


def compressed(pixels: np.ndarray, bits: int, frame: bytes, syntax: UID) -> bytes:
    """Return an image in MONOCHROME2 without a window, whose pixels are the compressed frame."""
    data = dicom_image(pixels, bits)
    data.PixelData = encapsulate([frame])
    data["PixelData"].is_undefined_length = True
    return as_bytes(data, syntax)


def test_eight_bits_in_rle_cells_of_sixteen_are_shown_as_stored() -> None:
    pixels = np.arange(240, dtype="u2").reshape(12, 20)
    for cells in (pixels, pixels | 0x0100 * (pixels % 2)):  # then with an overlay in bit 8
        data = compressed(pixels, 8, rle_frame(cells), RLELossless)
        np.testing.assert_array_equal(read_radiograph(data).pixels, pixels)


def test_eight_bits_in_jpeg_2000_are_shown_as_stored_in_cells_of_sixteen() -> None:
    from PIL import Image

    pixels = np.arange(240, dtype="u2").reshape(12, 20)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype("u1")).save(buffer, "JPEG2000", irreversible=False)
    data = compressed(pixels, 8, buffer.getvalue(), JPEG2000Lossless)
    np.testing.assert_array_equal(read_radiograph(data).pixels, pixels)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_jpeg_and_jpeg_2000_are_decoded(kind: str) -> None:
    from PIL import Image

    pixels = np.linspace(0, 250, 900).astype("u1").reshape(30, 30)
    buffer = io.BytesIO()
    options = {"quality": 100} if kind == "JPEG" else {"irreversible": False}
    Image.fromarray(pixels).save(buffer, kind, **options)
    data = dicom_image(pixels)
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].is_undefined_length = True
    syntax = JPEGBaseline8Bit if kind == "JPEG" else JPEG2000Lossless
    np.testing.assert_allclose(read_radiograph(as_bytes(data, syntax)).pixels, pixels, atol=2)
    # The header of the frame overrides the transfer syntax.
    wrong = JPEG2000Lossless if kind == "JPEG" else JPEGBaseline8Bit
    np.testing.assert_allclose(read_radiograph(as_bytes(data, wrong)).pixels, pixels, atol=2)


@pytest.mark.parametrize(
    "name", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless"]
)
def test_lossless_jpeg_and_jpeg_ls_are_decoded(name: str, tmp_path: Path) -> None:
    gdcm = pytest.importorskip("gdcm")
    rows, columns = np.mgrid[0:40, 0:30]
    data = as_bytes(
        dicom_image(
            (rows * 60 + columns * 50).astype("u2"), 12, WindowCenter=2048, WindowWidth=4096
        )
    )
    expected = read_radiograph(data).pixels
    (tmp_path / "plain.dcm").write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "packed.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    np.testing.assert_array_equal(read_radiograph(tmp_path / "packed.dcm").pixels, expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("removed", ["preamble", "meta"])
def test_files_without_preamble_or_meta_information(syntax: UID, removed: str) -> None:
    data = dicom_image(stored(0, 819, 4095), WindowCenter=2048, WindowWidth=4096)
    whole = as_bytes(data, syntax)
    if removed == "preamble":
        bare = whole[132:]
    else:
        buffer = io.BytesIO()
        del data.file_meta
        implicit = syntax == ImplicitVRLittleEndian
        data.save_as(buffer, implicit_vr=implicit, little_endian=True)
        bare = buffer.getvalue()
    assert_levels(read_radiograph(bare), 0, 51, 255)


@pytest.mark.parametrize(
    ("name", "shape", "mean", "spread", "colour"),
    # Statistics of images that were inspected by eye.
    [
        ("CT_small.dcm", (128, 128), 105, 255, False),
        ("MR_small.dcm", (64, 64), 113, 203, False),
        ("MR_small_RLE.dcm", (64, 64), 113, 203, False),
        ("MR_small_bigendian.dcm", (64, 64), 113, 203, False),
        ("MR_small_implicit.dcm", (64, 64), 113, 203, False),
        ("MR_small_expb.dcm", (64, 64), 113, 203, False),
        ("MR_small_padded.dcm", (64, 64), 113, 203, False),
        ("MR_small_jp2klossless.dcm", (64, 64), 113, 203, False),
        ("MR_small_jpeg_ls_lossless.dcm", (64, 64), 113, 203, False),
        ("JPGExtended.dcm", (1024, 256), 22, 255, False),
        ("JPEG-lossy.dcm", (1024, 256), 22, 255, False),
        ("JPEG2000.dcm", (1024, 256), 39, 255, False),
        ("J2K_pixelrep_mismatch.dcm", (512, 512), 63, 255, False),
        ("image_dfl.dcm", (512, 512), 127, 255, False),
        ("liver_1frame.dcm", (512, 512), 35, 255, False),
        ("rtdose_rle.dcm", (10, 10), 122, 255, False),
        ("badVR.dcm", (10, 10), 122, 255, False),
        ("SC_rgb_dcmtk_+eb+cr.dcm", (100, 100), 128, 255, True),
        ("SC_rgb_rle_32bit_2frame.dcm", (100, 100), 128, 255, True),
        ("SC_rgb_jpeg_dcmtk.dcm", (100, 100), 128, 255, True),
        ("SC_rgb_jls_lossy_line.dcm", (100, 100), 128, 255, True),
        ("SC_ybr_full_422_uncompressed.dcm", (100, 100), 128, 255, True),
        ("SC_rgb_small_odd_big_endian.dcm", (3, 3), 129, 68, True),
        ("GDCMJ2K_TextGBR.dcm", (400, 400), 125, 121, True),
        ("examples_palette.dcm", (350, 800), 19, 254, True),
        ("examples_ybr_color.dcm", (240, 320), 9, 192, True),
    ],
)
def test_files_of_pydicom_are_read(
    name: str, shape: tuple[int, int], mean: float, spread: float, colour: bool
) -> None:
    if not (PYDICOM_FILES / name).exists():
        pytest.skip("not in this release of pydicom")
    read = read_radiograph(PYDICOM_FILES / name)
    assert read.pixels.shape == shape
    assert read.had_colour == colour
    assert abs(float(read.pixels.mean()) - mean) < 1.5
    assert abs(float(np.ptp(read.pixels)) - spread) < 2.5
