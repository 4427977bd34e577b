"""Parts of an image hidden: the lungs, all else, or the border.

What fills a hidden part is computed from the shown part alone, with two exceptions that their names
state: the blurred image, and the border, which is filled with the mean of the whole image.

Images are grey levels, float32 (H, W) in [0, 255]; masks are bool (H, W), neither all True nor all
False.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Pixels = np.ndarray
Mask = np.ndarray

BORDER = 0.15  # width of the border, as a share of height and width
# Lengths in pixels of the model input, of 224 x 224.
BLUR = 20.0  # standard deviation of the Gaussian that blurs and fills
DILATION = 8  # by which a mask is dilated
EDGE = 4.0  # standard deviation of the Gaussian that blurs the edge of a dilated mask
_LEAST_WEIGHT = 1e-3  # of the mean of all shown pixels in a fill; matters far from shown pixels


def fill_hidden(image: Pixels, hidden: Mask) -> Pixels:
    """Replace the hidden part of an image by the shown part, blurred into it.

    Each hidden pixel becomes a mean of the shown pixels with Gaussian weights (BLUR). Where all
    shown pixels are farther than some 3 standard deviations, it tends to their plain mean. No
    hidden grey level enters the result (normalised convolution; Knutsson and Westin, CVPR 1993).

    Parameters
    ----------
    image : numpy.ndarray
        Grey levels, float32 (H, W).
    hidden : numpy.ndarray
        bool (H, W), neither all True nor all False.

    Returns
    -------
    numpy.ndarray
        float32 (H, W); the shown part is unchanged.
    """
    weight = (~hidden).astype(np.float32)
    sums = _blur(image * weight, BLUR) + _LEAST_WEIGHT * image[~hidden].mean()
    return np.where(hidden, sums / (_blur(weight, BLUR) + _LEAST_WEIGHT), image)


def _blur(image: Pixels, sigma: float) -> Pixels:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def _fill_with_mean(image: Pixels, hidden: Mask) -> Pixels:
    return np.where(hidden, image[~hidden].mean(), image)


def _fill_with_blurred_image(image: Pixels, hidden: Mask) -> Pixels:
    return np.where(hidden, _blur(image, BLUR), image)


def _hide_softly(image: Pixels, lungs: Mask) -> Pixels:
    """Hide the dilated lungs, with a gradual edge; inside the undilated lungs nothing remains."""
    side = 2 * DILATION + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    wide = cv2.dilate(lungs.astype(np.uint8), disc) > 0
    if wide.all():
        wide = lungs
    cover = np.maximum(_blur(wide.astype(np.float32), EDGE), lungs)
    return cover * fill_hidden(image, wide) + (1 - cover) * image


def hide_border(image: Pixels) -> Pixels:
    """Fill the border of an image, BORDER of its height and width on each side, with its mean.

    Parameters
    ----------
    image : numpy.ndarray
        Grey levels, float32 (H, W).

    Returns
    -------
    numpy.ndarray
        float32 (H, W).
    """
    height, width = image.shape
    rows, columns = int(BORDER * height), int(BORDER * width)
    result = np.full_like(image, image.mean())
    inside = np.s_[rows : height - rows, columns : width - columns]
    result[inside] = image[inside]
    return result


HIDDEN: dict[str, Callable[[Pixels, Mask], Pixels]] = {
    "lungs hidden, filled with the blurred surroundings": fill_hidden,
    "lungs hidden, filled with the blurred image": _fill_with_blurred_image,
    "lungs hidden, filled with the mean grey of the surroundings": _fill_with_mean,
    "lungs hidden, dilated mask with a blurred edge": _hide_softly,
    "only the lungs shown, the rest filled with the blurred lungs": (
        lambda image, lungs: fill_hidden(image, ~lungs)
    ),
    "only the lungs shown, the rest filled with their mean grey": (
        lambda image, lungs: _fill_with_mean(image, ~lungs)
    ),
    "everything but the lungs blurred": (
        lambda image, lungs: _fill_with_blurred_image(image, ~lungs)
    ),
    "the mask of the lungs alone, white on black": lambda _, lungs: 255 * lungs.astype(np.float32),
}
BORDER_HIDDEN = "the border hidden (the outer 15% on each side), filled with the mean grey"
