"""What DICOM films mean: from stored values to grey levels, facts and cautions."""

import io
import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_maker import SECRETS, as_bytes, film, film_bytes
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
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

from xray_core.images import Radiograph, read_radiograph

WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"


def stored(*values: int, dtype: str = "u2") -> np.ndarray:
    return np.array([values], dtype=dtype)


def assert_levels(read: Radiograph, *expected: float) -> None:
    assert read.pixels.dtype == np.float32
    np.testing.assert_allclose(read.pixels, [expected], atol=0.01)


def lut(first: int, entries: list[int], bits: int = 16, explanation: str = "") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    if explanation:
        item.LUTExplanation = explanation
    return item


def test_eight_bits_without_window_arrive_unchanged() -> None:
    read = read_radiograph(film_bytes(stored(0, 100, 255, dtype="u1")))
    assert_levels(read, 0, 100, 255)
    assert read.source_format == "DICOM"
    assert read.original_size == (1, 3)
    assert (read.modality, read.frames, read.notes, read.windows) == ("CR", 1, (), ())


def test_linear_window_follows_the_standard() -> None:
    # PS3.3, C.11.2.1.2.1 with centre 2048, width 4096: 0 -> 0, 4095 -> 255, 819 -> 51.
    read = read_radiograph(
        film_bytes(stored(0, 819, 4095, 60000), WindowCenter=2048, WindowWidth=4096)
    )
    assert_levels(read, 0, 51, 255, 255)
    assert read.windows == ("centre 2048, width 4096",)


def test_linear_exact_and_sigmoid_windows() -> None:
    exact = film_bytes(
        stored(0, 100, 200), WindowCenter=100, WindowWidth=200, VOILUTFunction="LINEAR_EXACT"
    )
    assert_levels(read_radiograph(exact), 0, 127.5, 255)
    # 255 / (1 + exp(-4 (x - 100) / 200)): x = 0 -> 255 / (1 + e^2)
    sigmoid = film_bytes(
        stored(0, 100, 200), WindowCenter=100, WindowWidth=200, VOILUTFunction="SIGMOID"
    )
    assert_levels(read_radiograph(sigmoid), 30.40, 127.5, 224.60)


def test_monochrome1_is_inverted_after_windowing() -> None:
    # Inverted before it, 4000 would lie under the window and come out black.
    read = read_radiograph(
        film_bytes(
            stored(0, 100, 200, 4000),
            PhotometricInterpretation="MONOCHROME1",
            WindowCenter=100.5,
            WindowWidth=201,
        )
    )
    assert_levels(read, 255, 127.5, 0, 0)


def test_monochrome1_without_window_is_inverted() -> None:
    data = film_bytes(stored(0, 55, 255, dtype="u1"), PhotometricInterpretation="MONOCHROME1")
    assert_levels(read_radiograph(data), 255, 200, 0)


def test_rescaling_comes_before_the_window() -> None:
    read = read_radiograph(
        film_bytes(
            stored(0, 500, 1000),
            RescaleSlope=2,
            RescaleIntercept=-1000,
            WindowCenter=0.5,
            WindowWidth=2001,
        )
    )
    assert_levels(read, 0, 127.5, 255)


def test_negative_slope_turns_the_greys() -> None:
    data = film_bytes(stored(0, 55, 255, dtype="u1"), RescaleSlope=-1, RescaleIntercept=255)
    assert_levels(read_radiograph(data), 255, 200, 0)


def test_modality_table_comes_before_the_window() -> None:
    read = read_radiograph(
        film_bytes(
            stored(0, 10, 11, 12, 99),
            ModalityLUTSequence=Sequence([lut(10, [0, 400, 800])]),
            WindowCenter=400.5,
            WindowWidth=801,
        )
    )
    assert_levels(read, 0, 0, 127.5, 255, 255)


def test_voi_table_is_preferred_and_all_views_are_named() -> None:
    elements = {
        "VOILUTSequence": Sequence([lut(0, [0, 255, 51], 8, "HARD")]),
        "WindowCenter": [1.5, 3],
        "WindowWidth": [3, 6],
        "WindowCenterWidthExplanation": ["NORMAL", "BONE <7>"],
    }
    data = film_bytes(stored(0, 1, 2, 3, 4), **elements)
    read = read_radiograph(data)
    assert read.windows == ("HARD", "NORMAL", "BONE 7")
    assert_levels(read, 0, 255, 51, 51, 51)
    assert_levels(read_radiograph(data, window=1), 0, 127.5, 255, 255, 255)
    assert_levels(read_radiograph(data, window=2), 0, 51, 102, 153, 204)
    assert_levels(read_radiograph(data, window=9), 0, 255, 51, 51, 51)


def test_voi_table_of_12_bits_declared_as_16_is_not_dark() -> None:
    table = Sequence([lut(0, [0, 819, 4095], bits=16)])
    assert_levels(read_radiograph(film_bytes(stored(0, 1, 2), VOILUTSequence=table)), 0, 51, 255)


def test_voi_table_of_8_bits_with_over_256_entries_does_not_wrap() -> None:
    table = Sequence([lut(0, [entry // 16 for entry in range(4096)], bits=8)])
    data = film_bytes(stored(0, 2064, 4095), VOILUTSequence=table)
    assert_levels(read_radiograph(data), 0, 129, 255)


def test_a_table_that_starts_below_zero() -> None:
    pixels = stored(-100, -5, -4, 7, dtype="i2")
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [3, -5, 16])
    item.add_new("LUTData", "US", [0, 51, 255])
    read = read_radiograph(film_bytes(pixels, VOILUTSequence=Sequence([item])))
    assert_levels(read, 0, 0, 51, 255)


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 100, "WindowWidth": 0},
        {"WindowCenter": 100, "WindowWidth": -5},
        {"WindowCenter": 100},
        {"VOILUTSequence": Sequence([Dataset()])},
        {"VOILUTSequence": Sequence([])},
    ],
)
def test_a_view_that_makes_no_sense_is_passed_over(elements: dict) -> None:
    read = read_radiograph(film_bytes(stored(0, 51, 255, dtype="u1"), **elements))
    assert_levels(read, 0, 51, 255)
    assert read.windows == ()


def test_a_window_that_leaves_no_detail_gives_way_to_the_full_range() -> None:
    pixels = np.arange(1000, 2000, dtype="u2").reshape(20, 50)
    read = read_radiograph(film_bytes(pixels, 12, WindowCenter=20, WindowWidth=40))
    assert read.pixels.min() == 0
    assert read.pixels.max() == 255
    assert any("no detail" in note for note in read.notes)


def test_a_deep_film_without_window_is_stretched_with_a_note() -> None:
    pixels = np.linspace(300, 2100, 10_000).astype("u2").reshape(100, 100)
    pixels[0, 0] = 4095  # a marker
    read = read_radiograph(film_bytes(pixels, 12))
    assert abs(float(np.median(read.pixels)) - 127.5) < 1
    assert any("no display window" in note for note in read.notes)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4"])
def test_signed_pixels(dtype: str) -> None:
    elements = {"WindowCenter": 0.5, "WindowWidth": 201}
    read = read_radiograph(film_bytes(stored(-100, 0, 100, dtype=dtype), **elements))
    assert_levels(read, 0, 127.5, 255)


def test_twelve_signed_bits_without_extended_sign() -> None:
    pixels = stored(0xF9C, 0, 100)  # 0xF9C is -100 in twelve bits
    elements = {"PixelRepresentation": 1, "WindowCenter": 0.5, "WindowWidth": 201}
    assert_levels(read_radiograph(film_bytes(pixels, 12, **elements)), 0, 127.5, 255)


def test_bits_above_those_stored_are_dropped() -> None:
    pixels = stored(0xF000, 0x8000 + 819, 4095)  # an overlay in the upper bits
    elements = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert_levels(read_radiograph(film_bytes(pixels, 12, **elements)), 0, 51, 255)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_count(photometric: str) -> None:
    pixels = np.linspace(1000, 2000, 10_000).astype("u2").reshape(100, 100)
    pixels[:50] = 0
    elements = {"PhotometricInterpretation": photometric}
    data = film(pixels, 12, **elements)
    data.add_new("PixelPaddingValue", "US", 0)
    read = read_radiograph(as_bytes(data))
    assert (read.pixels[:50] == 0).all()
    assert read.pixels[50:].min() < 2
    assert read.pixels[50:].max() > 253


def test_padding_range() -> None:
    data = film(stored(-2000, -1990, 0, 100, dtype="i2"), WindowCenter=50.5, WindowWidth=101)
    data.PhotometricInterpretation = "MONOCHROME1"
    data.add_new("PixelPaddingValue", "SS", -2000)
    data.add_new("PixelPaddingRangeLimit", "SS", -1990)
    assert_levels(read_radiograph(as_bytes(data)), 0, 0, 255, 0)


def test_one_bit_pixels_are_black_and_white() -> None:
    data = film(stored(0b00000101, 0, dtype="u1"), Rows=1, Columns=3)
    data.BitsAllocated = data.BitsStored = 1
    assert_levels(read_radiograph(as_bytes(data)), 255, 0, 255)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_float_pixels_are_stretched(dtype: str) -> None:
    pixels = np.array([[-1, 0, np.nan, 1]], dtype)
    data = film(pixels)
    del data.PixelData
    keyword = "FloatPixelData" if dtype == "f4" else "DoubleFloatPixelData"
    setattr(data, keyword, pixels.tobytes())
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    data.save_as(buffer)
    assert_levels(read_radiograph(buffer.getvalue()), 0, 127.5, 0, 255)


def test_32_bit_pixels() -> None:
    pixels = stored(0, 50_000, 100_000, dtype="u4")
    elements = {"WindowCenter": 50_000.5, "WindowWidth": 100_001}
    assert_levels(read_radiograph(film_bytes(pixels, **elements)), 0, 127.5, 255)


def test_rgb_and_planes() -> None:
    pixels = np.zeros((4, 4, 3), "u1")
    pixels[..., 0] = 255
    read = read_radiograph(film_bytes(pixels))
    assert read.had_colour
    np.testing.assert_array_equal(read.pixels, np.full((4, 4), 76))
    planes = film(pixels, PlanarConfiguration=1)
    planes.PixelData = np.moveaxis(pixels, -1, 0).tobytes()
    np.testing.assert_array_equal(read_radiograph(as_bytes(planes)).pixels, read.pixels)
    grey = read_radiograph(film_bytes(np.full((4, 4, 3), 99, "u1")))
    assert not grey.had_colour
    np.testing.assert_array_equal(grey.pixels, np.full((4, 4), 99))


def test_ybr_keeps_its_luminance() -> None:
    pixels = np.full((4, 4, 3), 128, "u1")
    pixels[..., 0] = 77
    read = read_radiograph(film_bytes(pixels, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_array_equal(read.pixels, np.full((4, 4), 77))
    assert not read.had_colour


def test_palette_colour() -> None:
    data = film(stored(0, 1, 2, dtype="u1"), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        data.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [3, 0, 16])
        table = np.array([0, 51 * 257, 65535], "<u2")
        data.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.tobytes())
    assert_levels(read_radiograph(as_bytes(data)), 0, 51, 255)


def test_of_several_frames_the_first_is_read() -> None:
    data = film(stored(1, 2, 3, 4, dtype="u1"), Columns=2)
    data.NumberOfFrames = 2
    read = read_radiograph(as_bytes(data))
    assert_levels(read, 1, 2)
    assert read.frames == 2
    assert read.notes == ("Only the first of 2 frames was read.",)


def test_functional_groups_hold_the_window_of_enhanced_files() -> None:
    window, rescale, group = Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 0.5, 201
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, -100
    group.FrameVOILUTSequence = Sequence([window])
    group.PixelValueTransformationSequence = Sequence([rescale])
    data = film_bytes(stored(0, 100, 200), SharedFunctionalGroupsSequence=Sequence([group]))
    assert_levels(read_radiograph(data), 0, 127.5, 255)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_uncompressed_transfer_syntaxes(syntax: UID) -> None:
    pixels = stored(0, 819, 4095)
    if syntax == ExplicitVRBigEndian:
        data = film(pixels.astype(">u2"), WindowCenter=2048, WindowWidth=4096)
    else:
        data = film(pixels, WindowCenter=2048, WindowWidth=4096)
    assert_levels(read_radiograph(as_bytes(data, syntax)), 0, 51, 255)


def test_rle_is_decoded() -> None:
    pixels = np.arange(600, dtype="u2").reshape(20, 30)
    plain = film(pixels, WindowCenter=300, WindowWidth=600)
    expected = read_radiograph(as_bytes(plain)).pixels
    plain.compress(RLELossless)
    data = as_bytes(plain, RLELossless)
    np.testing.assert_array_equal(read_radiograph(data).pixels, expected)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_jpeg_and_jpeg_2000_are_decoded(kind: str) -> None:
    from PIL import Image

    pixels = np.linspace(0, 250, 900).astype("u1").reshape(30, 30)
    buffer = io.BytesIO()
    options = {"quality": 100} if kind == "JPEG" else {"irreversible": False}
    Image.fromarray(pixels).save(buffer, kind, **options)
    data = film(pixels)
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].is_undefined_length = True
    syntax = JPEGBaseline8Bit if kind == "JPEG" else JPEG2000Lossless
    np.testing.assert_allclose(read_radiograph(as_bytes(data, syntax)).pixels, pixels, atol=2)
    # The frame itself is believed, not the name of its coding.
    wrong = JPEG2000Lossless if kind == "JPEG" else JPEGBaseline8Bit
    np.testing.assert_allclose(read_radiograph(as_bytes(data, wrong)).pixels, pixels, atol=2)


@pytest.mark.parametrize(
    "name", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless"]
)
def test_lossless_jpeg_and_jpeg_ls_are_decoded(name: str, tmp_path: Path) -> None:
    gdcm = pytest.importorskip("gdcm")
    rows, columns = np.mgrid[0:40, 0:30]
    data = as_bytes(
        film((rows * 60 + columns * 50).astype("u2"), 12, WindowCenter=2048, WindowWidth=4096)
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
@pytest.mark.parametrize("cut", ["preamble", "meta"])
def test_files_without_preamble_or_meta_information(syntax: UID, cut: str) -> None:
    data = film(stored(0, 819, 4095), WindowCenter=2048, WindowWidth=4096)
    whole = as_bytes(data, syntax)
    if cut == "preamble":
        bare = whole[132:]
    else:
        buffer = io.BytesIO()
        del data.file_meta
        implicit = syntax == ImplicitVRLittleEndian
        data.save_as(buffer, implicit_vr=implicit, little_endian=True)
        bare = buffer.getvalue()
    assert_levels(read_radiograph(bare), 0, 51, 255)


@pytest.mark.parametrize(
    ("age", "years"),
    [
        ("004Y", 4),
        ("018M", 1.5),
        ("026W", 0.498),
        ("010D", 0.027),
        ("", None),
        ("old", None),
        ("000Y", 0),
    ],
)
def test_age_in_years(age: str, years: float | None) -> None:
    data = film(stored(0, 1))
    data.add_new("PatientAge", "LO", age)
    read = read_radiograph(as_bytes(data))
    assert read.age_years == (years if years is None else pytest.approx(years, abs=1e-3))


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Modality": "CT"}, "no X-ray film"),
        ({"Modality": "MG"}, "no X-ray film"),
        ({"BodyPartExamined": "HAND"}, "not a chest"),
        ({"ViewPosition": "LL"}, "side view"),
        ({"ViewPosition": "LATERAL"}, "side view"),
        ({"SeriesDescription": "Chest LAT"}, "side view"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw detector data"),
    ],
)
def test_what_the_model_does_not_know_is_noted(elements: dict, said: str) -> None:
    read = read_radiograph(film_bytes(stored(0, 1, dtype="u1"), **elements))
    assert len(read.notes) == 1
    assert said in read.notes[0]


@pytest.mark.parametrize(
    "elements",
    [
        {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA"},
        {"ViewPosition": "AP", "SeriesDescription": "PA and LAT"},
        {"SeriesDescription": "Thorax p.a./lateral"},
        {"SeriesDescription": "Lateral decubitus"},
        {"SeriesDescription": "Platinum"},
        {"Modality": "OT"},
        {"Modality": "", "BodyPartExamined": ""},
    ],
)
def test_frontal_chest_films_get_no_caution(elements: dict) -> None:
    assert read_radiograph(film_bytes(stored(0, 1, dtype="u1"), **elements)).notes == ()


def test_view_code_tells_a_side_view() -> None:
    code = Dataset()
    code.CodeMeaning = "left lateral"
    read = read_radiograph(film_bytes(stored(0, 1), ViewCodeSequence=Sequence([code])))
    assert any("side view" in note for note in read.notes)


def test_no_identity_is_kept_said_or_logged(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    data = film(stored(0, 1), SpecificCharacterSet="ISO_IR 999", SeriesDescription=SECRETS[0])
    data.add_new("ViewPosition", "LO", SECRETS[0])
    data.add_new("BodyPartExamined", "LO", SECRETS[3] + "^")
    data.add_new("PatientAge", "LO", SECRETS[1])
    data.add_new("WindowCenter", "LO", SECRETS[1])
    data.add_new("WindowWidth", "LO", SECRETS[2])
    with caplog.at_level(logging.DEBUG):
        read = read_radiograph(as_bytes(data))
        said = repr(read) + caplog.text + " ".join(str(warning.message) for warning in recwarn)
    for secret in SECRETS:
        assert secret not in said
        assert secret.replace("^", " ") not in said


@pytest.mark.parametrize(
    ("name", "shape", "mean", "spread", "colour"),
    # Seen by eye to be right; the numbers keep them so.
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
def test_files_of_pydicoms_own_test_suite(
    name: str, shape: tuple[int, int], mean: float, spread: float, colour: bool
) -> None:
    if not (WHEEL / name).exists():
        pytest.skip("not in this release of pydicom")
    read = read_radiograph(WHEEL / name)
    assert read.pixels.shape == shape
    assert read.had_colour == colour
    assert abs(float(read.pixels.mean()) - mean) < 1.5
    assert abs(float(np.ptp(read.pixels)) - spread) < 2.5
