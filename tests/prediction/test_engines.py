"""OpenVINO and TensorFlow give the same results for the models in the repository."""

import io
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xray_core import Predictor, list_bundles, open_bundle
from xray_core.prediction import engines
from xray_core.prediction.engines import compare_engines

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")

MODELS = Path(__file__).resolve().parents[2] / "models"
SHIPPED = [name for name, _ in list_bundles(MODELS)]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_examples_have_the_same_results(name):
    sources = []
    for path in open_bundle(MODELS / name).examples().values():
        grey = np.asarray(Image.open(path).convert("L"))
        for pixels in (grey, grey[:, ::-1], grey // 2, np.rot90(grey)):
            data = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(pixels)).save(data, "PNG")
            sources.append(data.getvalue())
    result = compare_engines(MODELS / name, sources)
    assert (result.images, result.verdicts_changed) == (len(sources), 0)
    assert result.with_logit >= 4
    assert result.logit_difference < 1e-4


@pytest.mark.data
@pytest.mark.parametrize("name", SHIPPED)
def test_real_images_have_the_same_results(name):
    """Validation images: 40 of those with a stored result."""
    bundle = open_bundle(MODELS / name)
    stored = bundle.predictions()
    files = stored.loc[stored["fold"] == "validation", "file"].sample(40, random_state=0)
    folder = Path(os.environ["CHEST_XRAY_DIR"])
    result = compare_engines(bundle.folder, [folder / file for file in files])
    assert (result.images, result.verdicts_changed) == (40, 0)
    assert result.with_logit >= 30
    assert result.logit_difference < 1e-4


def test_differences_are_counted(micro_bundle, image_png, monkeypatch):
    """TensorFlow's results are compared with those of a model whose logits are 2 higher."""

    class Shifted(Predictor):
        @classmethod
        def load(cls, path, engine="auto"):
            predictor = Predictor.load(path, engine="openvino")
            if engine == "openvino":
                forward = predictor._forward
                predictor._forward = lambda images: [
                    output + 2 * (number == 1) for number, output in enumerate(forward(images))
                ]
            return predictor

    monkeypatch.setattr(engines, "Predictor", Shifted)
    sources = [image_png(number, False) for number in range(2000, 2004)] + [b"no image"]
    result = compare_engines(micro_bundle, sources)
    assert (result.images, result.with_logit) == (5, 4)
    assert result.logit_difference == pytest.approx(2.0, abs=1e-4)
