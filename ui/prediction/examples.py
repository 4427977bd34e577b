"""The examples: one image of each kind of result, made from the two example images of a bundle.

These are averages of similar training images and show no patient. A mixture of the two stands for
an indeterminate image, and a rotated one for an image that is not analysed.
"""

import base64
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from ui.common.models import load_bundle, load_predictor
from ui.prediction.cases import Visit
from xray_core.labels import NORMAL, PNEUMONIA, REFUSED, UNCERTAIN
from xray_core.model.bundle import Bundle
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

Pixels = NDArray[np.uint8]
BISECTIONS = 7
AVERAGE = "an average of five similar training images"


class Example(NamedTuple):
    """An example: its name on the page, what it is, and a preview of it, uint8 (h, w)."""

    name: str
    description: str
    preview: Pixels


def examples(bundle: Bundle) -> dict[str, Example]:
    """Return the examples that the bundle has images for, by the verdict that they stand for."""
    images = _images(bundle)
    found = {
        label: Example(f"Example: {label.lower()}", AVERAGE, images[label])
        for label in (NORMAL, PNEUMONIA)
        if label in images
    }
    if len(found) == 2:
        found[UNCERTAIN] = Example(
            "Example: indeterminate",
            "a mixture of the examples normal and pneumonia",
            mix(images[NORMAL], images[PNEUMONIA], 0.5),
        )
    for rotated, label in _rotated(images):
        description = f"the example {label.lower()}, rotated"
        found[REFUSED] = Example("Example: not analysed", description, rotated)
        break
    return found


def open_example(visit: Visit, model: str, verdict: str) -> None:
    """Open an example, or show a brief message where this model has none of its kind."""
    bundle = load_bundle(model)
    example, images = examples(bundle)[verdict], _images(bundle)
    pixels: Pixels | None = images.get(verdict)
    if verdict == UNCERTAIN:
        predict = _predict(load_predictor(model))
        pixels = find_indeterminate(images[NORMAL], images[PNEUMONIA], predict)
    elif verdict == REFUSED:
        predict = _predict(load_predictor(model))
        candidates = (rotated for rotated, _ in _rotated(images))
        pixels = next((one for one in candidates if predict(one).verdict == REFUSED), None)
    if pixels is None:
        st.toast("This model has no such example.", icon=":material/info:")
        return
    visit.open(_as_png(pixels), origin=f"{example.name} ({example.description})")


def find_indeterminate(
    normal: Pixels, pneumonia: Pixels, predict: Callable[[Pixels], Prediction]
) -> Pixels | None:
    """Find a mixture of two images that is indeterminate, by bisection of their shares.

    One that is indeterminate by its probability is preferred to one that is so because it is unlike
    the training images. Returns None if there is none among the mixtures tried.
    """
    low, high, found = 0.0, 1.0, None
    for _ in range(BISECTIONS):
        share = (low + high) / 2
        mixture = mix(normal, pneumonia, share)
        prediction = predict(mixture)
        if prediction.probability is None:
            break
        if prediction.verdict == UNCERTAIN:
            found = mixture
            if not prediction.unlike:
                break
        if prediction.probability < 0.5:
            low = share
        else:
            high = share
    return found


def mix(one: Pixels, other: Pixels, share: float) -> Pixels:
    """Return the mixture of two images (h, w) of one size, with this share of the other."""
    mixture = (1 - share) * one.astype(np.float32) + share * other.astype(np.float32)
    return np.rint(mixture).astype(np.uint8)


def preview_uri(pixels: Pixels) -> str:
    """Return a preview as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _images(bundle: Bundle) -> dict[str, Pixels]:
    return {
        label: np.asarray(Image.open(path).convert("L"))
        for label, path in bundle.examples().items()
    }


def _rotated(images: dict[str, Pixels]) -> Iterator[tuple[Pixels, str]]:
    """Yield the rotated examples with the label of the image, a quarter turn clockwise first."""
    for turns in (-1, 1, 2):
        for label, image in images.items():
            yield np.ascontiguousarray(np.rot90(image, turns)), label


def _predict(predictor: "Predictor") -> Callable[[Pixels], Prediction]:
    return lambda pixels: predictor.predict(_as_png(pixels))


def _as_png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
