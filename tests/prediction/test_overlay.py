import numpy as np
from PIL import Image

from xray_core.prediction.overlay import write_overlay


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
    # The highest colour is (255, 255, 204): 0.6 of it over 0.4 of the grey level 100.
    assert np.abs(pixels[:, :32] - [193, 193, 162.4]).max() <= 6


def test_an_overlay_is_replaced_as_a_whole(tmp_path):
    image, heatmap = np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.float32)
    first = write_overlay(tmp_path, "cd" * 32, image, heatmap)
    second = write_overlay(tmp_path, "cd" * 32, image + 200, heatmap)
    assert first == second
    assert np.asarray(Image.open(second)).mean() > 190
