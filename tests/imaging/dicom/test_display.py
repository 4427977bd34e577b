"""Display of every type of stored value; windows and lookup tables; no identity is kept."""

import io

import numpy as np
import pydicom
import pytest
from dicom_maker import as_bytes, assert_levels, dicom_image, image_bytes, stored
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from xray_core.imaging.radiograph import read_radiograph


def lut(first: int, entries: list[int], bits: int = 16, explanation: str = "") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    if explanation:
        item.LUTExplanation = explanation
    return item


def test_eight_bits_without_a_window_are_unchanged() -> None:
    read = read_radiograph(image_bytes(stored(0, 100, 255, dtype="u1")))
    assert_levels(read, 0, 100, 255)
    assert read.source_format == "DICOM"
    assert read.original_size == (1, 3)
    assert (read.modality, read.frames, read.notes, read.windows) == ("CR", 1, (), ())


def test_linear_window_follows_the_standard() -> None:
    # PS3.3, C.11.2.1.2.1 with centre 2048, width 4096: 0 -> 0, 4095 -> 255, 819 -> 51.
    read = read_radiograph(
        image_bytes(stored(0, 819, 4095, 60000), WindowCenter=2048, WindowWidth=4096)
    )
    assert_levels(read, 0, 51, 255, 255)
    assert read.windows == ("centre 2048, width 4096",)


def test_linear_exact_and_sigmoid_windows() -> None:
    exact = image_bytes(
        stored(0, 100, 200), WindowCenter=100, WindowWidth=200, VOILUTFunction="LINEAR_EXACT"
    )
    assert_levels(read_radiograph(exact), 0, 127.5, 255)
    # 255 / (1 + exp(-4 (x - 100) / 200)): x = 0 -> 255 / (1 + e^2)
    sigmoid = image_bytes(
        stored(0, 100, 200), WindowCenter=100, WindowWidth=200, VOILUTFunction="SIGMOID"
    )
    assert_levels(read_radiograph(sigmoid), 30.40, 127.5, 224.60)


def test_monochrome1_is_inverted_after_windowing() -> None:
    # If inverted first, 4000 would lie below the window and become black.
    read = read_radiograph(
        image_bytes(
            stored(0, 100, 200, 4000),
            PhotometricInterpretation="MONOCHROME1",
            WindowCenter=100.5,
            WindowWidth=201,
        )
    )
    assert_levels(read, 255, 127.5, 0, 0)


def test_monochrome1_without_window_is_inverted() -> None:
    data = image_bytes(stored(0, 55, 255, dtype="u1"), PhotometricInterpretation="MONOCHROME1")
    assert_levels(read_radiograph(data), 255, 200, 0)


def test_rescaling_comes_before_the_window() -> None:
    read = read_radiograph(
        image_bytes(
            stored(0, 500, 1000),
            RescaleSlope=2,
            RescaleIntercept=-1000,
            WindowCenter=0.5,
            WindowWidth=2001,
        )
    )
    assert_levels(read, 0, 127.5, 255)


def test_a_negative_slope_inverts_the_grey_levels() -> None:
    data = image_bytes(stored(0, 55, 255, dtype="u1"), RescaleSlope=-1, RescaleIntercept=255)
    assert_levels(read_radiograph(data), 255, 200, 0)


def test_the_modality_lut_comes_before_the_window() -> None:
    read = read_radiograph(
        image_bytes(
            stored(0, 10, 11, 12, 99),
            ModalityLUTSequence=Sequence([lut(10, [0, 400, 800])]),
            WindowCenter=400.5,
            WindowWidth=801,
        )
    )
    assert_levels(read, 0, 0, 127.5, 255, 255)


def test_the_voi_lut_is_preferred_and_all_windows_are_named() -> None:
    elements = {
        "VOILUTSequence": Sequence([lut(0, [0, 255, 51], 8, "HARD")]),
        "WindowCenter": [1.5, 3],
        "WindowWidth": [3, 6],
        "WindowCenterWidthExplanation": ["NORMAL", "BONE <7>"],
    }
    data = image_bytes(stored(0, 1, 2, 3, 4), **elements)
    read = read_radiograph(data)
    assert read.windows == ("HARD", "NORMAL", "BONE 7")
    assert_levels(read, 0, 255, 51, 51, 51)
    assert_levels(read_radiograph(data, window=1), 0, 127.5, 255, 255, 255)
    assert_levels(read_radiograph(data, window=2), 0, 51, 102, 153, 204)
    assert_levels(read_radiograph(data, window=9), 0, 255, 51, 51, 51)


def test_a_voi_lut_of_12_bits_declared_as_16_is_not_dark() -> None:
    table = Sequence([lut(0, [0, 819, 4095], bits=16)])
    assert_levels(read_radiograph(image_bytes(stored(0, 1, 2), VOILUTSequence=table)), 0, 51, 255)


def test_a_voi_lut_of_8_bits_with_over_256_entries_does_not_wrap() -> None:
    table = Sequence([lut(0, [entry // 16 for entry in range(4096)], bits=8)])
    data = image_bytes(stored(0, 2064, 4095), VOILUTSequence=table)
    assert_levels(read_radiograph(data), 0, 129, 255)


def test_a_lut_that_starts_below_zero() -> None:
    pixels = stored(-100, -5, -4, 7, dtype="i2")
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [3, -5, 16])
    item.add_new("LUTData", "US", [0, 51, 255])
    read = read_radiograph(image_bytes(pixels, VOILUTSequence=Sequence([item])))
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
def test_an_invalid_window_or_lut_is_ignored(elements: dict) -> None:
    read = read_radiograph(image_bytes(stored(0, 51, 255, dtype="u1"), **elements))
    assert_levels(read, 0, 51, 255)
    assert read.windows == ()


def test_a_window_that_leaves_no_detail_is_replaced_by_the_full_range() -> None:
    pixels = np.arange(1000, 2000, dtype="u2").reshape(20, 50)
    read = read_radiograph(image_bytes(pixels, 12, WindowCenter=20, WindowWidth=40))
    assert read.pixels.min() == 0
    assert read.pixels.max() == 255
    assert any("no detail" in note for note in read.notes)


def test_a_deep_image_without_window_is_stretched_with_a_note() -> None:
    pixels = np.linspace(300, 2100, 10_000).astype("u2").reshape(100, 100)
    pixels[0, 0] = 4095  # a marker
    read = read_radiograph(image_bytes(pixels, 12))
    assert abs(float(np.median(read.pixels)) - 127.5) < 1
    assert any("has no window" in note for note in read.notes)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4"])
def test_signed_pixels(dtype: str) -> None:
    elements = {"WindowCenter": 0.5, "WindowWidth": 201}
    read = read_radiograph(image_bytes(stored(-100, 0, 100, dtype=dtype), **elements))
    assert_levels(read, 0, 127.5, 255)


def test_twelve_signed_bits_without_extended_sign() -> None:
    pixels = stored(0xF9C, 0, 100)  # 0xF9C is -100 in twelve bits
    elements = {"PixelRepresentation": 1, "WindowCenter": 0.5, "WindowWidth": 201}
    assert_levels(read_radiograph(image_bytes(pixels, 12, **elements)), 0, 127.5, 255)


def test_bits_above_bits_stored_are_cleared() -> None:
    pixels = stored(0xF000, 0x8000 + 819, 4095)  # an overlay in the upper bits
    elements = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert_levels(read_radiograph(image_bytes(pixels, 12, **elements)), 0, 51, 255)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_affect_the_range(photometric: str) -> None:
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


def test_the_first_frame_of_several_is_read() -> None:
    data = dicom_image(stored(1, 2, 3, 4, dtype="u1"), Columns=2)
    data.NumberOfFrames = 2
    read = read_radiograph(as_bytes(data))
    assert_levels(read, 1, 2)
    assert read.frames == 2
    assert read.notes == ("Only the first of 2 frames was read.",)


def test_window_and_rescale_are_read_from_functional_groups() -> None:
    window, rescale, group = Dataset(), Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 0.5, 201
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, -100
    group.FrameVOILUTSequence = Sequence([window])
    group.PixelValueTransformationSequence = Sequence([rescale])
    data = image_bytes(stored(0, 100, 200), SharedFunctionalGroupsSequence=Sequence([group]))
    assert_levels(read_radiograph(data), 0, 127.5, 255)
