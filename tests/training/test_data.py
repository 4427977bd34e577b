"""The pipeline: the app's own pixels, balanced batches, epochs that can be repeated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xray_core.dataset.index import build_index
from xray_core.model.recipes import Augmentation, find_recipe
from xray_core.prediction.predictor import Predictor
from xray_core.training.batches import (
    augmented_view,
    class_weights,
    epoch_order,
    image_batches,
    masked_batches,
    training_batches,
)
from xray_core.training.data import (
    ImageSet,
    add_shifted_copies,
    load_images,
    mask_fingerprint,
)


@pytest.fixture(scope="module")
def images(dataset: Path) -> ImageSet:
    return load_images(build_index(dataset), dataset).folds["train"]


def test_training_and_predictor_see_the_same_tensor(
    images: ImageSet, dataset: Path, micro_bundle: Path
) -> None:
    predictor = Predictor.load(micro_bundle)
    batch = next(iter(image_batches(images))).numpy()
    for row in (0, len(images) - 1):
        path = dataset / images.table["path"][row]
        assert np.array_equal(batch[row], predictor.model_input(path))


def test_without_augmentation_training_batches_hold_the_images_themselves(images: ImageSet) -> None:
    recipe = replace(find_recipe("cnn"), augmentation=Augmentation(), batch_size=8)
    known = {image.tobytes() for image in images.pixels.astype(np.float32)}
    for pixels, _, _ in training_batches(images, recipe, seed=0, epoch=1):
        assert all(image.tobytes() in known for image in pixels.numpy())


def test_an_epoch_can_be_repeated_and_the_next_differs(images: ImageSet) -> None:
    recipe = replace(find_recipe("resnet50"), batch_size=8)

    def epoch(number: int) -> np.ndarray:
        batches = training_batches(images, recipe, seed=5, epoch=number)
        return np.concatenate([pixels.numpy() for pixels, _, _ in batches])

    first = epoch(1)
    assert np.array_equal(first, epoch(1))
    assert not np.array_equal(first, epoch(2))


def test_balanced_batches_hold_as_many_of_each_class() -> None:
    label = np.array([0] * 10 + [1] * 30, np.float32)
    recipe = replace(find_recipe("resnet50"), batch_size=8)
    order = epoch_order(label, recipe, np.random.default_rng(0))
    batches = label[order].reshape(-1, 8)
    assert len(batches) == 5
    assert batches.sum(axis=1).tolist() == [4] * 5
    # 20 places for 10 normal images: each is shown twice. 20 for 30 with pneumonia: none is.
    counts = np.bincount(order, minlength=40)
    assert counts[:10].tolist() == [2] * 10
    assert counts[10:].max() == 1


def test_without_balancing_every_image_is_shown_once() -> None:
    order = epoch_order(np.array([0, 1] * 16), find_recipe("cnn"), np.random.default_rng(0))
    assert sorted(order) == list(range(32))


def test_class_weights_let_both_classes_weigh_the_same() -> None:
    label = np.array([0, 1, 1, 1], np.float32)
    weight = class_weights(label, "class_weights")
    assert weight.tolist() == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])
    assert class_weights(label, "none").tolist() == [1, 1, 1, 1]


def test_mixup_blends_images_and_labels_alike(images: ImageSet) -> None:
    recipe = replace(find_recipe("cnn"), mixup=0.5, batch_size=8, augmentation=Augmentation())
    pixels, label, _ = next(iter(training_batches(images, recipe, seed=0, epoch=1)))
    plain, truth, _ = next(
        iter(training_batches(images, replace(recipe, mixup=0.0), seed=0, epoch=1))
    )
    plain, truth = plain.numpy(), truth.numpy()
    share = (pixels.numpy()[0] - plain[-1]).sum() / (plain[0] - plain[-1]).sum()
    assert 0 <= share <= 1
    assert np.allclose(label.numpy(), share * truth + (1 - share) * truth[::-1], atol=1e-3)


def test_shifted_copies_stand_beside_their_images(images: ImageSet) -> None:
    varied = add_shifted_copies(images, 2, seed=0)
    assert len(varied) == 3 * len(images)
    assert np.array_equal(varied.pixels[: len(images)], images.pixels)
    assert varied.label.tolist() == images.label.tolist() * 3
    changed = varied.pixels[len(images) : 2 * len(images)] != images.pixels
    assert changed.any(axis=(1, 2, 3)).all()


def test_a_view_varies_every_image_once_in_order(images: ImageSet) -> None:
    recipe = replace(find_recipe("vgg16"), augmentation=Augmentation())
    view = np.concatenate([batch.numpy() for batch in augmented_view(images, recipe, 0, 0)])
    assert np.array_equal(view, images.pixels.astype(np.float32))


@pytest.fixture(scope="module")
def masked(dataset: Path, masks: Path) -> ImageSet:
    return load_images(build_index(dataset), dataset, masks=masks).folds["train"]


def test_every_batch_pairs_images_with_their_own_masks(masked: ImageSet) -> None:
    recipe = replace(find_recipe("lungs"), augmentation=Augmentation(), batch_size=8)
    of_image = {
        image.tobytes(): mask.tobytes()
        for image, mask in zip(
            masked.pixels.astype(np.float32), masked.masks.astype(np.float32), strict=True
        )
    }
    seen = 0
    for pixels, mask in masked_batches(masked, recipe, seed=0, epoch=1):
        assert pixels.shape == mask.shape == (8, 224, 224, 1)
        for image, its in zip(pixels.numpy(), mask.numpy(), strict=True):
            assert of_image[image.tobytes()] == its.tobytes()
            seen += 1
    assert seen == len(masked) // 8 * 8


def test_an_epoch_with_masks_can_be_repeated_and_the_next_differs(masked: ImageSet) -> None:
    recipe = replace(find_recipe("lungs"), batch_size=8)

    def first(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        pixels, mask = next(iter(masked_batches(masked, recipe, seed=5, epoch=epoch)))
        return pixels.numpy(), mask.numpy()

    for one, same, other in zip(first(1), first(1), first(2), strict=True):
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


def test_the_fingerprint_of_masks_changes_with_one_pixel(
    masked: ImageSet, images: ImageSet
) -> None:
    before = mask_fingerprint(masked)
    assert before == mask_fingerprint(replace(masked))
    changed = masked.masks.copy()
    changed[3, 100, 100, 0] ^= True
    assert mask_fingerprint(replace(masked, masks=changed)) != before
    assert mask_fingerprint(images) != before
