"""Augmentation: nothing asked, nothing changed; equal seeds, equal images."""

from dataclasses import replace

import numpy as np
import pytest

from xray_core.model.recipes import Augmentation, find_recipe
from xray_core.training.augmentation import SHIFTS, augment, augment_with_mask, simulate_shift


@pytest.fixture
def pixels() -> np.ndarray:
    y, x = np.mgrid[0:224, 0:224].astype(np.float32)
    fine = 15 * np.sin(2.1 * x) * np.cos(1.7 * y)
    return np.clip(90 + 60 * np.sin(x / 17) + 40 * np.cos(y / 29) + x / 8 + fine, 0, 255)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nothing_asked_leaves_the_image_as_it_is(pixels: np.ndarray) -> None:
    assert np.array_equal(augment(pixels, Augmentation(), rng()), pixels)


def test_equal_seeds_give_equal_images_and_others_do_not(pixels: np.ndarray) -> None:
    how = find_recipe("resnet50").augmentation
    assert np.array_equal(augment(pixels, how, rng(3)), augment(pixels, how, rng(3)))
    assert not np.array_equal(augment(pixels, how, rng(3)), augment(pixels, how, rng(4)))


def test_the_image_is_not_written_to(pixels: np.ndarray) -> None:
    before = pixels.copy()
    for seed in range(5):
        augment(pixels, find_recipe("resnet50").augmentation, rng(seed))
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("name", ["resnet50", "resnet50-frozen", "cnn"])
def test_grey_levels_stay_in_range(name: str, pixels: np.ndarray) -> None:
    for seed in range(10):
        image = augment(pixels, find_recipe(name).augmentation, rng(seed))
        assert image.shape == (224, 224)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 255


def test_half_of_the_images_are_mirrored(pixels: np.ndarray) -> None:
    how = Augmentation(flip_horizontal=True)
    same = mirrored = 0
    for seed in range(200):
        image = augment(pixels, how, rng(seed))
        same += np.allclose(image, pixels, atol=0.5)
        mirrored += np.allclose(image, pixels[:, ::-1], atol=0.5)
    assert same + mirrored == 200
    assert 70 < mirrored < 130


def test_brightness_is_a_factor_within_its_range() -> None:
    how = Augmentation(gain=(0.8, 1.2))
    flat = np.full((224, 224), 100, np.float32)
    levels = np.array([augment(flat, how, rng(seed))[0, 0] for seed in range(200)])
    assert 80 <= levels.min() < 84
    assert 116 < levels.max() <= 120


def test_a_rotation_turns_by_no_more_than_its_angle() -> None:
    # A single bright point 80 pixels right of the centre stays within 80 * sin(12 deg) = 16.6 rows.
    image = np.zeros((224, 224), np.float32)
    image[110:114, 190:194] = 255
    rows = []
    for seed in range(100):
        rotate = augment(image, Augmentation(rotation=12.0), rng(seed))
        rows.append(np.average(np.arange(224), weights=rotate.sum(axis=1)))
    assert max(abs(row - 111.5) for row in rows) <= 17.5
    assert max(rows) > 124
    assert min(rows) < 99


@pytest.mark.parametrize("kind", list(SHIFTS))
def test_every_kind_of_shift_changes_the_image(kind: str, pixels: np.ndarray) -> None:
    image = SHIFTS[kind](pixels, rng(1))
    assert image.shape == pixels.shape
    assert np.abs(image - pixels).mean() > 0.1


def test_shifted_images_stay_images(pixels: np.ndarray) -> None:
    for seed in range(20):
        image = simulate_shift(pixels, rng(seed))
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 255


def test_erasing_fills_one_flat_rectangle(pixels: np.ndarray) -> None:
    image = augment(pixels, replace(Augmentation(), erase=1.0), rng(2))
    changed = image != pixels
    values = np.unique(image[changed])
    assert len(values) == 1
    assert 0.01 <= changed.mean() <= 0.16


def test_stretching_changes_the_aspect_and_not_the_area() -> None:
    # A square of 60 pixels: the ratio of its sides lies between 1 / 1.2 and 1.2.
    image = np.zeros((224, 224), np.float32)
    image[82:142, 82:142] = 255
    ratios, areas = [], []
    for seed in range(60):
        stretched = augment(image, Augmentation(stretch=0.2), rng(seed)) > 127
        high, wide = stretched.any(axis=1).sum(), stretched.any(axis=0).sum()
        ratios.append(high / wide)
        areas.append(high * wide)
    assert 1 / 1.25 < min(ratios) < 0.88
    assert 1.14 < max(ratios) < 1.25
    assert max(abs(area / 3600 - 1) for area in areas) < 0.08


def test_a_frame_paints_over_borders_and_leaves_the_chest(pixels: np.ndarray) -> None:
    shares = []
    for seed in range(40):
        image = augment(pixels, Augmentation(frame=1.0), rng(seed))
        assert np.array_equal(image[41:183, 41:183], pixels[41:183, 41:183].astype(np.float32))
        shares.append((image != pixels).mean())
    assert max(shares) > 0.3


def test_a_marker_is_small_bright_and_near_the_border() -> None:
    black = np.zeros((224, 224), np.float32)
    for seed in range(40):
        image = augment(black, Augmentation(marker=1.0), rng(seed))
        assert 0 < (image > 0).mean() < 0.05
        assert image.max() >= 100
        rows, columns = np.nonzero(image > 0)
        outside = (rows.max() < 90) | (columns.max() < 80) | (columns.min() > 150)
        assert outside


def test_sharpening_raises_the_contrast_of_edges(pixels: np.ndarray) -> None:
    image = augment(pixels, Augmentation(sharpen=1.5, degrade=1.0), rng(1))
    assert np.abs(np.diff(image)).mean() > np.abs(np.diff(pixels)).mean()


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((224, 224), np.float32)
    mask[60:160, 40:90] = 1
    mask[70:150, 130:190] = 1
    return mask


def test_a_mask_moves_with_its_image(mask: np.ndarray) -> None:
    # The image is the mask itself, so all geometric changes must keep them equal.
    how = replace(
        Augmentation(),
        **{
            name: getattr(find_recipe("lungs").augmentation, name)
            for name in ("flip_horizontal", "rotation", "zoom", "stretch", "shear", "shift")
        },
    )
    moved = 0
    for seed in range(20):
        image, together = augment_with_mask(255 * mask, mask, how, rng(seed))
        assert np.allclose(image, 255 * together, atol=0.01)
        moved += not np.array_equal(together, mask)
    assert moved == 20


def test_changes_of_grey_levels_leave_the_mask_as_it_is(
    pixels: np.ndarray, mask: np.ndarray
) -> None:
    how = Augmentation(gamma=(0.5, 0.6), offset=20.0, noise=10.0, erase=1.0, marker=1.0, frame=1.0)
    image, together = augment_with_mask(pixels, mask, how, rng(1))
    assert np.array_equal(together, mask)
    assert np.abs(image - pixels).mean() > 5


def test_an_image_with_a_mask_is_augmented_as_without(pixels: np.ndarray, mask: np.ndarray) -> None:
    how = find_recipe("lungs").augmentation
    for seed in range(5):
        image, together = augment_with_mask(pixels, mask, how, rng(seed))
        assert np.array_equal(image, augment(pixels, how, rng(seed)))
        assert together.min() >= 0
        assert together.max() <= 1


def test_the_outside_of_an_image_is_black_or_a_random_grey(mask: np.ndarray) -> None:
    white = np.full((224, 224), 255, np.float32)
    small = Augmentation(zoom=(0.5, 0.5))
    assert augment(white, small, rng())[0, 0] == 0
    image, together = augment_with_mask(white, np.ones_like(mask), replace(small, fill=1.0), rng())
    assert 0 < image[0, 0] < 255
    assert image[0, 0] == image[0, -1] == image[-1, 0] == image[-1, -1]
    assert together[0, 0] == 0
    corners = [augment(white, replace(small, fill=0.5), rng(n))[0, 0] for n in range(60)]
    assert 15 < sum(corner == 0 for corner in corners) < 45
