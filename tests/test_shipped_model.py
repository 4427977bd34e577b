"""The models in the repository: complete, small, with the performance that their cards state."""

import os
from pathlib import Path

import pytest

from xray_core.evaluation.tables import summary
from xray_core.imaging.radiograph import read_radiograph
from xray_core.model.bundle import list_bundles, open_bundle
from xray_core.prediction.predictor import Predictor
from xray_core.training.card import model_card
from xray_core.training.segmentation_card import segmentation_card

MODELS = Path(__file__).parents[1] / "models"
SHIPPED = [name for name, _ in list_bundles(MODELS)]
SEGMENTATIONS = [name for name, _ in list_bundles(MODELS, kind="segmentation")]


@pytest.fixture(scope="module", params=SHIPPED)
def predictor(request: pytest.FixtureRequest) -> Predictor:
    return Predictor.load(MODELS / request.param)


def test_the_models_of_the_readme_are_shipped() -> None:
    assert {"cnn", "cnn-softmax", "resnet50"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_opens(name: str) -> None:
    assert open_bundle(MODELS / name).name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_every_card_states_the_stored_metrics(name: str) -> None:
    bundle = open_bundle(MODELS / name)
    assert bundle.card() == model_card(bundle.config)


def test_models_are_small_enough_for_a_repository() -> None:
    sizes = [path.stat().st_size for path in MODELS.rglob("*") if path.is_file()]
    assert sum(sizes) <= 60e6
    assert max(sizes) <= 50e6


@pytest.mark.parametrize("name", SHIPPED)
def test_half_precision_changed_no_verdict(name: str) -> None:
    storage = open_bundle(MODELS / name).config["storage"]
    assert storage["images"] == 1147  # 523 validation and 624 test images
    assert storage["largest_probability_change"] <= 0.005
    assert storage["verdicts_changed"] == 0


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_every_shipped_segmentation_is_small_and_its_card_states_the_stored_metrics(
    name: str,
) -> None:
    bundle = open_bundle(MODELS / name, kind="segmentation")
    assert bundle.card() == segmentation_card(bundle.config)
    assert (bundle.folder / "model.weights.h5").stat().st_size <= 2e6
    table = bundle.segmentation()
    for fold in ("validation", "test"):
        stored = bundle.config["metrics"][fold]["all"]["dice"]["value"]
        assert table.loc[table["fold"] == fold, "dice"].mean() == pytest.approx(stored)


LEVEL = {"resnet50": 0.97, "cnn": 0.93, "cnn-softmax": 0.92}


@pytest.mark.parametrize("name", SHIPPED)
def test_stored_predictions_reach_the_published_level(name: str) -> None:
    bundle = open_bundle(MODELS / name)
    metrics = summary(bundle.predictions(), bundle.calibration)
    assert metrics["images"] == 624
    assert metrics["metrics"]["roc_auc"]["value"] >= LEVEL[name]
    for metric, stored in bundle.config["metrics"]["test"]["metrics"].items():
        assert metrics["metrics"][metric] == pytest.approx(stored, rel=1e-12), metric


@pytest.mark.parametrize("label", ["NORMAL", "PNEUMONIA"])
def test_the_examples_are_classified_correctly_and_pass_the_gate(
    label: str, predictor: Predictor
) -> None:
    prediction = predictor.predict(predictor.bundle.examples()[label], explain="gradcam")
    assert (prediction.verdict, prediction.gate) == (label, "passed")
    assert prediction.heatmap is not None
    assert prediction.heatmap.shape == (224, 224)


def test_every_layer_was_trained() -> None:
    table = open_bundle(MODELS / "resnet50").config["layers"]
    assert [row["name"] for row in table if row["parameters"] and not row["trained"]] == []


@pytest.mark.data
def test_stored_predictions_are_reproduced(predictor: Predictor) -> None:
    folder = Path(os.environ["CHEST_XRAY_DIR"])
    rows = predictor.bundle.predictions().query("fold == 'test'").iloc[::13]
    images = [folder / file for file in rows["file"]]
    for row, prediction in zip(rows.itertuples(), predictor.predict_many(images), strict=True):
        assert prediction.verdict == row.verdict
        if prediction.logit is not None:
            assert prediction.logit == pytest.approx(row.logit, abs=0.01)


@pytest.mark.data
def test_no_example_is_an_image_of_the_dataset(predictor: Predictor) -> None:
    import numpy as np

    folder = Path(os.environ["CHEST_XRAY_DIR"])
    examples = {k: read_radiograph(v).pixels for k, v in predictor.bundle.examples().items()}
    for label, example in examples.items():
        for path in sorted((folder / "train" / label).iterdir())[::5]:
            image = read_radiograph(path).pixels
            assert np.corrcoef(image.ravel(), example.ravel())[0, 1] < 0.99, path.name


@pytest.mark.data
@pytest.mark.parametrize("name", SHIPPED)
def test_the_split_of_the_shipped_models_is_reproduced(name: str) -> None:
    from xray_core.dataset.index import build_index

    bundle = open_bundle(MODELS / name)
    seed = bundle.config.get("split_seed", bundle.config["seed"])
    index = build_index(os.environ["CHEST_XRAY_DIR"], seed=seed)
    columns = ["path", "fold", "bytes"]
    assert index[columns].equals(bundle.dataset()[columns])
