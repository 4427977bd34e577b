"""Robustness: how a network's results change when images are changed or parts are hidden.

Changes in resolution, JPEG quality, brightness or rotation should not change a verdict. Hiding the
lungs should: a network that still separates the classes without them uses shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import rotate

from xray_core.imaging.pixels import to_model_input
from xray_core.model.calibration import Calibration
from xray_core.stats.delong import delong
from xray_core.stats.intervals import wald_interval
from xray_core.training.augmentation import change_contrast, recompress
from xray_core.training.data import ImageSet

Pixels = np.ndarray
PredictLogits = Callable[[ImageSet], np.ndarray]

BORDER = 0.15  # width of the border, as a share of height and width
CENTRE = (
    (0.15, 0.85),
    (0.12, 0.88),
)  # rows and columns that contain the lungs in nearly all images


def _enlarge(height: int, width: int) -> Callable[[Pixels], Pixels]:
    """Enlarge to a file's usual size, before the resize to the model input."""
    return lambda image: cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def _reduce(side: int) -> Callable[[Pixels], Pixels]:
    return lambda image: cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def _rotate(degrees: float) -> Callable[[Pixels], Pixels]:
    return lambda image: rotate(image, degrees, reshape=False, order=1)


def _hide_centre(image: Pixels) -> Pixels:
    (top, bottom), (left, right) = CENTRE
    height, width = image.shape
    image = image.copy()
    inside = np.s_[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
    image[inside] = image.mean()
    return image


def _hide_border(image: Pixels) -> Pixels:
    height, width = image.shape
    rows, columns = int(BORDER * height), int(BORDER * width)
    result = np.full_like(image, image.mean())
    inside = np.s_[rows : height - rows, columns : width - columns]
    result[inside] = image[inside]
    return result


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
HIDDEN: dict[str, Callable[[Pixels], Pixels]] = {
    "the lungs hidden (a grey rectangle over the centre)": _hide_centre,
    "the border hidden (the outer 15% on each side)": _hide_border,
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
    varied = [
        to_model_input(
            np.clip(np.ascontiguousarray(change(image[..., 0].astype(np.float32))), 0, 255)
        )
        for image in images.pixels
    ]
    return ImageSet(images.table, np.stack(varied).astype(np.uint8), images.label)


def measure_robustness(
    images: ImageSet, logit: np.ndarray, predict_logits: PredictLogits, calibration: Calibration
) -> dict[str, list[dict[str, Any]]]:
    """Measure the effect of each change; the input check is not applied.

    Parameters
    ----------
    images : ImageSet
        The unchanged images.
    logit : numpy.ndarray
        Log-odds (N,) of the unchanged images.
    predict_logits : callable
        Maps an ImageSet to log-odds (N,).
    calibration : Calibration
        Probabilities, verdicts and the decision threshold.

    Returns
    -------
    dict
        "changed": rows for CHANGES; "hidden": rows for HIDDEN; both after a row for the unchanged
        images. Each row has name, images, roc_auc (value and 95% interval; DeLong, with the images
        of a patient as a cluster), other_verdict (share of images with another verdict than
        before; uncertain is a verdict), crossed (share that crossed the decision threshold),
        sensitivity and specificity at that threshold.
    """
    before = calibration.probability(logit)
    unchanged = _row("as they are", images, before, before, calibration)

    def rows(changes: dict[str, Callable[[Pixels], Pixels]]) -> list[dict[str, Any]]:
        result = [unchanged]
        for name, change in changes.items():
            after = calibration.probability(predict_logits(change_images(images, change)))
            result.append(_row(name, images, before, after, calibration))
        return result

    return {"changed": rows(CHANGES), "hidden": rows(HIDDEN)}


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
        "sensitivity": float(called[pneumonia].mean()),
        "specificity": float((~called[~pneumonia]).mean()),
    }
