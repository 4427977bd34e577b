"""The resize to the model input, rotation and inversion."""

import warnings

import numpy as np
import pytest
from numpy.typing import ArrayLike

from xray_core.imaging.adjustment import Adjustment, Box
from xray_core.imaging.pixels import adjust, crop, rotate, to_model_input
from xray_core.imaging.radiograph import Radiograph


def as_radiograph(pixels: ArrayLike) -> Radiograph:
    grey = np.asarray(pixels, dtype=np.float32)
    return Radiograph(grey, grey.shape)


def test_an_image_of_the_model_size_is_unchanged() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (224, 224), dtype="u1")
    result = to_model_input(pixels)
    assert result.dtype == np.float32
    assert result.shape == (224, 224, 1)
    np.testing.assert_array_equal(result[:, :, 0], pixels)
    np.testing.assert_array_equal(to_model_input(pixels[:, :, np.newaxis]), result)
    np.testing.assert_array_equal(to_model_input(as_radiograph(pixels)), result)


def test_shrinking_averages_over_the_area() -> None:
    # Columns repeat 0, 0, 0, 255. Nearest-neighbour gives 0 or 255, plain bilinear 0 or 128.
    pixels = np.zeros((448, 896), dtype=np.float32)
    pixels[:, 3::4] = 255
    result = to_model_input(pixels)
    inner = result[:, 2:-2]
    assert inner.min() > 40
    assert inner.max() < 90
    assert abs(float(inner.mean()) - 63.75) < 1


def test_every_pixel_counts_when_shrinking() -> None:
    pixels = np.zeros((2240, 2240), dtype=np.float32)
    pixels[1003, 1207] = 255  # one of five million
    assert to_model_input(pixels).sum() > 0


def test_the_aspect_ratio_is_not_kept() -> None:
    pixels = np.zeros((100, 1000), dtype="u1")
    pixels[:, 500:] = 200
    result = to_model_input(pixels)[:, :, 0]
    assert result.shape == (224, 224)
    assert (result[:, :100] == 0).all()
    assert (result[:, 124:] == 200).all()


def test_grey_levels_are_whole_and_in_range() -> None:
    pixels = np.random.default_rng(3).random((500, 300), dtype=np.float32) * 255
    result = to_model_input(pixels)
    assert (result == np.rint(result)).all()
    assert result.min() >= 0
    assert result.max() <= 255


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((224, 224, 3)),
        np.zeros((1, 224, 224)),
        np.zeros(224),
        np.zeros((0, 5)),
        np.full((10, 10), 300.0),
        np.full((10, 10), -1.0),
        np.full((10, 10), np.nan),
    ],
)
def test_other_shapes_and_ranges_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Received"):
        to_model_input(pixels)


def test_pixels_scaled_to_one_give_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"\[0, 1\]"):
        to_model_input(np.full((10, 10), 0.5))


def test_a_dark_image_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_model_input(as_radiograph(np.full((9, 9), 0.4)))
        to_model_input(np.ones((9, 9), dtype="u1"))
        to_model_input(np.zeros((9, 9)))


def test_rotation_is_clockwise() -> None:
    image = as_radiograph([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(rotate(image, 1).pixels, [[4, 1], [5, 2], [6, 3]])
    np.testing.assert_array_equal(rotate(image, 2).pixels, [[6, 5, 4], [3, 2, 1]])
    np.testing.assert_array_equal(rotate(image, -1).pixels, [[3, 6], [2, 5], [1, 4]])
    np.testing.assert_array_equal(rotate(image, 4).pixels, image.pixels)
    assert rotate(image, 1).original_size == (2, 3)


def test_inversion_exchanges_black_and_white() -> None:
    image = as_radiograph([[0, 100, 255]])
    np.testing.assert_array_equal(rotate(image, inverted=True).pixels, [[255, 155, 0]])
    np.testing.assert_array_equal(image.pixels, [[0, 100, 255]])


def test_an_adjusted_image_is_cropped_mirrored_rotated_and_inverted_in_this_order() -> None:
    image = as_radiograph([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(
        adjust(image, Adjustment(mirrored=True)).pixels, [[3, 2, 1], [6, 5, 4]]
    )
    right = Adjustment(1, True, True, Box(0.0, 1 / 3, 1.0, 1.0))  # [[2, 3], [5, 6]] is kept
    changed = adjust(image, right)
    np.testing.assert_array_equal(changed.pixels, [[249, 252], [250, 253]])
    assert changed.adjustment == right
    assert changed.pixels.flags["C_CONTIGUOUS"]
    assert not changed.pixels.flags.writeable


def test_nothing_to_adjust_returns_the_image_itself() -> None:
    image = as_radiograph([[1, 2, 3], [4, 5, 6]])
    assert adjust(image, Adjustment()) is image
    assert crop(image, Box(0.0, 0.0, 1.0, 1.0)) is image


def test_the_spacing_belongs_to_the_rows_and_columns_of_the_adjusted_image() -> None:
    pixels = np.zeros((2, 3), np.float32)
    image = Radiograph(pixels, pixels.shape, pixel_spacing=(0.1, 0.2))
    for turns, spacing in enumerate([(0.1, 0.2), (0.2, 0.1), (0.1, 0.2), (0.2, 0.1)]):
        assert rotate(image, turns).pixel_spacing == spacing
        assert adjust(image, Adjustment(turns, mirrored=True)).pixel_spacing == spacing
    half = adjust(image, Adjustment(crop=Box(0.0, 0.0, 0.5, 0.5)))
    assert half.pixel_spacing == (0.1, 0.2)
    assert adjust(Radiograph(pixels, pixels.shape), Adjustment(1)).pixel_spacing is None


def test_the_crop_of_a_halved_image_keeps_the_scale_of_its_stored_size() -> None:
    image = Radiograph(np.zeros((100, 80), np.float32), (199, 160))
    assert crop(image, Box(0.5, 0.25, 1.0, 1.0)).original_size == (100, 120)


ADJUSTMENTS = [
    Adjustment(turns, inverted, mirrored, crop)
    for turns in range(4)
    for inverted in (False, True)
    for mirrored in (False, True)
    for crop in (Box(0.0, 0.0, 1.0, 1.0), Box(0.25, 0.0, 1.0, 0.5))
]


@pytest.mark.parametrize("first", ADJUSTMENTS)
def test_two_adjustments_equal_one(first: Adjustment) -> None:
    """The sides are divisible by 4 twice, so that all boxes end between pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32)).astype(np.float32)
    image = Radiograph(pixels, pixels.shape, pixel_spacing=(0.1, 0.2))
    for second in ADJUSTMENTS:
        in_two = adjust(adjust(image, first), second)
        in_one = adjust(image, first.then(second))
        np.testing.assert_array_equal(in_two.pixels, in_one.pixels)
        assert in_two.adjustment == in_one.adjustment == first.then(second)
        assert in_two.pixel_spacing == in_one.pixel_spacing


def test_an_adjustment_that_is_undone_leaves_no_record() -> None:
    image = as_radiograph(np.arange(12).reshape(3, 4))
    changed = adjust(image, Adjustment(1, True, True))
    # Mirrored images are rotated back by rotating them in the same direction again.
    again = adjust(changed, Adjustment(1, True, True))
    np.testing.assert_array_equal(again.pixels, image.pixels)
    assert again.adjustment == Adjustment()
    assert again.adjustment.sentence == ""
