"""Lung masks of a network."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from lung_network import FIELDS, draw_chest, drawn_mask

from xray_core.model.bundle import open_bundle
from xray_core.model.lungs import LungSegmenter, resize_mask

ONE_FIELD = draw_chest(FIELDS[:1])


@pytest.fixture(scope="module")
def segmenter(lungs_classifier: Path) -> LungSegmenter:
    loaded = open_bundle(lungs_classifier).load_lungs()
    assert loaded is not None
    return loaded


def batch(*images: np.ndarray) -> np.ndarray:
    return np.stack(images)[..., np.newaxis].astype(np.float32)


def test_the_masks_of_a_batch_are_those_of_its_images(segmenter: LungSegmenter) -> None:
    images = batch(draw_chest(), ONE_FIELD, draw_chest(seed=1))
    masks = segmenter.masks(images)
    for image, mask in zip(images, masks, strict=True):
        assert mask.shape == (224, 224)
        assert mask.dtype == bool
        assert np.array_equal(segmenter.masks(image[np.newaxis])[0], mask)
    # The network's resolution is half of the image's, so that an outline is off by one pixel.
    assert (masks[0] != drawn_mask()).mean() < 0.02
    assert (masks[1] != drawn_mask(FIELDS[:1])).mean() < 0.02


def test_only_two_plausible_fields_are_accepted(segmenter: LungSegmenter) -> None:
    upper = tuple((top, top + 20, left, right) for top, _, left, right in FIELDS)
    images = batch(draw_chest(), ONE_FIELD, draw_chest(upper), np.full((224, 224), 90))
    accepted = [segmenter.has_plausible_lungs(mask) for mask in segmenter.masks(images)]
    assert accepted == [True, False, False, False]


def test_several_threads_get_the_masks_of_one(segmenter: LungSegmenter) -> None:
    images = [batch(*(draw_chest(seed=n) for n in range(1 + k % 3))) for k in range(12)]
    alone = [segmenter.masks(one) for one in images]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(segmenter.masks, images))
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("shape", [(224, 224), (448, 896), (100, 150), (1, 3000)])
def test_a_mask_gets_the_size_of_its_image(shape: tuple[int, int]) -> None:
    resized = resize_mask(drawn_mask(), shape)
    assert resized.shape == shape
    assert resized.dtype == bool
    if min(shape) > 1:
        assert resized.mean() == pytest.approx(drawn_mask().mean(), abs=0.01)
        rows = np.flatnonzero(resized.any(axis=1)) / shape[0]
        assert [rows[0], rows[-1]] == pytest.approx([30 / 224, 148 / 224], abs=1 / shape[0] + 0.005)
