"""Sets of images in memory: decoded once, with lung masks, shifted copies, crops to the lungs.

Images are read by `xray_core.imaging`, as in prediction, and stored after the resize as integer
grey levels, one byte per pixel without loss (50 kB per image).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from xray_core.dataset.index import FOLDS
from xray_core.errors import DatasetError, UnreadableImage
from xray_core.imaging.pixels import to_model_input
from xray_core.imaging.radiograph import MAX_BYTES, read_radiograph
from xray_core.labels import PNEUMONIA
from xray_core.model.lung_crop import classifier_input
from xray_core.model.lungs import LungSegmenter
from xray_core.model.recipes import INPUT_SIZE, Recipe
from xray_core.training.augmentation import simulate_shift
from xray_core.training.masks import mask_path, read_mask

SEGMENTED = 64  # images in one pass of the lung network
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
        bool (N, 224, 224, 1), true for lung; only where the training needs them.
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


def model_inputs(images: ImageSet, segmenter: LungSegmenter | None, recipe: Recipe) -> ImageSet:
    """Return the classifier's inputs of whole images: cropped to the lungs if the recipe says so.

    Parameters
    ----------
    images : ImageSet
        Whole images, or altered copies of them.
    segmenter : LungSegmenter or None
        Finds the lungs of these pixels; needed only for a recipe with a `lung_margin`.
    recipe : Recipe
        Recipe of the classifier.

    Returns
    -------
    ImageSet
        The same images, and the same pixels if the recipe has no `lung_margin`.
    """
    if recipe.lung_margin <= 0 or segmenter is None:
        return images
    pixels = np.empty_like(images.pixels)
    for start in range(0, len(images), SEGMENTED):
        whole = images.pixels[start : start + SEGMENTED].astype(np.float32)
        for row, (image, mask) in enumerate(zip(whole, segmenter.masks(whole), strict=True), start):
            pixels[row] = classifier_input(image, mask, recipe)
    return replace(images, pixels=pixels)


def add_lung_masks(images: ImageSet, segmenter: LungSegmenter) -> ImageSet:
    """Add the masks that a lung network predicts to a set of images.

    Parameters
    ----------
    images : ImageSet
        Whole images.
    segmenter : LungSegmenter
        Finds the lungs.

    Returns
    -------
    ImageSet
        The same images with `masks`.
    """
    masks = np.empty(images.pixels.shape, np.bool_)
    for start in range(0, len(images), SEGMENTED):
        whole = images.pixels[start : start + SEGMENTED].astype(np.float32)
        masks[start : start + SEGMENTED, ..., 0] = segmenter.masks(whole)
    return replace(images, masks=masks)
