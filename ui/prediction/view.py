"""The image that is open: its pixels at the size of a screen, and its maps once computed."""

import io
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from ui.prediction.cases import Case, display_pixels, thumbnail, visit
from xray_core.imaging.radiograph import Radiograph
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

CASE_SIDE = 2048
OVERLAY_SIDE = 1000
DEFAULT_METHOD = "gradcam"


@dataclass
class View:
    """One open image: `image` as PNG, `small` (h, w) under the overlay, one answer a method.

    `key` names the image itself, how it is looked at and the model; `thumbnail` is a data URI.
    """

    key: tuple
    radiograph: Radiograph
    case: bytes
    small: NDArray[np.uint8]
    thumbnail: str
    answers: dict[str, Prediction] = field(default_factory=dict)


def view_of(case: Case, predictor: "Predictor", analysed_by: str) -> View:
    """Return the image's view, the session's one; raises UnreadableImage."""
    shown, key = visit(), (case, case.settings, analysed_by)
    if shown.view is not None and shown.view.key == key:
        return shown.view
    radiograph = case.read()
    small = display_pixels(radiograph, OVERLAY_SIDE)
    view = View(
        key,
        replace(radiograph, pixels=small.astype(np.float32)),
        _encoded(display_pixels(radiograph, CASE_SIDE), "PNG"),
        small,
        thumbnail(radiograph),
    )
    view.answers[DEFAULT_METHOD] = _answer(radiograph, predictor, DEFAULT_METHOD, small.shape)
    if shown.is_shown(case):
        shown.view = view
    return view


def answer(view: View, case: Case, predictor: "Predictor", method: str) -> Prediction:
    """Return the prediction with the map of a method, computed on the first call."""
    if method not in view.answers:
        with st.spinner("Computing the map …"):
            view.answers[method] = _answer(case.read(), predictor, method, view.small.shape)
    return view.answers[method]


def _answer(
    radiograph: Radiograph, predictor: "Predictor", method: str, shape: tuple[int, int]
) -> Prediction:
    prediction = predictor.predict(radiograph, explain=method)
    if prediction.heatmap is None:
        return prediction
    heatmap = Image.fromarray(prediction.heatmap).resize(shape[::-1], Image.Resampling.BILINEAR)
    return replace(prediction, heatmap=np.clip(np.asarray(heatmap), 0, 1))


def encoded_overlay(picture: NDArray[np.uint8]) -> bytes:
    """Return an overlay as a JPEG, quick to make at every move of a control."""
    return _encoded(picture, "JPEG", quality=92, subsampling=0)


def _encoded(picture: NDArray[np.uint8], kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    if kind == "PNG":
        options = {"compress_level": 1}
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()
