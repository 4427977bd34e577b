"""From the table to tensors: images decoded once and kept as bytes, then batches for each epoch.

Images are read through `xray_core.imaging.radiograph`, the same functions that prediction uses, and kept in
memory as they come out of the one resize: whole grey levels, so a byte a pixel loses nothing
(50 kB an image). Every epoch is a fresh tf.data pipeline whose order and augmentation follow from
the seed and the epoch alone: a training that was stopped goes on with the images it would have
seen.
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
from xray_core.imaging.radiograph import MAX_BYTES, read_radiograph, to_model_input
from xray_core.model.recipes import INPUT_SIZE, LABELS, Recipe
from xray_core.training.augmentation import augment, shifted

NAMED = 10  # unreadable images that a message names


@dataclass(frozen=True)
class ImageSet:
    """Images of one fold in memory.

    Attributes:
        table: the rows of the index, in the order of the pixels; with `sha256` of the files where
            they were loaded.
    pixels: uint8 (N, 224, 224, 1), grey.
        label: float32 (N,), 1 for pneumonia.
    """

    table: pd.DataFrame
    pixels: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Loaded:
    """All images of an index, decoded.

    Attributes:
        index: the rows of the images that could be read.
        folds: these images by fold: "train", "validation" and "test".
        unreadable: paths of the images that could not be read and were left out.
    """

    index: pd.DataFrame
    folds: dict[str, ImageSet]
    unreadable: tuple[str, ...] = ()


def load_images(
    index: pd.DataFrame,
    folder: Path,
    *,
    skip_unreadable: bool = False,
    known_unreadable: Collection[str] = (),
) -> Loaded:
    """Decode every image of an index once, several at a time, with a progress bar.

    Args:
        skip_unreadable: leave out the images that cannot be read.
        known_unreadable: paths that are left out without asking if they still cannot be read.

    Raises:
        DatasetError: images cannot be read; the message names the first ten.
    """
    folds: dict[str, ImageSet] = {}
    unreadable: list[str] = []
    for fold in FOLDS:
        folds[fold], damaged = _load_fold(index, folder, fold)
        unreadable += damaged
    refused = sorted(path for path in unreadable if path not in known_unreadable)
    if refused and not skip_unreadable:
        raise DatasetError(_unreadable(refused, folder))
    whole = index[~index["path"].isin(unreadable)].reset_index(drop=True)
    return Loaded(whole, folds, tuple(sorted(unreadable)))


def _load_fold(index: pd.DataFrame, folder: Path, fold: str) -> tuple[ImageSet, list[str]]:
    """The images of one fold, and the paths of those that cannot be read."""
    table = index[index["fold"] == fold].reset_index(drop=True)
    pixels = np.empty((len(table), *INPUT_SIZE, 1), np.uint8)
    hashes = np.full(len(table), "", object)  # of what can be read

    def read(row: int) -> None:
        with contextlib.suppress(UnreadableImage):
            hashes[row], pixels[row] = read_image(folder / table["path"][row])

    with ThreadPoolExecutor(os.cpu_count()) as readers:  # decoders let other threads run
        done = readers.map(read, range(len(table)))
        for _ in tqdm(done, f"Reading {fold}", len(table), unit="image", disable=None):
            pass
    table["sha256"] = hashes
    readable = (table["sha256"] != "").to_numpy()
    damaged = list(table["path"][~readable])
    if damaged:
        table, pixels = table[readable].reset_index(drop=True), pixels[readable]
    return ImageSet(table, pixels, (table["label"] == LABELS[1]).to_numpy(np.float32)), damaged


def read_image(path: Path) -> tuple[str, np.ndarray]:
    """The SHA-256 of a file and its tensor for the network: (224, 224, 1), grey in [0, 255].

    Raises:
        UnreadableImage: the file is no image that can be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableImage("The file is too large.")
        data = path.read_bytes()
    except OSError:
        raise UnreadableImage("The file cannot be opened.") from None
    return hashlib.sha256(data).hexdigest(), to_model_input(read_radiograph(data))


def named(paths: Sequence[str]) -> str:
    """The first ten of these paths, and how many more there are."""
    more = f", and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more


def _unreadable(paths: Sequence[str], folder: Path) -> str:
    images = "1 image" if len(paths) == 1 else f"{len(paths)} images"
    return (
        f"{images} of {folder} cannot be read ({named(paths)}): replace them by sound copies, or "
        "leave them out with --skip-unreadable."
    )


def epoch_order(label: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Which images an epoch shows, in which order: positions, a whole number of batches.

    With balanced batches each holds as many normal images as images with pneumonia; each class goes
    round in its own shuffled order, so that no image is shown twice before all of its class were.
    """
    size = min(recipe.batch_size, len(label))
    steps = max(1, len(label) // size)
    if recipe.imbalance != "balanced_batches":
        return rng.permutation(len(label))[: steps * size]
    half = max(1, size // 2)
    columns = [
        _rounds(np.flatnonzero(label == value), steps * half, rng).reshape(steps, half)
        for value in (0, 1)
    ]
    return np.concatenate(columns, axis=1).reshape(-1)


def _rounds(positions: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    rounds = [rng.permutation(positions) for _ in range(-(-count // len(positions)))]
    return np.concatenate(rounds)[:count]


def class_weights(label: np.ndarray, imbalance: str) -> np.ndarray:
    """Weight of each image in the loss (N,); with "class_weights" both classes weigh the same."""
    if imbalance != "class_weights":
        return np.ones(len(label), np.float32)
    share = label.mean()
    return np.where(label == 1, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)


def training_batches(images: ImageSet, recipe: Recipe, *, seed: int, epoch: int) -> tf.data.Dataset:
    """The batches of one epoch: (pixels (B, 224, 224, 1), label (B, 1), weight (B,)), float32."""
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


def _mix(batch: tuple[tf.Tensor, ...], share: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """MixUp (Zhang et al., ICLR 2018): each image blended with its mirror place in the batch."""
    return tuple(share * part + (1 - share) * tf.reverse(part, [0]) for part in batch)


def add_shifted_copies(images: ImageSet, copies: int, *, seed: int) -> ImageSet:
    """The images as other hospitals might have sent them, `copies` of each, beside the originals."""
    if not copies:
        return images
    rng = np.random.default_rng([seed, 0x5417])
    parts = [images.pixels]
    for _ in range(copies):
        varied = [shifted(image[..., 0].astype(np.float32), rng) for image in images.pixels]
        parts.append(np.rint(np.stack(varied)[..., None]).astype(np.uint8))
    repeats = copies + 1
    table = pd.concat([images.table] * repeats, ignore_index=True)
    return ImageSet(table, np.concatenate(parts), np.tile(images.label, repeats))


def image_batches(images: ImageSet, size: int = 64) -> tf.data.Dataset:
    """The images as they are, in order: pixels (B, 224, 224, 1) float32."""
    return (
        tf.data.Dataset.from_tensor_slices(images.pixels)
        .batch(size)
        .map(lambda pixels: tf.cast(pixels, tf.float32))
        .prefetch(tf.data.AUTOTUNE)
    )


def augmented_view(images: ImageSet, recipe: Recipe, seed: int, view: int) -> tf.data.Dataset:
    """One augmented copy of every image, in order: pixels (B, 224, 224, 1) float32."""
    seeds = np.random.default_rng([seed, view, 0xF11E]).integers(0, 2**62, size=len(images))
    images_in_order = _augmented(images, recipe, np.arange(len(images)), seeds)
    return images_in_order.batch(64).prefetch(tf.data.AUTOTUNE)


def _augmented(
    images: ImageSet, recipe: Recipe, order: np.ndarray, seeds: np.ndarray
) -> tf.data.Dataset:
    """The images at the positions `order`, each varied as its seed says: (224, 224, 1) float32."""

    def image(position: int, seed: int) -> np.ndarray:
        pixels = images.pixels[position, :, :, 0].astype(np.float32)
        return augment(pixels, recipe.augmentation, np.random.default_rng(seed))[..., None]

    def tensor(position: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        # Not stateful: an image follows from its seed, so several may be made side by side.
        pixels = tf.numpy_function(image, [position, seed], tf.float32, stateful=False)
        return tf.ensure_shape(pixels, (*INPUT_SIZE, 1))

    return tf.data.Dataset.from_tensor_slices((order, seeds)).map(
        tensor, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
