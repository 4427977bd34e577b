"""Maps and lungs drawn over images, and stored."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from xray_core.prediction.overlay import colours, draw_lungs, draw_map, draw_pictures, write_overlay
from xray_core.prediction.result import Prediction

GREY = np.full((9, 9), 100, np.uint8)


def test_an_image_is_unchanged_where_its_map_is_zero():
    heatmap = np.zeros((9, 9), np.float32)
    heatmap[4, 4] = 1.0
    drawn = draw_map(GREY, heatmap)
    assert drawn.shape == (9, 9, 3)
    assert (drawn[0, 0] == 100).all()
    # The highest colour is (255, 255, 204): 0.6 of it over 0.4 of the grey level 100.
    assert drawn[4, 4].tolist() == [193, 193, 162]


def test_the_opacity_of_a_pixel_is_proportional_to_the_map():
    heatmap = np.full((9, 9), 0.5, np.float32)
    expected = np.rint(100 * 0.7 + colours()[128].astype(float) * 0.3)  # 0.6 x 0.5
    assert draw_map(GREY, heatmap)[3, 3] == pytest.approx(expected, abs=1)


def test_pictures_have_map_legend_and_lungs_where_the_prediction_has_them():
    prediction = Prediction(0.9, "PNEUMONIA", (), method="gradcam", map_note="A note.")
    plain = draw_pictures(GREY, prediction)
    assert plain.overlay is None
    assert not plain.lungs_outlined
    assert np.array_equal(plain.pixels, GREY)

    heatmap, lungs = np.ones((9, 9), np.float32), np.zeros((224, 224), bool)
    lungs[60:160, 60:160] = True
    drawn = draw_pictures(GREY, replace(prediction, heatmap=heatmap, lung_mask=lungs))
    assert drawn.lungs_outlined
    assert (drawn.method, drawn.map_note) == ("gradcam", "A note.")
    assert drawn.overlay.legend == ("low", "high (relative to this image)")
    assert np.array_equal(drawn.overlay.colours, colours())
    assert drawn.overlay.pixels[0, 0].tolist() == [193, 193, 162]
    blue = drawn.overlay.pixels[..., 2].astype(int) - drawn.overlay.pixels[..., 0] > 80
    assert blue.any()
    assert not blue[0].any()


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


def test_colour_lies_where_the_map_is_high(tmp_path):
    image = np.full((64, 96), 100, np.uint8)
    heatmap = np.zeros((64, 96), np.float32)
    heatmap[:, :48] = 1
    path = write_overlay(tmp_path / "maps", "ab" * 32, image, heatmap)
    assert path == tmp_path / "maps" / "ab" / f"{'ab' * 32}.jpg"
    assert [file for file in tmp_path.rglob("*.*") if file.is_file()] == [path]
    with Image.open(path) as overlay:
        assert overlay.format == "JPEG"
        pixels = np.asarray(overlay).astype(int)
    assert pixels.shape == (64, 96, 3)
    assert np.abs(pixels[:, 64:] - 100).max() <= 3  # grey, but for the compression
    assert np.abs(pixels[:, :32] - [193, 193, 162.4]).max() <= 6


def test_an_overlay_is_replaced_as_a_whole(tmp_path):
    image, heatmap = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.float32)
    first = write_overlay(tmp_path, "cd" * 32, image, heatmap)
    second = write_overlay(tmp_path, "cd" * 32, image + 200, heatmap)
    assert first == second
    assert np.asarray(Image.open(second)).mean() > 190


def test_two_writers_of_the_same_overlay_do_not_meet(tmp_path, monkeypatch):
    image, heatmap = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.float32)
    original, nested = Path.replace, []

    def replace_after_another(self, target):
        if not nested:
            nested.append(self)
            write_overlay(tmp_path, "cd" * 32, image, heatmap)
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace_after_another)
    path = write_overlay(tmp_path, "cd" * 32, image + 200, heatmap)

    assert list(path.parent.iterdir()) == [path]
    assert np.asarray(Image.open(path)).mean() > 190


def test_an_overlay_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, file, *options, **more):
        Path(file).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        write_overlay(tmp_path, "cd" * 32, np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.float32))
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
