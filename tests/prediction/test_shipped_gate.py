"""The input check of the default model, on drawings and on real images."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.negatives import SEEN, UNSEEN, crop
from xray_core import Predictor, read_radiograph
from xray_core.prediction.orientation import ORIENTATIONS

MODEL = Path(__file__).resolve().parents[2] / "models" / "resnet50"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("CHEST_XRAY_DIR"), reason="CHEST_XRAY_DIR is not set"),
    pytest.mark.skipif(not (MODEL / "config.json").is_file(), reason="no shipped model"),
]


@pytest.fixture(scope="module")
def shipped():
    return Predictor.load(MODEL)


@pytest.fixture(scope="module")
def images():
    folder = Path(os.environ["CHEST_XRAY_DIR"]) / "test"
    return [
        read_radiograph(path)
        for label in ("NORMAL", "PNEUMONIA")
        for path in sorted((folder / label).iterdir())[:200:10]
    ]


def drawn(kind, images, count=10):
    random = np.random.default_rng(0)
    for _ in range(count):
        data = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(kind(random, images))).save(data, "PNG")
        yield data.getvalue()


def test_images_are_analysed(shipped, images):
    predictions = list(shipped.predict_many(images))
    assert sum(prediction.verdict == "REFUSED" for prediction in predictions) == 0


def test_drawings_that_are_not_radiographs_are_refused(shipped, images):
    pixels = [image.pixels.astype(np.uint8) for image in images]
    verdicts = {
        kind.__name__: [p.verdict for p in shipped.predict_many(drawn(kind, pixels))]
        for kind in SEEN + UNSEEN
        if kind is not crop
    }
    not_all_refused = {
        name: got for name, got in verdicts.items() if got.count("REFUSED") < len(got)
    }
    assert sum(len(got) - got.count("REFUSED") for got in not_all_refused.values()) <= 3, (
        not_all_refused
    )


def test_a_part_of_an_image_rarely_passes_without_a_caution(shipped, images):
    # The central third of an image has no background: about half of such crops are refused,
    # and nearly all of the rest get a caution (the row "crop" of benchmarks/gate.py).
    pixels = [image.pixels.astype(np.uint8) for image in images]
    pieces = list(shipped.predict_many(drawn(crop, pixels, count=40)))
    assert sum(piece.gate == "passed" for piece in pieces) <= 3


@pytest.mark.parametrize(
    "turn", ORIENTATIONS, ids=lambda turn: f"{turn.quarter_turns}{turn.inverted}"
)
def test_rotated_and_inverted_images_are_recognised(shipped, images, turn):
    from xray_core.imaging.radiograph import rotate

    wrong = [rotate(image, -turn.quarter_turns, turn.inverted) for image in images[::4]]
    corrections = [prediction.correction for prediction in shipped.predict_many(wrong)]
    assert corrections.count(turn) >= len(corrections) - 1
