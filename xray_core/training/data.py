"""Training data: images decoded once into memory, and the batches of each epoch.

Images are read by `xray_core.imaging`, as in prediction, and stored after the resize as integer
grey levels, one byte per pixel without loss (50 kB per image). Order and augmentation of an epoch
depend only on the seed and the epoch, so a resumed training sees the same images.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from xray_core.dataset.index import FOLDS
from xray_core.errors import DatasetError, UnreadableImage
from xray_core.imaging.pixels import to_model_input
from xray_core.imaging.radiograph import MAX_BYTES, read_radiograph
from xray_core.labels import PNEUMONIA
from xray_core.model.recipes import INPUT_SIZE, Recipe
from xray_core.training.augmentation import augment, augment_with_mask, simulate_shift
from xray_core.training.masks import mask_path, read_mask

LISTED = 10  # largest number of paths in a message


@dataclass(frozen=True)
class ImageSet:
    """The images of one fold in memory.

    Attributes
    ----------
    table : pandas.DataFrame
        The rows of the index, in the order of the pixels, with the `sha256` of loaded files.
    pixels : numpy.ndarray
        uint8 (N, 224, 224, 1), grey levels.
    label : numpy.ndarray
        float32 (N,), 1 for pneumonia.
    masks : numpy.ndarray or None
        bool (N, 224, 224, 1), true for lung; only for a segmentation.
    """

    table: pd.DataFrame
    pixels: np.ndarray
    label: np.ndarray
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Loaded:
    """All images of an index, decoded.

    Attributes
    ----------
    index : pandas.DataFrame
        The rows of the readable images.
    folds : dict of str to ImageSet
        The readable images by fold: "train", "validation" and "test".
    unreadable : tuple of str
        Paths of the images that were left out because they cannot be read.
    """

    index: pd.DataFrame
    folds: dict[str, ImageSet]
    unreadable: tuple[str, ...] = ()


def load_images(
    index: pd.DataFrame,
    folder: Path,
    *,
    masks: Path | None = None,
    skip_unreadable: bool = False,
    known_unreadable: Collection[str] = (),
) -> Loaded:
    """Decode all images of an index in parallel, with a progress bar.

    Parameters
    ----------
    index : pandas.DataFrame
        As `build_index` returns it.
    folder : pathlib.Path
        The folder that the paths are relative to.
    masks : pathlib.Path, optional
        The folder of the lung masks, which are read as well.
    skip_unreadable : bool
        Leave out images that cannot be read, or whose mask cannot.
    known_unreadable : collection of str
        Paths that are left out without an error if they cannot be read.

    Returns
    -------
    Loaded

    Raises
    ------
    DatasetError
        Images cannot be read; the message lists the first ten.
    """
    folds: dict[str, ImageSet] = {}
    unreadable: list[str] = []
    for fold in FOLDS:
        folds[fold], damaged = _load_fold(index, folder, fold, masks)
        unreadable += damaged
    refused = sorted(path for path in unreadable if path not in known_unreadable)
    if refused and not skip_unreadable:
        images = "1 image" if len(refused) == 1 else f"{len(refused)} images"
        raise DatasetError(
            f"{images} of {folder}{' or the masks' if masks else ''} cannot be read "
            f"({list_paths(refused)}): replace them, or leave them out with --skip-unreadable."
        )
    readable = index[~index["path"].isin(unreadable)].reset_index(drop=True)
    return Loaded(readable, folds, tuple(sorted(unreadable)))


def _load_fold(
    index: pd.DataFrame, folder: Path, fold: str, mask_folder: Path | None
) -> tuple[ImageSet, list[str]]:
    """The readable images of one fold, and the paths of the others."""
    table = index[index["fold"] == fold].reset_index(drop=True)
    pixels = np.empty((len(table), *INPUT_SIZE, 1), np.uint8)
    masks = None if mask_folder is None else np.empty(pixels.shape, np.bool_)
    hashes = np.full(len(table), "", object)  # stays "" where a file cannot be read

    def read(row: int) -> None:
        with contextlib.suppress(UnreadableImage):
            path = table["path"][row]
            if masks is not None and mask_folder is not None:
                masks[row] = read_mask(mask_path(mask_folder, path))
            hashes[row], pixels[row] = read_image(folder / path)

    with ThreadPoolExecutor(os.cpu_count()) as readers:  # decoders release the GIL
        done = readers.map(read, range(len(table)))
        for _ in tqdm(done, f"Reading {fold}", len(table), unit="image", disable=None):
            pass
    table["sha256"] = hashes
    readable = (table["sha256"] != "").to_numpy()
    damaged = list(table["path"][~readable])
    if damaged:
        table, pixels = table[readable].reset_index(drop=True), pixels[readable]
        masks = None if masks is None else masks[readable]
    label = (table["label"] == PNEUMONIA).to_numpy(np.float32)
    return ImageSet(table, pixels, label, masks), damaged


def read_image(path: Path) -> tuple[str, np.ndarray]:
    """Read an image file as model input.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    sha256 : str
        SHA-256 of the file, hex digits.
    pixels : numpy.ndarray
        (224, 224, 1), grey levels in [0, 255].

    Raises
    ------
    UnreadableImage
        The file cannot be read as an image.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableImage("The file is too large.")
        data = path.read_bytes()
    except OSError:
        raise UnreadableImage("The file cannot be opened.") from None
    return hashlib.sha256(data).hexdigest(), to_model_input(read_radiograph(data))


def mask_fingerprint(images: ImageSet) -> str:
    """Compute a SHA-256 over the paths and the masks of all images; equal for equal masks.

    Parameters
    ----------
    images : ImageSet

    Returns
    -------
    str
        64 hex digits; those of no mask for a classifier's images.
    """
    digest = hashlib.sha256()
    if images.masks is not None:
        for path, mask in zip(images.table["path"], images.masks, strict=True):
            digest.update(f"{path}\0".encode() + np.packbits(mask).tobytes())
    return digest.hexdigest()


def list_paths(paths: Sequence[str]) -> str:
    """List the first ten paths and the number of further paths.

    Parameters
    ----------
    paths : sequence of str

    Returns
    -------
    str
        For a message.
    """
    more = f", and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    return ", ".join(paths[:LISTED]) + more


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
    rng = np.random.default_rng([seed, epoch])
    order = epoch_order(images.label, recipe, rng)
    seeds = rng.integers(0, 2**62, size=len(order))
    weight = class_weights(images.label, recipe.imbalance)

    size = min(recipe.batch_size, len(images))
    if recipe.imbalance == "balanced_batches":
        size = 2 * max(1, size // 2)
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
    rng = np.random.default_rng([seed, epoch])
    order = epoch_order(images.label, recipe, rng)
    seeds = rng.integers(0, 2**62, size=len(order))
    masks = images.masks
    if masks is None:
        raise ValueError("These images have no masks.")

    def pair(position: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        pixels, mask = (
            array[position, :, :, 0].astype(np.float32) for array in (images.pixels, masks)
        )
        how = recipe.augmentation
        pixels, mask = augment_with_mask(pixels, mask, how, np.random.default_rng(seed))
        return pixels[..., None], mask[..., None]

    def tensors(position: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Not stateful: an image depends only on its seed, so images can be computed in parallel.
        both = tf.numpy_function(pair, [position, seed], [tf.float32] * 2, stateful=False)
        return tuple(tf.ensure_shape(part, (*INPUT_SIZE, 1)) for part in both)

    pairs = tf.data.Dataset.from_tensor_slices((order, seeds)).map(
        tensors, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    size = min(recipe.batch_size, len(images))
    return pairs.batch(size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _mix(batch: tuple[tf.Tensor, ...], share: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Mixup (Zhang et al., ICLR 2018) of each image with its mirror position in the batch."""
    return tuple(share * part + (1 - share) * tf.reverse(part, [0]) for part in batch)


def add_shifted_copies(images: ImageSet, copies: int, *, seed: int) -> ImageSet:
    """Append shifted copies, which simulate images from other hospitals.

    Parameters
    ----------
    images : ImageSet
        The originals.
    copies : int
        Number of copies of each image.
    seed : int
        Seed of the shifts.

    Returns
    -------
    ImageSet
        The originals, followed by the copies.
    """
    if not copies:
        return images
    rng = np.random.default_rng([seed, 0x5417])
    parts = [images.pixels]
    for _ in range(copies):
        varied = [simulate_shift(image[..., 0].astype(np.float32), rng) for image in images.pixels]
        parts.append(np.rint(np.stack(varied)[..., None]).astype(np.uint8))
    repeats = copies + 1
    table = pd.concat([images.table] * repeats, ignore_index=True)
    return ImageSet(table, np.concatenate(parts), np.tile(images.label, repeats))


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

    def image(position: int, seed: int) -> np.ndarray:
        pixels = images.pixels[position, :, :, 0].astype(np.float32)
        return augment(pixels, recipe.augmentation, np.random.default_rng(seed))[..., None]

    def tensor(position: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        # Not stateful: an image depends only on its seed, so images can be computed in parallel.
        pixels = tf.numpy_function(image, [position, seed], tf.float32, stateful=False)
        return tf.ensure_shape(pixels, (*INPUT_SIZE, 1))

    return tf.data.Dataset.from_tensor_slices((order, seeds)).map(
        tensor, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
