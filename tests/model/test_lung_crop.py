"""The part of an image that a classifier gets: straightened, cropped to the lungs, and back."""

from dataclasses import replace

import numpy as np
import pytest
from lung_network import FIELDS, draw_chest, drawn_mask
from scipy.ndimage import rotate

from xray_core.imaging.adjustment import WHOLE, Box
from xray_core.model import lung_crop as crops
from xray_core.model.lung_crop import (
    UNCROPPED,
    LungCrop,
    classifier_crop,
    classifier_input,
    crop_image,
    lung_crop,
    lung_slope,
    resize_map,
)
from xray_core.model.recipes import find_recipe

CNN = find_recipe("cnn")
CROPPING = replace(CNN, lung_margin=0.25)


@pytest.fixture
def level(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `draw_chest` draws is upright."""
    monkeypatch.setattr(crops, "TYPICAL_SLOPE", lung_slope(drawn_mask()))


def as_input(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)[..., np.newaxis]


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """Turn an image counterclockwise; the corners are black."""
    return rotate(pixels.astype(np.float32), degrees, reshape=False, order=1)


def test_without_a_margin_the_classifier_gets_the_whole_image() -> None:
    image = as_input(draw_chest())
    assert classifier_crop(drawn_mask(), CNN) == UNCROPPED
    assert classifier_input(image, drawn_mask(), CNN) is image


def test_an_image_without_lungs_is_not_cropped() -> None:
    image = as_input(draw_chest(()))
    assert classifier_input(image, np.zeros((224, 224), bool), CROPPING) is image


@pytest.mark.usefixtures("level")
def test_the_classifier_gets_the_lungs_with_the_margin_of_its_recipe() -> None:
    crop = classifier_crop(drawn_mask(), CROPPING)
    assert crop.turn == pytest.approx(0.0)
    # Rows 30 to 148 and columns 40 to 180, each with a quarter of 118 and 140 pixels around.
    assert np.array(crop.box) * 224 == pytest.approx([0.5, 5.0, 177.5, 215.0])
    image = as_input(draw_chest())
    pixels = classifier_input(image, drawn_mask(), CROPPING)
    assert np.array_equal(pixels, crop_image(image, crop))
    assert pixels.shape == (224, 224, 1)
    assert np.array_equal(pixels, np.rint(pixels))
    dark = np.flatnonzero((pixels[:, :, 0] < 115).any(axis=1))
    # The first and last dark rows, 30 and 147, at the scale of the crop.
    assert [dark[0], dark[-1]] == pytest.approx([29.5 * 224 / 177, 147 * 224 / 177], abs=1.5)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("degrees", [-15, -5, 5, 15])
def test_a_tilted_image_gives_the_input_of_the_upright_one(degrees: float) -> None:
    tilted = turned(drawn_mask(), degrees) > 0.5
    assert lung_slope(tilted) == pytest.approx(crops.TYPICAL_SLOPE - degrees, abs=0.5)
    upright = classifier_input(as_input(draw_chest()), drawn_mask(), CROPPING)
    straightened = classifier_input(as_input(turned(draw_chest(), degrees)), tilted, CROPPING)
    inner = np.s_[12:-12, 12:-12]  # the black corners may reach into the margin
    difference = np.abs(straightened - upright)[inner]
    assert np.median(difference) <= 4  # the noise of the drawing, interpolated
    assert (difference > 30).mean() < 0.03  # edges of the lungs, by a pixel
    cropped_only = crop_image(
        as_input(turned(draw_chest(), degrees)), LungCrop(0.0, lung_crop(tilted, 0.25).box)
    )
    assert (np.abs(cropped_only - upright)[inner] > 30).mean() > 0.06


def test_fields_at_the_typical_slope_are_not_turned() -> None:
    excess = lung_slope(drawn_mask()) - crops.TYPICAL_SLOPE
    tilted = turned(drawn_mask(), excess) > 0.5
    assert lung_crop(tilted, 0.1).turn == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("fields", [FIELDS[:1], ((10, 60, 40, 100), (120, 200, 120, 180))])
def test_one_field_or_an_implausible_slope_turns_nothing(
    fields: tuple[tuple[int, int, int, int], ...],
) -> None:
    assert lung_crop(drawn_mask(fields), 0.1).turn == 0.0


def test_empty_corners_continue_the_edge_of_the_image() -> None:
    bright = as_input(np.full((224, 224), 200))
    assert crop_image(bright, LungCrop(12.0, WHOLE)).min() == 200


def test_a_map_is_resized_smoothly_to_the_image() -> None:
    coarse = np.zeros((4, 4), np.float32)
    coarse[1, 2] = 1.0
    heatmap = resize_map(coarse, (400, 200))
    assert heatmap.shape == (400, 200)
    # The cell's middle: row 1.5 of 4 of 400 pixels, column 2.5 of 4 of 200.
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == pytest.approx((149.5, 124.5), abs=1)
    assert np.abs(np.diff(heatmap, axis=0)).max() < 0.05
    assert heatmap.min() >= 0


def test_the_map_of_a_crop_is_put_back_at_its_place() -> None:
    coarse = np.full((14, 14), 0.5, np.float32)
    coarse[6:8, 6:8] = 1.0
    heatmap = resize_map(coarse, (400, 200), LungCrop(0.0, Box(0.25, 0.1, 0.75, 0.5)))
    assert heatmap.shape == (400, 200)
    inside = np.s_[100:300, 20:100]
    assert heatmap[inside].min() > 0
    assert heatmap[inside] == pytest.approx(resize_map(coarse, (200, 80)), abs=0.02)
    heatmap[inside] = 0
    assert not heatmap.any()


@pytest.mark.parametrize("turn", [-12.0, 7.0])
@pytest.mark.parametrize("scale", [1, 3])
def test_a_point_of_the_input_is_found_again_in_the_image(turn: float, scale: int) -> None:
    image = np.zeros((224, 224), np.float32)
    image[70:75, 150:155] = 255
    crop = LungCrop(turn, Box(0.1, 0.2, 0.9, 0.95))
    spot = crop_image(image[..., np.newaxis], crop)[..., 0] / 255
    heatmap = resize_map(spot, (224 * scale, 224 * 2 * scale), crop)
    rows, columns = np.nonzero(heatmap > 0.5)
    centre = np.array([rows.mean() + 0.5, columns.mean() + 0.5]) / [scale, 2 * scale]
    assert centre == pytest.approx([72.5, 152.5], abs=0.5)


@pytest.mark.parametrize("box", [Box(0.999, 0.0, 1.0, 1.0), Box(0.5, 0.5, 0.52, 0.52)])
def test_the_map_of_a_tiny_crop_is_no_error(box: Box) -> None:
    heatmap = resize_map(np.ones((14, 14), np.float32), (200, 300), LungCrop(0.0, box))
    assert heatmap.shape == (200, 300)
    assert 0 <= heatmap.min() <= heatmap.max() <= 1
