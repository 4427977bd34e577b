"""The values of a DICOM image before its window, and its pixel spacing."""

import numpy as np
import pytest
from dicom_maker import SECRETS, image_bytes, stored

from xray_core.imaging.adjustment import Adjustment, Box
from xray_core.imaging.full_depth import FullDepth, Window
from xray_core.imaging.pixels import adjust, rotate
from xray_core.imaging.radiograph import Radiograph, read_radiograph

VALUES = np.linspace(0, 4095, 4096).astype("u2").reshape(64, 64)


def units(depth: FullDepth) -> np.ndarray:
    return depth.values * depth.slope + depth.intercept


def read(pixels: np.ndarray, bits: int | None = None, **elements: object) -> Radiograph:
    return read_radiograph(image_bytes(pixels, bits, **elements), full_depth=True)


def test_values_outside_the_window_are_kept_exactly() -> None:
    image = read(
        VALUES, 12, WindowCenter=2048, WindowWidth=1000, RescaleSlope=2, RescaleIntercept=-7
    )
    assert image.full_depth is not None
    np.testing.assert_array_equal(units(image.full_depth), 2.0 * VALUES - 7)
    assert image.full_depth.window == Window("centre 2048, width 1000", 2048, 1000)
    assert image.full_depth.windows == (image.full_depth.window,)
    assert not image.full_depth.inverted


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_levels_of_the_values_are_those_of_the_image_as_analysed(photometric, function) -> None:
    image = read(
        VALUES,
        12,
        WindowCenter=1500,
        WindowWidth=900,
        VOILUTFunction=function,
        PhotometricInterpretation=photometric,
    )
    depth = image.full_depth
    assert depth is not None
    np.testing.assert_array_equal(depth.levels[depth.values], np.rint(image.pixels))
    assert depth.inverted == (photometric == "MONOCHROME1")


def test_a_linear_exact_window_is_given_as_the_same_linear_one() -> None:
    """(x - 1500) / 900 + 0.5 is (x - (1500.5 - 0.5)) / (901 - 1) + 0.5."""
    image = read(VALUES, 12, WindowCenter=1500, WindowWidth=900, VOILUTFunction="LINEAR_EXACT")
    assert image.full_depth is not None
    assert (image.full_depth.window.center, image.full_depth.window.width) == (1500.5, 901)


def test_a_sigmoid_has_the_range_in_which_its_levels_change() -> None:
    image = read(VALUES, 12, WindowCenter=2000, WindowWidth=500, VOILUTFunction="SIGMOID")
    depth = image.full_depth
    assert depth is not None
    assert depth.windows == ()
    assert depth.window.center == pytest.approx(2000, abs=5)
    # 255 / (1 + exp(-4 (x - 2000) / 500)) rounds to 1 to 254 within 500 / 4 * ln(509) of 2000.
    assert depth.window.width == pytest.approx(2 * 500 / 4 * np.log(509), abs=10)


@pytest.mark.parametrize(("photometric", "black"), [("MONOCHROME2", 0), ("MONOCHROME1", 103)])
def test_padding_has_a_value_of_its_own_that_is_black(photometric, black) -> None:
    pixels = stored(9999, *range(100, 202))
    image = read(
        pixels,
        PixelPaddingValue=9999,
        WindowCenter=0,
        WindowWidth=2000,
        PhotometricInterpretation=photometric,
    )
    depth = image.full_depth
    assert depth is not None
    assert depth.values[0, 0] == black
    assert depth.levels[black] == 0
    assert image.pixels[0, 0] == 0
    np.testing.assert_array_equal(units(depth)[0, 1:], pixels[0, 1:])


def test_fractions_of_units_use_all_16_bits() -> None:
    image = read(VALUES, 12, RescaleSlope=0.001, RescaleIntercept=0)
    assert image.full_depth is not None
    np.testing.assert_allclose(units(image.full_depth), 0.001 * VALUES, atol=0.0001)


def test_values_of_more_than_16_bits_have_none() -> None:
    assert read(VALUES.astype("u4")).full_depth is None


def test_it_is_kept_on_request_only() -> None:
    assert read_radiograph(image_bytes(VALUES, 12)).full_depth is None


def test_a_large_image_is_halved_with_its_values() -> None:
    pixels = np.repeat(np.arange(5000, dtype="u2"), 5000).reshape(5000, 5000)
    image = read(pixels, WindowCenter=2500, WindowWidth=5000, PixelSpacing=[0.1, 0.1])
    assert image.full_depth is not None
    assert image.full_depth.values.shape == image.pixels.shape == (2500, 2500)
    assert image.pixel_spacing == (0.2, 0.2)
    # Rows 10 and 11 become one, of 10.5, which is rounded to even.
    assert units(image.full_depth)[5, 0] in (10, 11)


def test_a_rotated_and_inverted_image_has_its_values_rotated_and_inverted() -> None:
    image = read(VALUES[:, :32], 12, WindowCenter=2048, WindowWidth=4096, PixelSpacing=[0.2, 0.1])
    turned = rotate(image, 1, inverted=True)
    depth = turned.full_depth
    assert depth is not None
    assert depth.inverted
    np.testing.assert_array_equal(units(depth), np.rot90(VALUES[:, :32], -1))
    np.testing.assert_allclose(depth.levels[depth.values], turned.pixels, atol=0.51)
    assert turned.pixel_spacing == (0.1, 0.2)
    assert image.pixel_spacing == (0.2, 0.1)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_adjusted_image_has_its_values_adjusted(turns: int, mirrored: bool) -> None:
    image = read(VALUES[:, :32], 12, WindowCenter=2048, WindowWidth=4096)
    box = Box(0.25, 0.0, 1.0, 0.5)
    changed = adjust(image, Adjustment(turns, True, mirrored, box))
    depth = changed.full_depth
    assert depth is not None
    part = VALUES[16:, :16]
    np.testing.assert_array_equal(
        units(depth), np.rot90(part[:, ::-1] if mirrored else part, -turns)
    )
    np.testing.assert_allclose(depth.levels[depth.values], changed.pixels, atol=0.51)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, ((0.2, 0.1), False)),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, ((0.2, 0.1), True)),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.2, 0.2]}, ((0.2, 0.2), True)),
        ({"PixelSpacing": [0.18, 0.18], "ImagerPixelSpacing": [0.2, 0.2]}, ((0.18, 0.18), False)),
        ({"PixelSpacing": [0, 0.1]}, (None, False)),
        ({}, (None, False)),
    ],
)
def test_pixel_spacing_says_where_it_is_measured(elements, expected) -> None:
    image = read(VALUES, 12, **elements)
    assert (image.pixel_spacing, image.spacing_at_detector) == expected
    assert not any(secret in repr(image) for secret in SECRETS)
