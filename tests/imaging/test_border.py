import numpy as np
import pytest

from xray_core.imaging.border import Border, content_box, find_border
from xray_core.imaging.pixels import crop
from xray_core.imaging.radiograph import Radiograph


def radiograph(pixels):
    pixels = pixels.astype(np.float32)
    return Radiograph(pixels, pixels.shape, notes=("A note.",))


@pytest.fixture
def bright(image):
    """An image (100, 120) that is nowhere black at its edges."""
    return np.clip(image(1, False, 100, 120).astype(np.float32), 60, 255)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize(
    "border",
    [Border(10, 20, 30, 40), Border(20, 0, 20, 0), Border(0, 30, 0, 25), Border(5, 40, 5, 0)],
)
def test_a_border_is_measured_on_each_side(level, border):
    inside = np.where(
        np.indices((100, 120)).sum(axis=0) % 2, 60.0, 200.0
    )  # different from each level
    around = np.pad(
        inside, ((border.top, border.bottom), (border.left, border.right)), constant_values=level
    ).astype(np.float32)
    assert find_border(around) == border
    bordered = radiograph(around)
    cropped = crop(bordered, content_box(bordered.pixels))
    assert np.array_equal(cropped.pixels, inside)
    assert cropped.original_size == (100, 120)
    assert cropped.notes == ("A note.",)


@pytest.mark.parametrize("rotated", [False, True])
def test_cropping_a_large_image_keeps_the_scale_of_its_stored_size(bright, rotated):
    """A large image is held at half its height and width, and may be rotated."""
    around = np.pad(bright, 40, constant_values=10)  # (180, 200)
    stored = (399, 359) if rotated else (359, 399)
    bordered = Radiograph(around.astype(np.float32), stored)
    cropped = crop(bordered, content_box(bordered.pixels))
    assert cropped.pixels.shape == (100, 120)
    assert cropped.original_size == (200, 240)


def test_noise_and_a_letter_in_the_border_do_not_hide_it(bright):
    around = np.pad(bright, 40, constant_values=10)
    around += np.random.default_rng(0).uniform(-4, 4, around.shape).astype(np.float32)
    around[10:14, 20:23] = 255
    border = find_border(around)
    assert border is not None
    assert abs(border.top - 40) <= 1


def test_an_image_without_a_border_is_returned_itself(image):
    whole = radiograph(image(1))
    assert find_border(whole.pixels) is None
    assert crop(whole, content_box(whole.pixels)) is whole


def test_dark_margins_that_fade_into_the_image_are_no_border(image):
    pixels = image(1).astype(np.float32)
    ramp = np.clip((np.arange(224) - 10) / 60, 0, 1)
    pixels *= np.minimum(ramp, ramp[::-1])  # black for ten columns, then slowly brighter
    assert find_border(pixels) is None


def test_a_bar_on_one_side_alone_is_no_border(bright):
    assert find_border(np.pad(bright, ((0, 0), (30, 0)))) is None


def test_wide_bars_are_a_border_around_an_image_with_dark_edges(image):
    pixels = image(1).astype(np.float32)
    pixels[:, :4] = pixels[:, -4:] = 0
    border = find_border(np.pad(pixels, ((0, 0), (60, 60))))
    assert border == Border(0, 64, 0, 64)


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2)])
def test_tiny_and_blank_images_raise_no_error(shape):
    find_border(np.zeros(shape, np.float32))
    find_border(np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32))
