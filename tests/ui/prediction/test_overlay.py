"""Drawing maps and lungs over images, for the report."""

import cv2
import numpy as np
import pytest

from ui.prediction.overlay import (
    COLOUR_MAPS,
    colours,
    draw_lungs,
    draw_overlay,
)

GREY = np.full((9, 9), 100, np.uint8)


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_an_image_is_unchanged_where_its_map_is_zero(name):
    heatmap = np.zeros((9, 9), np.float32)
    heatmap[4, 4] = 1.0
    drawn = draw_overlay(GREY, heatmap, name, 1.0)
    assert drawn.pixels.shape == (9, 9, 3)
    assert (drawn.pixels[0, 0] == 100).all()
    assert np.array_equal(drawn.pixels[4, 4], colours(name)[255])
    assert np.array_equal(drawn.colours, colours(name))


def test_the_opacity_of_a_pixel_is_proportional_to_the_map():
    heatmap = np.full((9, 9), 0.5, np.float32)
    top = colours("Heat")[128].astype(float)
    expected = np.rint(100 * 0.8 + top * 0.2)  # 0.4 x 0.5
    assert draw_overlay(GREY, heatmap, "Heat", 0.4).pixels[3, 3] == pytest.approx(expected, abs=1)


def test_the_legend_has_the_colours_of_the_map():
    drawn = draw_overlay(GREY, np.ones((9, 9), np.float32), "Rainbow", 1.0)
    assert np.array_equal(drawn.colours, colours("Rainbow"))
    assert drawn.legend == ("low", "high (relative to this image)")


@pytest.mark.parametrize("image", [GREY.repeat(20, 0).repeat(20, 1), None], ids=["grey", "colour"])
def test_the_outline_of_the_lungs_follows_their_edge(image):
    if image is None:
        image = np.full((180, 180, 3), 100, np.uint8)
    lungs = np.zeros((180, 180), bool)
    lungs[40:140, 30:80] = lungs[50:150, 100:150] = True
    before = image.copy()
    drawn = draw_lungs(image, lungs)
    assert np.array_equal(image, before)
    assert drawn.shape == (180, 180, 3)
    changed = (drawn != 100).any(axis=2)
    edge = lungs ^ cv2.erode(lungs.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    assert changed[edge].all()
    near = cv2.dilate(edge.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    assert not changed[~near].any()
    blue = drawn[..., 2].astype(int) - drawn[..., 0] > 80
    assert blue[edge].mean() > 0.9


def test_no_lungs_have_no_outline():
    drawn = draw_lungs(GREY, np.zeros(GREY.shape, bool))
    assert (drawn == 100).all()
