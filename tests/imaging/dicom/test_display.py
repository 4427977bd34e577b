"""What DICOM images mean: kinds of stored values, facts, cautions, and no identity."""

import io
import logging
import warnings

import numpy as np
import pydicom
import pytest
from dicom_maker import SECRETS, as_bytes, assert_levels, dicom_image, image_bytes, stored
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from xray_core.imaging.radiograph import read_radiograph


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4"])
def test_signed_pixels(dtype: str) -> None:
    elements = {"WindowCenter": 0.5, "WindowWidth": 201}
    read = read_radiograph(image_bytes(stored(-100, 0, 100, dtype=dtype), **elements))
    assert_levels(read, 0, 127.5, 255)


def test_twelve_signed_bits_without_extended_sign() -> None:
    pixels = stored(0xF9C, 0, 100)  # 0xF9C is -100 in twelve bits
    elements = {"PixelRepresentation": 1, "WindowCenter": 0.5, "WindowWidth": 201}
    assert_levels(read_radiograph(image_bytes(pixels, 12, **elements)), 0, 127.5, 255)


def test_bits_above_those_stored_are_dropped() -> None:
    pixels = stored(0xF000, 0x8000 + 819, 4095)  # an overlay in the upper bits
    elements = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert_levels(read_radiograph(image_bytes(pixels, 12, **elements)), 0, 51, 255)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_count(photometric: str) -> None:
    pixels = np.linspace(1000, 2000, 10_000).astype("u2").reshape(100, 100)
    pixels[:50] = 0
    elements = {"PhotometricInterpretation": photometric}
    data = dicom_image(pixels, 12, **elements)
    data.add_new("PixelPaddingValue", "US", 0)
    read = read_radiograph(as_bytes(data))
    assert (read.pixels[:50] == 0).all()
    assert read.pixels[50:].min() < 2
    assert read.pixels[50:].max() > 253


def test_padding_range() -> None:
    data = dicom_image(stored(-2000, -1990, 0, 100, dtype="i2"), WindowCenter=50.5, WindowWidth=101)
    data.PhotometricInterpretation = "MONOCHROME1"
    data.add_new("PixelPaddingValue", "SS", -2000)
    data.add_new("PixelPaddingRangeLimit", "SS", -1990)
    assert_levels(read_radiograph(as_bytes(data)), 0, 0, 255, 0)


def test_one_bit_pixels_are_black_and_white() -> None:
    data = dicom_image(stored(0b00000101, 0, dtype="u1"), Rows=1, Columns=3)
    data.BitsAllocated = data.BitsStored = 1
    assert_levels(read_radiograph(as_bytes(data)), 255, 0, 255)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_float_pixels_are_stretched(dtype: str) -> None:
    pixels = np.array([[-1, 0, np.nan, 1]], dtype)
    data = dicom_image(pixels)
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
    assert_levels(read_radiograph(image_bytes(pixels, **elements)), 0, 127.5, 255)


def test_rgb_and_planes() -> None:
    pixels = np.zeros((4, 4, 3), "u1")
    pixels[..., 0] = 255
    read = read_radiograph(image_bytes(pixels))
    assert read.had_colour
    np.testing.assert_array_equal(read.pixels, np.full((4, 4), 76))
    planes = dicom_image(pixels, PlanarConfiguration=1)
    planes.PixelData = np.moveaxis(pixels, -1, 0).tobytes()
    np.testing.assert_array_equal(read_radiograph(as_bytes(planes)).pixels, read.pixels)
    grey = read_radiograph(image_bytes(np.full((4, 4, 3), 99, "u1")))
    assert not grey.had_colour
    np.testing.assert_array_equal(grey.pixels, np.full((4, 4), 99))


def test_ybr_keeps_its_luminance() -> None:
    pixels = np.full((4, 4, 3), 128, "u1")
    pixels[..., 0] = 77
    read = read_radiograph(image_bytes(pixels, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_array_equal(read.pixels, np.full((4, 4), 77))
    assert not read.had_colour


def test_palette_colour() -> None:
    data = dicom_image(stored(0, 1, 2, dtype="u1"), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        data.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [3, 0, 16])
        table = np.array([0, 51 * 257, 65535], "<u2")
        data.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.tobytes())
    assert_levels(read_radiograph(as_bytes(data)), 0, 51, 255)


def test_of_several_frames_the_first_is_read() -> None:
    data = dicom_image(stored(1, 2, 3, 4, dtype="u1"), Columns=2)
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
    data = image_bytes(stored(0, 100, 200), SharedFunctionalGroupsSequence=Sequence([group]))
    assert_levels(read_radiograph(data), 0, 127.5, 255)


@pytest.mark.parametrize(
    ("age", "years"),
    [
        ("004Y", 4),
        ("051Y", 51),
        ("51Y", 51),
        (" 051Y ", 51),
        ("051y", 51),
        ("051", 51),  # without a unit, as some archives write it
        ("51", 51),
        ("4", 4),
        ("018M", 1.5),
        ("18M", 1.5),
        ("006W", 0.115),
        ("026W", 0.498),
        ("010D", 0.027),
        ("000Y", 0),
        ("051Y\\012M", 51),  # of several values the first
        ("51\\52", 51),
        ("\\051Y", None),
        ("", None),
        (" ", None),
        ("ABC", None),
        ("old", None),
        ("Y", None),
        ("-51Y", None),
        ("51.5", None),
        ("0051Y", None),
        ("19731102", None),
    ],
)
@pytest.mark.parametrize("representation", ["AS", "LO"])
def test_age_in_years(age: str, years: float | None, representation: str) -> None:
    data = dicom_image(stored(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom on values that are no age string
        data.add_new("PatientAge", representation, age)
        read = read_radiograph(as_bytes(data))
    assert read.age_years == (years if years is None else pytest.approx(years, abs=1e-3))


@pytest.mark.parametrize(("number", "representation"), [("51", "IS"), (51, "US"), ("51", "DS")])
def test_an_age_stored_as_a_number_is_in_years(number: object, representation: str) -> None:
    data = dicom_image(stored(0, 1))
    data.add_new("PatientAge", representation, number)
    assert read_radiograph(as_bytes(data)).age_years == 51


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Modality": "CT"}, "no X-ray"),
        ({"Modality": "MG"}, "no X-ray"),
        ({"BodyPartExamined": "HAND"}, "not a chest"),
        ({"ViewPosition": "LL"}, "side view"),
        ({"ViewPosition": "LATERAL"}, "side view"),
        ({"SeriesDescription": "Chest LAT"}, "side view"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw detector data"),
    ],
)
def test_what_the_model_does_not_know_is_noted(elements: dict, said: str) -> None:
    read = read_radiograph(image_bytes(stored(0, 1, dtype="u1"), **elements))
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
def test_frontal_chest_images_get_no_caution(elements: dict) -> None:
    assert read_radiograph(image_bytes(stored(0, 1, dtype="u1"), **elements)).notes == ()


def test_view_code_tells_a_side_view() -> None:
    code = Dataset()
    code.CodeMeaning = "left lateral"
    read = read_radiograph(image_bytes(stored(0, 1), ViewCodeSequence=Sequence([code])))
    assert any("side view" in note for note in read.notes)


def test_no_identity_is_kept_said_or_logged(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    data = dicom_image(
        stored(0, 1), SpecificCharacterSet="ISO_IR 999", SeriesDescription=SECRETS[0]
    )
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
