"""The load test recognises each image by its number, and nothing else as an image."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.visitors import (
    MAP_HEIGHT,
    MAP_WIDTH,
    number_of,
    numbered_image,
    unpack,
)
from ui.viewer.viewer import pack, pack_map


@pytest.mark.parametrize("number", [0, 1, (5 << 12) + 7, 2**24 - 1])
def test_an_image_is_recognised_by_its_number(number: int) -> None:
    base = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400), np.uint8))
    pixels = np.asarray(Image.open(io.BytesIO(numbered_image(base, number))))
    assert number_of(unpack(pack(pixels).data)) == number


def test_maps_and_other_files_have_no_number() -> None:
    packed = unpack(pack_map(np.ones((900, 1000), np.float32)).data)
    assert len(packed) == MAP_WIDTH * MAP_HEIGHT
    assert number_of(packed) is None
    assert number_of(unpack(b"no such file")) is None
