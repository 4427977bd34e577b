import os
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xray_core.dataset.index import SUFFIXES
from xray_core.imaging.checks import check_pixels
from xray_core.imaging.radiograph import Radiograph, read_radiograph


def as_radiograph(pixels, had_colour=False):
    return Radiograph(np.asarray(pixels, dtype=np.float32), pixels.shape, had_colour)


def image_like(height=224, width=224, seed=0):
    """Grey waves with noise and a black border, which must pass the pixel checks."""
    y, x = np.mgrid[0:height, 0:width]
    image = 120 + 70 * np.sin(x / width * 9) * np.cos(y / height * 7)
    image += np.random.default_rng(seed).normal(0, 5, image.shape)
    image[:, : width // 10] = 0
    return np.clip(np.rint(image), 0, 255)


def test_an_image_like_a_radiograph_passes():
    assert check_pixels(as_radiograph(image_like())) == []
    assert check_pixels(as_radiograph(image_like(900, 1300))) == []
    enlarged = image_like().repeat(4, axis=0).repeat(5, axis=1)
    assert check_pixels(as_radiograph(enlarged)) == []


def page_of_text():
    image = np.full((300, 220), 255.0)
    image[20:280:8, 20:200] = np.where(np.arange(180) % 3 == 0, 20.0, 240.0)
    return image + np.random.default_rng(0).normal(0, 1.0, image.shape)


def screenshot():
    image = np.full((300, 400), 236.0)
    image[:30] = 52.0
    image[60:200, 40:300] = image_like(140, 260)
    return image


def drawing():
    image = np.full((200, 200), 40.0)
    image[50:150, 50:150] = 200.0
    return image


def gradient():
    return np.linspace(20, 230, 300)[:, np.newaxis] + np.linspace(0, 20, 260)


def clouds():
    soft = gaussian_filter(np.random.default_rng(0).normal(size=(300, 300)), 40)
    return 128 + 50 * soft / soft.std()


def noise():
    return np.random.default_rng(0).normal(128, 40, (224, 224))


def mask():
    image = np.zeros((200, 200))
    image[40:160, 30:80] = image[40:160, 120:170] = 255.0
    return image


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (np.zeros((200, 200)), "blank"),
        (np.full((200, 200), 255.0), "blank"),
        (np.full((200, 200), 90.0) + np.arange(200) % 3, "blank"),
        (image_like(50, 60), "too small"),
        (image_like(100, 400), "strip"),
        (page_of_text(), "white"),
        (screenshot(), "even shade"),
        (drawing(), "shades of grey"),
        (mask(), "shades of grey"),
        (gradient(), "smooth gradient"),
        (clouds(), "no fine detail: it is blurred"),
        (noise(), "consists of fine detail"),
        (np.pad(image_like(60, 60), 150), "nearly all black"),
    ],
)
def test_what_cannot_be_a_radiograph_is_refused(pixels, word):
    reasons = check_pixels(as_radiograph(pixels))
    assert len(reasons) == 1
    assert word in reasons[0]


def test_a_colour_image_is_refused():
    assert "Colour" in check_pixels(as_radiograph(image_like(), had_colour=True))[0]


@pytest.mark.data
def test_every_image_of_the_dataset_passes():
    images = [
        path
        for path in Path(os.environ["CHEST_XRAY_DIR"]).rglob("*")
        if path.suffix.lower() in SUFFIXES
    ]
    assert len(images) == 5856
    assert [path.name for path in images if check_pixels(read_radiograph(path))] == []
