"""Robustness: how a network's results change when images are changed or parts are hidden.

Changes in resolution, JPEG quality, brightness or rotation should not change a verdict. Hiding the
lungs should: a network that still separates the classes without them uses shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy.ndimage import rotate

from xray_core.imaging.pixels import MODEL_SIZE, to_model_input
from xray_core.labels import UNCERTAIN
from xray_core.model.calibration import Calibration
from xray_core.stats.delong import delong
from xray_core.stats.intervals import wald_interval
from xray_core.training.augmentation import change_contrast, recompress
from xray_core.training.data import ImageSet
from xray_core.training.hidden import BORDER_HIDDEN, HIDDEN, Mask, Pixels, hide_border
from xray_core.training.masks import mask_path, read_mask, without_mask

PredictLogits = Callable[[ImageSet], np.ndarray]
ToInputs = Callable[[ImageSet], ImageSet]


@dataclass(frozen=True)
class LungMasks:
    """The lungs of a set of images.

    Attributes
    ----------
    source : str
        "human" (drawn by people) or "predicted" (by the lung network).
    masks : numpy.ndarray
        bool (N, 224, 224), in the order of the images; all False for an image without a mask.
    """

    source: str
    masks: np.ndarray


def _enlarge(height: int, width: int) -> Callable[[Pixels], Pixels]:
    """Enlarge to a file's usual size, before the resize to the model input."""
    return lambda image: cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def _reduce(side: int) -> Callable[[Pixels], Pixels]:
    return lambda image: cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def _rotate(degrees: float) -> Callable[[Pixels], Pixels]:
    return lambda image: rotate(image, degrees, reshape=False, order=1)


def random_tilt(largest: float, seed: int) -> Callable[[Pixels], Pixels]:
    """Return a change that rotates each image by another angle, at most `largest` degrees."""
    rng = np.random.default_rng(seed)
    return lambda image: _rotate(rng.uniform(-largest, largest))(image)


def turn_upside_down(image: Pixels) -> Pixels:
    """Rotate an image (H, W) by 180 degrees."""
    return image[::-1, ::-1]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "enlarged to 1379 x 1686 and resized again": _enlarge(1379, 1686),
    "enlarged to 820 x 1195 and resized again": _enlarge(820, 1195),
    "reduced to 128 x 128 and resized again": _reduce(128),
    "JPEG quality 95": lambda image: recompress(image, 95),
    "JPEG quality 75": lambda image: recompress(image, 75),
    "JPEG quality 50": lambda image: recompress(image, 50),
    "JPEG quality 30": lambda image: recompress(image, 30),
    "brightness +20%": lambda image: image * 1.2,
    "brightness -20%": lambda image: image * 0.8,
    "contrast +20%": lambda image: change_contrast(image, 1.2),
    "contrast -20%": lambda image: change_contrast(image, 0.8),
    "rotated by +10 degrees": _rotate(10),
    "rotated by -10 degrees": _rotate(-10),
    "mirrored": lambda image: image[:, ::-1],
}


def change_images(images: ImageSet, change: Callable[[Pixels], Pixels]) -> ImageSet:
    """Change all images and resize them to model input again.

    Parameters
    ----------
    images : ImageSet
        The images.
    change : callable
        Maps grey levels (H, W) to grey levels (H', W').

    Returns
    -------
    ImageSet
        The changed images, (N, 224, 224, 1).
    """
    return _replace_pixels(images, map(change, _grey_levels(images)))


def hide_parts(
    images: ImageSet, masks: np.ndarray, hide: Callable[[Pixels, Mask], Pixels]
) -> ImageSet:
    """Hide parts of all images.

    Parameters
    ----------
    images : ImageSet
        The images.
    masks : numpy.ndarray
        The lungs, bool (N, 224, 224), in the order of the images.
    hide : callable
        Maps grey levels (H, W) and a mask (H, W) to grey levels (H, W), as those of HIDDEN do.

    Returns
    -------
    ImageSet
        (N, 224, 224, 1).
    """
    return _replace_pixels(images, map(hide, _grey_levels(images), masks))


def _grey_levels(images: ImageSet) -> Iterable[Pixels]:
    return (image[..., 0].astype(np.float32) for image in images.pixels)


def _replace_pixels(images: ImageSet, changed: Iterable[Pixels]) -> ImageSet:
    inputs = [
        to_model_input(np.clip(np.ascontiguousarray(image), 0, 255).astype(np.float32))
        for image in changed
    ]
    return ImageSet(images.table, np.stack(inputs).astype(np.uint8), images.label)


def read_masks(folder: Path, table: pd.DataFrame) -> LungMasks:
    """Read the masks that people drew.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of the masks; see `xray_core.training.masks`.
    table : pandas.DataFrame
        With the column `path`, relative to the folder of the dataset.

    Returns
    -------
    LungMasks
        Images may have none.

    Raises
    ------
    DatasetError
        No image has a mask.
    UnreadableImage
        A mask cannot be read as an image, or shows no lung.
    """
    missing = set(without_mask(table, folder))
    masks = np.zeros((len(table), *MODEL_SIZE), bool)
    for row, path in enumerate(table["path"]):
        if path not in missing:
            masks[row] = read_mask(mask_path(folder, path))[..., 0]
    return LungMasks("human", masks)


def measure_changes(
    images: ImageSet,
    logit: np.ndarray,
    to_inputs: ToInputs,
    predict_logits: PredictLogits,
    calibration: Calibration,
) -> list[dict[str, Any]]:
    """Measure the effect of each of CHANGES; the input check is not applied.

    Parameters
    ----------
    images : ImageSet
        The unchanged images.
    logit : numpy.ndarray
        Log-odds (N,) of the unchanged images.
    to_inputs : callable
        Maps images to the inputs of the network, as in prediction: a network that gets a crop to
        the lungs gets the crop of the changed image.
    predict_logits : callable
        Maps inputs to log-odds (N,).
    calibration : Calibration
        Probabilities, verdicts and the decision threshold.

    Returns
    -------
    list of dict
        A row for the unchanged images and one for each change: name, images, roc_auc (value and
        95% interval; DeLong, with the images of a patient as a cluster), other_verdict (share of
        images with another verdict than before; uncertain is a verdict), crossed (share that
        crossed the decision threshold), firm (share whose verdict is not uncertain), sensitivity
        and specificity at that threshold.
    """
    before = calibration.probability(logit)
    rows = [_row("as they are", images, before, before, calibration)]
    for name, change in CHANGES.items():
        inputs = to_inputs(change_images(images, change))
        after = calibration.probability(predict_logits(inputs))
        rows.append(_row(name, images, before, after, calibration))
    return rows


def measure_hidden(
    images: ImageSet,
    lungs: LungMasks | None,
    predict_logits: PredictLogits,
    calibration: Calibration,
) -> dict[str, Any]:
    """Measure the effect of hiding the lungs, or all else.

    The whole image is the network's input: it is not cropped, and the input check is not applied.

    Parameters
    ----------
    images : ImageSet
        The images; those without a mask, or with one that covers all, are left out.
    lungs : LungMasks or None
        With None, or if no image has a mask, only the border is hidden, in all images.
    predict_logits, calibration
        As for `measure_changes`.

    Returns
    -------
    dict
        hidden: rows as of `measure_changes`, for whole images, HIDDEN and the border. masks: source
        ("human", "predicted" or None) and left_out, the number of images left out.
    """
    used = np.arange(0)
    if lungs is not None:
        share = lungs.masks.mean(axis=(1, 2))
        used = np.flatnonzero((share > 0) & (share < 1))
    left_out = len(images) - len(used) if lungs is not None else 0
    if len(used):
        table = images.table.iloc[used].reset_index(drop=True)
        images = ImageSet(table, images.pixels[used], images.label[used])
    before = calibration.probability(predict_logits(images))
    rows = [_row("whole images", images, before, before, calibration)]

    def add(name: str, hidden: ImageSet) -> None:
        after = calibration.probability(predict_logits(hidden))
        rows.append(_row(name, images, before, after, calibration))

    if lungs is not None and len(used):
        for name, hide in HIDDEN.items():
            add(name, hide_parts(images, lungs.masks[used], hide))
    add(BORDER_HIDDEN, change_images(images, hide_border))
    source = None if lungs is None else lungs.source
    return {"hidden": rows, "masks": {"source": source, "left_out": left_out}}


def _row(
    name: str, images: ImageSet, before: np.ndarray, after: np.ndarray, calibration: Calibration
) -> dict[str, Any]:
    pneumonia = images.label == 1
    areas, covariance = delong(pneumonia, after, images.table["patient"].to_numpy())
    low, high = wald_interval(areas[0], covariance[0, 0])
    verdicts = [
        (calibration.verdict(p), calibration.verdict(q)) for p, q in zip(before, after, strict=True)
    ]
    called = after > calibration.decision_threshold
    return {
        "name": name,
        "images": len(images),
        "roc_auc": {"value": float(areas[0]), "low": low, "high": high},
        "other_verdict": float(np.mean([a != b for a, b in verdicts])),
        "crossed": float(np.mean((before > calibration.decision_threshold) != called)),
        "firm": float(np.mean([verdict != UNCERTAIN for _, verdict in verdicts])),
        "sensitivity": float(called[pneumonia].mean()),
        "specificity": float((~called[~pneumonia]).mean()),
    }
