"""Augmentation with lung masks: the crop, replaced parts, targets, and the evidence outside."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from xray_core.imaging.adjustment import Box
from xray_core.model import lung_crop as lung_crop_module
from xray_core.model.lung_crop import crop_image, lung_crop
from xray_core.model.recipes import Augmentation, Recipe
from xray_core.training.augmentation import draw_transform, transform
from xray_core.training.batches import lung_batches
from xray_core.training.data import ImageSet
from xray_core.training.lung_augmentation import augment_lungs
from xray_core.training.trainers import EvidenceOutside

GRID = (14, 14)


@pytest.fixture(autouse=True)
def level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lung fields at equal heights are upright, as `mask` draws them."""
    monkeypatch.setattr(lung_crop_module, "TYPICAL_SLOPE", 0.0)


@pytest.fixture
def mask() -> np.ndarray:
    y, x = np.mgrid[0:224, 0:224] / 112 - 1
    return ((abs(x) - 0.42) / 0.26) ** 2 + (y / 0.6) ** 2 < 1


@pytest.fixture
def pixels() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (14, 14)).astype(np.float32)
    return np.kron(coarse, np.ones((16, 16), np.float32))


def recipe(**augmentation: object) -> Recipe:
    return Recipe(
        name="test",
        summary="",
        filters=(4,),
        pooling="average",
        lung_margin=0.1,
        augmentation=Augmentation(**augmentation),  # type: ignore[arg-type]
    )


def sample(pixels: np.ndarray, mask: np.ndarray, how: Recipe, seed: int = 0):
    other = np.full_like(pixels, 200.0)
    return augment_lungs(pixels, mask, 1.0, other, how, GRID, np.random.default_rng(seed))


def test_without_augmentation_the_image_is_the_crop_that_prediction_makes(pixels, mask):
    result = sample(pixels, mask, recipe())
    expected = crop_image(pixels[..., None], lung_crop(mask, 0.1))[..., 0]
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(result.pixels - expected)[inner].mean() < 1.0
    assert np.abs(pixels - expected)[inner].mean() > 10
    assert result.target == 1.0
    assert result.has_lungs


def test_a_box_moves_to_the_whole_image():
    box = Box(0.25, 0.5, 0.75, 1.0)
    matrix, fill = draw_transform((224, 224), Augmentation(), np.random.default_rng(0), box=box)
    corners = np.array([[111.5, 55.5, 1], [223.5, 167.5, 1]])  # edges of the box, between pixels
    assert np.allclose(corners @ matrix.T, [[-0.5, -0.5], [223.5, 223.5]])
    assert fill == 0.0


def test_a_random_crop_stays_within_the_image():
    how = Augmentation(crop=0.2)
    image = np.full((224, 224), 100.0, np.float32)
    for seed in range(50):
        matrix, fill = draw_transform(image.shape, how, np.random.default_rng(seed))
        scale = np.diag(matrix[:, :2])
        assert 0.2 - 1e-6 <= 1 / np.prod(scale) <= 1 + 1e-6
        assert np.allclose(transform(image, matrix, fill)[2:-2, 2:-2], 100.0)


def test_hidden_lungs_have_no_label_and_none_of_their_pixels(pixels, mask):
    # Seen through the lungs only: nothing depends on what was there.
    how = recipe(hide_lungs=1.0, whole=1.0)
    other_lungs = np.where(mask, 255 - pixels, pixels).astype(np.float32)
    targets = []
    equal = 0
    for seed in range(20):
        one, two = sample(pixels, mask, how, seed), sample(other_lungs, mask, how, seed)
        targets.append(one.target)
        assert not one.has_lungs
        # A blurred image keeps the mean grey level; all other replacements hide it.
        equal += np.abs(one.pixels - two.pixels).max() < 60
        assert np.abs(one.pixels - pixels)[mask].mean() > 5
    assert set(targets) == {0.5}
    assert equal >= 10


def test_replaced_surroundings_keep_the_lungs_and_the_label(pixels, mask):
    how = recipe(replace_outside=1.0, whole=1.0)
    inside = mask & np.roll(mask, 20, 0) & np.roll(mask, -20, 0)
    inside &= np.roll(mask, 20, 1) & np.roll(mask, -20, 1)
    for seed in range(10):
        result = sample(pixels, mask, how, seed)
        assert result.target == 1.0
        assert result.has_lungs
        assert np.allclose(result.pixels[inside], pixels[inside], atol=0.5)
        assert np.abs(result.pixels - pixels)[:20].mean() > 1


def test_the_grid_shows_where_the_lungs_are(pixels, mask):
    result = sample(pixels, mask, recipe(whole=1.0))
    rows = result.lungs.mean(axis=1)
    assert result.lungs.shape == GRID
    assert rows[7] > 0.5
    assert rows[0] == 0
    assert result.lungs[7, 3] == pytest.approx(1.0)


def test_batches_are_the_same_for_the_same_seed_and_carry_both_targets(pixels, mask):
    count = 8
    images = ImageSet(
        table=None,  # type: ignore[arg-type]
        pixels=np.stack([np.roll(pixels, 8 * n, 0) for n in range(count)])[..., None].astype(
            np.uint8
        ),
        label=np.arange(count, dtype=np.float32) % 2,
        masks=np.stack([mask] * count)[..., None],
    )
    how = replace(
        recipe(hide_lungs=0.5, replace_outside=0.3, crop=0.4, rotation=20.0, recompress=0.5),
        batch_size=4,
        imbalance="none",
    )
    first = list(lung_batches(images, how, GRID, seed=1, epoch=2))
    again = list(lung_batches(images, how, GRID, seed=1, epoch=2))
    targets = []
    for ((x, lungs), (label, zero), (weight, inside)), (other, _, _) in zip(
        first, again, strict=True
    ):
        assert x.shape == (4, 224, 224, 1)
        assert lungs.shape == (4, *GRID, 1)
        assert np.array_equal(x, other[0])
        assert not np.any(zero)
        assert np.all(weight == 1)
        assert np.array_equal(np.asarray(inside) == 0, np.asarray(label)[:, 0] == 0.5)
        targets += list(np.asarray(label)[:, 0])
    assert 0.5 in targets
    assert set(targets) <= {0.0, 0.5, 1.0}


def test_evidence_outside_is_its_share_of_the_absolute_map():
    unit = keras.layers.Dense(1)
    unit.build((None, 2))
    unit.set_weights([np.array([[1.0], [-2.0]]), np.array([5.0])])
    activations = np.zeros((1, 2, 2, 2), np.float32)
    activations[0, 0, 0] = (3, 0)  # +3
    activations[0, 1, 1] = (0, 0.5)  # -1
    lungs = np.zeros((1, 2, 2, 1), np.float32)
    lungs[0, 0, 0] = 1
    layer = EvidenceOutside(unit)
    assert float(layer([activations, lungs])[0, 0]) == pytest.approx(0.25)
    assert not layer.weights
