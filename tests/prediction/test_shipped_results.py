"""The results of the models in the repository: the same by every method."""

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xray_core import Predictor, list_bundles, open_bundle
from xray_core.prediction import wording

MODELS = Path(__file__).resolve().parents[2] / "models"
SHIPPED = [name for name, _ in list_bundles(MODELS)]


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(request):
    """A shipped model that gives the caution on its map for every result but normal."""
    predictor = Predictor.load(MODELS / request.param)
    config = {**predictor.bundle.config}
    config["cautions"] = {**config["cautions"], "map_in_lungs": 1.1}
    predictor.bundle = replace(predictor.bundle, config=config)
    return predictor


def variants(path):
    """An example, as PNG: unchanged, darker, with more contrast, and in another size."""
    grey = np.asarray(Image.open(path).convert("L"), np.float32)
    changed = [grey, 255 * (grey / 255) ** 1.3, np.clip(1.2 * (grey - 128) + 128, 0, 255)]
    for pixels in changed:
        image = Image.fromarray(pixels.astype(np.uint8)).resize((400, 380))
        data = io.BytesIO()
        image.save(data, "PNG")
        yield data.getvalue()


def assert_same_however_asked(predictor, sources):
    many = list(predictor.predict_many(sources, batch_size=4))
    for source, together in zip(sources, many, strict=True):
        for method in (None, "gradcam", "layercam"):
            alone = predictor.predict(source, explain=method)
            assert (alone.verdict, alone.reasons, alone.sentence) == (
                together.verdict,
                together.reasons,
                together.sentence,
            )
    return many


def test_examples_have_the_same_reasons_by_every_method(shipped):
    sources = [data for path in shipped.bundle.examples().values() for data in variants(path)]
    many = assert_same_however_asked(shipped, sources)
    cautioned = [wording.MAP_OUTSIDE_LUNGS in prediction.reasons for prediction in many]
    assert any(cautioned) == (shipped.lungs is not None)


@pytest.mark.data
def test_real_images_have_the_same_reasons_by_every_method(shipped):
    table = shipped.bundle.predictions().query("fold == 'test'")
    odd = table[table["gate"] != "passed"]["file"].tolist()[:3]
    files = odd + table["file"].tolist()[::200]
    folder = Path(os.environ["CHEST_XRAY_DIR"])
    many = assert_same_however_asked(shipped, [folder / file for file in files])
    assert sum(bool(prediction.reasons) for prediction in many) >= 3


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("fold", ["validation", "test"])
def test_the_counts_below_the_exclusion_threshold_are_those_of_the_predictions(name, fold):
    bundle = open_bundle(MODELS / name)
    images = bundle.predictions().query(f"fold == '{fold}'")
    below = images[images["probability"] < bundle.calibration.exclusion_threshold]
    assert wording.count_below_exclusion(bundle.config, fold) == wording.BelowExclusion(
        below=len(below),
        missed=int((below["label"] == "PNEUMONIA").sum()),
        images=len(images),
        pneumonia=int((images["label"] == "PNEUMONIA").sum()),
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_the_exclusion_threshold_is_the_highest_with_its_sensitivity(name):
    bundle = open_bundle(MODELS / name)
    evaluated = bundle.config["metrics"]["shifted_validation"]["exclusion_threshold"]
    assert evaluated["threshold"] == bundle.calibration.exclusion_threshold
    assert evaluated["metrics"]["sensitivity"]["value"] >= 0.99
