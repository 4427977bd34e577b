"""The picture of a secondary capture: image under its heat map, with the result written on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from xray_core.prediction import wording
from xray_core.prediction.overlay import draw_map

if TYPE_CHECKING:
    from xray_core.prediction.result import Prediction

SIDES = (640, 1024)
"""Smallest width and largest side of the image in pixels, before the lines of text are added."""

_MARGIN = 12
_TEXT, _PALE, _BACKGROUND = (255, 255, 255), (190, 190, 190), (0, 0, 0)


def draw_capture(
    prediction: Prediction, pixels: NDArray[np.float32], heading: str
) -> NDArray[np.uint8]:
    """Draw an image under its heat map, with the result below it and a heading above it.

    No text covers the image.

    Parameters
    ----------
    prediction : Prediction
        With a probability and a heat map.
    pixels : ndarray of float32, shape (H, W)
        Grey levels in [0, 255].
    heading : str

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    heatmap = prediction.heatmap
    if heatmap is None:
        heatmap = np.zeros(pixels.shape, np.float32)
    picture = _scaled(draw_map(np.rint(pixels).astype(np.uint8), heatmap))
    lines = _lines(prediction, picture.width - 2 * _MARGIN)
    top = _MARGIN + _font(22).size + _MARGIN
    bottom = sum(font.size + 6 for _, font, _ in lines) + 2 * _MARGIN
    canvas = Image.new("RGB", (picture.width, int(top + picture.height + bottom)), _BACKGROUND)
    canvas.paste(picture, (0, int(top)))
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, _MARGIN - 3), heading, _TEXT, _font(22))
    y = top + picture.height + _MARGIN
    for text, font, colour in lines:
        draw.text((_MARGIN, y), text, colour, font)
        y += font.size + 6
    return np.asarray(canvas)


def _scaled(pixels: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(pixels)
    scale = max(SIDES[0] / picture.width, 1.0)
    scale = min(scale, SIDES[1] / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    resized = picture.resize(size, Image.Resampling.LANCZOS)
    if resized.width >= SIDES[0] // 2:
        return resized
    # A narrow image gets black borders, so that the text has room.
    wide = Image.new("RGB", (SIDES[0] // 2, resized.height), _BACKGROUND)
    wide.paste(resized, ((wide.width - resized.width) // 2, 0))
    return wide


def _lines(
    prediction: Prediction, width: int
) -> list[tuple[str, ImageFont.FreeTypeFont, tuple[int, int, int]]]:
    large, small = _font(26), _font(16)
    parts = [
        (prediction.shown_as, large, _TEXT),
        (prediction.sentence, small, _TEXT),
        *((f"Caution: {reason}", small, _TEXT) for reason in prediction.reasons),
        (
            "Colour: areas that raised the pneumonia score (Grad-CAM), from low (dark red) to high "
            "(yellow), relative to this image. It does not outline disease.",
            small,
            _PALE,
        ),
        (f"Model {prediction.model}. {wording.DISCLAIMER}", small, _PALE),
    ]
    return [
        (line, font, colour) for text, font, colour in parts for line in _wrapped(text, font, width)
    ]


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which every published wheel has.")
    return font
