"""The batches of images that a network is trained on, or that it predicts.

Order and augmentation of an epoch depend only on the seed and the epoch, so a resumed training sees
the same images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from xray_core.model.recipes import INPUT_SIZE, Recipe
from xray_core.training.augmentation import augment, augment_with_mask
from xray_core.training.data import ImageSet
from xray_core.training.lung_augmentation import augment_lungs

IMAGE_SHAPE = (*INPUT_SIZE, 1)


def epoch_order(label: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Draw the order of the images in one epoch, as a whole number of batches.

    With balanced batches, each batch has as many normal images as images with pneumonia. Each class
    is then drawn without replacement until all its images were used, and again from the start.

    Parameters
    ----------
    label : numpy.ndarray
        (N,), 1 for pneumonia.
    recipe : Recipe
        Batch size and class balancing.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        Positions of the images.
    """
    size = min(recipe.batch_size, len(label))
    steps = max(1, len(label) // size)
    if recipe.imbalance != "balanced_batches":
        return rng.permutation(len(label))[: steps * size]
    half = max(1, size // 2)
    columns = [
        _draw_repeatedly(np.flatnonzero(label == value), steps * half, rng).reshape(steps, half)
        for value in (0, 1)
    ]
    return np.concatenate(columns, axis=1).reshape(-1)


def _draw_repeatedly(positions: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    rounds = [rng.permutation(positions) for _ in range(-(-count // len(positions)))]
    return np.concatenate(rounds)[:count]


def class_weights(label: np.ndarray, imbalance: str) -> np.ndarray:
    """Compute the weight of each image in the loss.

    Parameters
    ----------
    label : numpy.ndarray
        (N,), 1 for pneumonia.
    imbalance : str
        The recipe's field: with "class_weights" both classes have the same total weight, otherwise
        every image has the weight 1.

    Returns
    -------
    numpy.ndarray
        float32 (N,).
    """
    if imbalance != "class_weights":
        return np.ones(len(label), np.float32)
    share = label.mean()
    return np.where(label == 1, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)


def training_batches(images: ImageSet, recipe: Recipe, *, seed: int, epoch: int) -> tf.data.Dataset:
    """Build the batches of one epoch, augmented, and mixed where the recipe asks for it.

    Parameters
    ----------
    images : ImageSet
        The training fold.
    recipe : Recipe
        Batch size, class balancing, augmentation and mixup.
    seed : int
        Seed of the training.
    epoch : int
        Counted from 1.

    Returns
    -------
    tf.data.Dataset
        pixels (B, 224, 224, 1), label (B, 1) and weight (B,), float32.
    """
    rng, order, seeds = _epoch(images, recipe, seed, epoch)
    weight = class_weights(images.label, recipe.imbalance)
    size = _batch_size(images, recipe)
    batches = tf.data.Dataset.zip(
        _augmented(images, recipe, order, seeds),
        tf.data.Dataset.from_tensor_slices(images.label[order, None]),
        tf.data.Dataset.from_tensor_slices(weight[order]),
    ).batch(size, drop_remainder=True)
    if recipe.mixup:
        share = rng.beta(recipe.mixup, recipe.mixup, size=len(order) // size).astype(np.float32)
        batches = tf.data.Dataset.zip(batches, tf.data.Dataset.from_tensor_slices(share))
        batches = batches.map(_mix, deterministic=True)
    return batches.prefetch(tf.data.AUTOTUNE)


def masked_batches(images: ImageSet, recipe: Recipe, *, seed: int, epoch: int) -> tf.data.Dataset:
    """Build the batches of one epoch with masks; each mask is moved with its augmented image.

    Parameters
    ----------
    images : ImageSet
        The training fold, with masks.
    recipe : Recipe
        Batch size and augmentation.
    seed : int
        Seed of the training.
    epoch : int
        Counted from 1.

    Returns
    -------
    tf.data.Dataset
        pixels and mask (B, 224, 224, 1), float32.
    """
    _, order, seeds = _epoch(images, recipe, seed, epoch)
    masks = _masks(images)

    def pair(position: int, seed: int) -> tuple[np.ndarray, ...]:
        pixels, mask = (
            array[position, :, :, 0].astype(np.float32) for array in (images.pixels, masks)
        )
        how = recipe.augmentation
        pixels, mask = augment_with_mask(pixels, mask, how, np.random.default_rng(seed))
        return pixels[..., None], mask[..., None]

    pairs = _computed(pair, order, seeds, IMAGE_SHAPE, IMAGE_SHAPE)
    size = _batch_size(images, recipe)
    return pairs.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def lung_batches(
    images: ImageSet, recipe: Recipe, grid: tuple[int, int], *, seed: int, epoch: int
) -> tf.data.Dataset:
    """Build the batches of one epoch for a classifier that is trained on the lungs.

    Parameters
    ----------
    images : ImageSet
        The training fold, with masks.
    recipe : Recipe
        Batch size, class balancing, augmentation and crop.
    grid : (int, int)
        Height and width of the network's map.
    seed : int
        Seed of the training.
    epoch : int
        Counted from 1.

    Returns
    -------
    tf.data.Dataset
        Inputs: pixels (B, 224, 224, 1) and lungs (B, h, w, 1); targets: label (B, 1) and 0 (B, 1),
        the share of the evidence outside the lungs; their weights (B,) and (B,). All float32.
    """
    _, order, seeds = _epoch(images, recipe, seed, epoch)
    masks = _masks(images)
    class_weight = class_weights(images.label, recipe.imbalance)

    def sample(position: int, seed: int) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng(seed)
        pixels, other = (
            images.pixels[row, :, :, 0].astype(np.float32)
            for row in (position, rng.integers(len(images)))
        )
        label, mask = float(images.label[position]), masks[position, :, :, 0]
        one = augment_lungs(pixels, mask, label, other, recipe, grid, rng)
        numbers = np.array([one.target, class_weight[position], one.has_lungs], np.float32)
        return one.pixels[..., None], one.lungs[..., None], numbers

    def as_two_outputs(pixels: tf.Tensor, lungs: tf.Tensor, numbers: tf.Tensor) -> tuple[Any, ...]:
        label, weight, has_lungs = numbers[:1], numbers[1], numbers[2]
        return (pixels, lungs), (label, tf.zeros(1)), (weight, weight * has_lungs)

    samples = _computed(sample, order, seeds, IMAGE_SHAPE, (*grid, 1), (3,)).map(as_two_outputs)
    size = _batch_size(images, recipe)
    return samples.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _mix(batch: tuple[tf.Tensor, ...], share: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Mixup (Zhang et al., ICLR 2018) of each image with its mirror position in the batch."""
    return tuple(share * part + (1 - share) * tf.reverse(part, [0]) for part in batch)


def image_batches(images: ImageSet, size: int = 64) -> tf.data.Dataset:
    """Build batches of unchanged images, in order.

    Parameters
    ----------
    images : ImageSet
    size : int
        Images per batch.

    Returns
    -------
    tf.data.Dataset
        pixels (B, 224, 224, 1), float32.
    """
    return (
        tf.data.Dataset.from_tensor_slices(images.pixels)
        .batch(size)
        .map(lambda pixels: tf.cast(pixels, tf.float32))
        .prefetch(tf.data.AUTOTUNE)
    )


def augmented_view(images: ImageSet, recipe: Recipe, seed: int, view: int) -> tf.data.Dataset:
    """Build batches of one augmented copy of every image, in order.

    Parameters
    ----------
    images : ImageSet
    recipe : Recipe
        The augmentation.
    seed : int
        Seed of the training.
    view : int
        Number of the copy, from 0.

    Returns
    -------
    tf.data.Dataset
        pixels (B, 224, 224, 1), float32.
    """
    seeds = np.random.default_rng([seed, view, 0xF11E]).integers(0, 2**62, size=len(images))
    images_in_order = _augmented(images, recipe, np.arange(len(images)), seeds)
    return images_in_order.batch(64).prefetch(tf.data.AUTOTUNE)


def _augmented(
    images: ImageSet, recipe: Recipe, order: np.ndarray, seeds: np.ndarray
) -> tf.data.Dataset:
    """The images at the positions `order`, each augmented with its seed: (224, 224, 1) float32."""

    def image(position: int, seed: int) -> tuple[np.ndarray, ...]:
        pixels = images.pixels[position, :, :, 0].astype(np.float32)
        return (augment(pixels, recipe.augmentation, np.random.default_rng(seed))[..., None],)

    return _computed(image, order, seeds, IMAGE_SHAPE).map(lambda pixels: pixels)


def _epoch(
    images: ImageSet, recipe: Recipe, seed: int, epoch: int
) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """The generator of an epoch, the order of its images, and the seed of each of them."""
    rng = np.random.default_rng([seed, epoch])
    order = epoch_order(images.label, recipe, rng)
    return rng, order, rng.integers(0, 2**62, size=len(order))


def _batch_size(images: ImageSet, recipe: Recipe) -> int:
    size = min(recipe.batch_size, len(images))
    return 2 * max(1, size // 2) if recipe.imbalance == "balanced_batches" else size


def _masks(images: ImageSet) -> np.ndarray:
    if images.masks is None:
        raise ValueError("These images have no masks.")
    return images.masks


def _computed(
    function: Callable[[int, int], tuple[np.ndarray, ...]],
    order: np.ndarray,
    seeds: np.ndarray,
    *shapes: tuple[int, ...],
) -> tf.data.Dataset:
    """What a function returns for each position and seed: float32 arrays of these shapes."""

    def tensors(position: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Not stateful: an image depends only on its seed, so images can be computed in parallel.
        types = [tf.float32] * len(shapes)
        parts = tf.numpy_function(function, [position, seed], types, stateful=False)
        return tuple(map(tf.ensure_shape, parts, shapes))

    return tf.data.Dataset.from_tensor_slices((order, seeds)).map(
        tensors, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
