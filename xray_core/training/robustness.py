"""How a finished network's answers change when its images do: other pixels, or parts hidden.

What an image goes through on its way from the machine (resolution, JPEG, brightness, turning) should
change no verdict. And hiding the lungs should: a network that still tells the classes apart
without them answers from something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import rotate

from xray_core.imaging.radiograph import to_model_input
from xray_core.model.calibration import Calibration
from xray_core.stats.delong import area_interval, delong
from xray_core.training.augmentation import recompress, change_contrast
from xray_core.training.data import ImageSet

Pixels = np.ndarray
Logits = Callable[[ImageSet], np.ndarray]

BORDER = 0.15  # width of what counts as the border, as a share of height and width
CENTRE = ((0.15, 0.85), (0.12, 0.88))  # rows and columns that hold the lungs on nearly all images


def _enlarge(height: int, width: int) -> Callable[[Pixels], Pixels]:
    """As if the file had this size: enlarged, and sent through the one resize again."""
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
    bare = np.full_like(image, image.mean())
    inside = np.s_[rows : height - rows, columns : width - columns]
    bare[inside] = image[inside]
    return bare


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
    """The images after `change` of their grey levels (H, W), through the one resize."""
    varied = [
        to_model_input(
            np.clip(np.ascontiguousarray(change(image[..., 0].astype(np.float32))), 0, 255)
        )
        for image in images.pixels
    ]
    return ImageSet(images.table, np.stack(varied).astype(np.uint8), images.label)


def measure_robustness(
    images: ImageSet, logit: np.ndarray, logits_of: Logits, calibration: Calibration
) -> dict[str, list[dict[str, Any]]]:
    """Rows for `CHANGES` ("changed") and `HIDDEN` ("hidden"), after one for the images as they are.

    Each row has the name, the ROC area with its 95% interval (DeLong, images of one patient as a
    cluster), the share of images whose verdict is another one than before (uncertain counts as a
    verdict), the share that crossed the decision threshold, and sensitivity and specificity
    there. Whether the gate would have refused an image does not count.

    Args:
        images: the images as they are; `logit` (N,) what the network says of them.
        logits_of: the network's log-odds (N,) for images.
    """
    before = calibration.probability(logit)
    plain = _row("as they are", images, before, before, calibration)

    def rows(changes: dict[str, Callable[[Pixels], Pixels]]) -> list[dict[str, Any]]:
        found = [plain]
        for name, change in changes.items():
            after = calibration.probability(logits_of(change_images(images, change)))
            found.append(_row(name, images, before, after, calibration))
        return found

    return {"changed": rows(CHANGES), "hidden": rows(HIDDEN)}


def _row(
    name: str, images: ImageSet, before: np.ndarray, after: np.ndarray, calibration: Calibration
) -> dict[str, Any]:
    sick = images.label == 1
    areas, covariance = delong(sick, after, images.table["patient"].to_numpy())
    low, high = area_interval(areas[0], covariance[0, 0])
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
        "sensitivity": float(called[sick].mean()),
        "specificity": float((~called[~sick]).mean()),
    }
