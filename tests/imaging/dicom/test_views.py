"""A DICOM image's windows and lookup tables: which one is used, and what it makes of a value."""

import numpy as np
import pytest
from dicom_maker import assert_levels, image_bytes, stored
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from xray_core.imaging.radiograph import read_radiograph


def lut(first: int, entries: list[int], bits: int = 16, explanation: str = "") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    if explanation:
        item.LUTExplanation = explanation
    return item


def test_eight_bits_without_window_arrive_unchanged() -> None:
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
    # Inverted before it, 4000 would lie under the window and come out black.
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


def test_negative_slope_turns_the_greys() -> None:
    data = image_bytes(stored(0, 55, 255, dtype="u1"), RescaleSlope=-1, RescaleIntercept=255)
    assert_levels(read_radiograph(data), 255, 200, 0)


def test_modality_table_comes_before_the_window() -> None:
    read = read_radiograph(
        image_bytes(
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
    data = image_bytes(stored(0, 1, 2, 3, 4), **elements)
    read = read_radiograph(data)
    assert read.windows == ("HARD", "NORMAL", "BONE 7")
    assert_levels(read, 0, 255, 51, 51, 51)
    assert_levels(read_radiograph(data, window=1), 0, 127.5, 255, 255, 255)
    assert_levels(read_radiograph(data, window=2), 0, 51, 102, 153, 204)
    assert_levels(read_radiograph(data, window=9), 0, 255, 51, 51, 51)


def test_voi_table_of_12_bits_declared_as_16_is_not_dark() -> None:
    table = Sequence([lut(0, [0, 819, 4095], bits=16)])
    assert_levels(read_radiograph(image_bytes(stored(0, 1, 2), VOILUTSequence=table)), 0, 51, 255)


def test_voi_table_of_8_bits_with_over_256_entries_does_not_wrap() -> None:
    table = Sequence([lut(0, [entry // 16 for entry in range(4096)], bits=8)])
    data = image_bytes(stored(0, 2064, 4095), VOILUTSequence=table)
    assert_levels(read_radiograph(data), 0, 129, 255)


def test_a_table_that_starts_below_zero() -> None:
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
def test_a_view_that_makes_no_sense_is_passed_over(elements: dict) -> None:
    read = read_radiograph(image_bytes(stored(0, 51, 255, dtype="u1"), **elements))
    assert_levels(read, 0, 51, 255)
    assert read.windows == ()


def test_a_window_that_leaves_no_detail_gives_way_to_the_full_range() -> None:
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
    assert any("no display window" in note for note in read.notes)
