"""The lung network of a new bundle: its copy, the crop, and the limit of the caution on maps."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lung_network import FIELDS, draw_chest
from PIL import Image

import train
from xray_core.errors import BundleError
from xray_core.model.bundle import open_bundle
from xray_core.model.lung_crop import classifier_input
from xray_core.model.recipes import find_recipe
from xray_core.places import shipped_models
from xray_core.training.data import ImageSet
from xray_core.training.finish import _map_limit, finish_again, model_inputs
from xray_core.training.plan import find_lungs


@pytest.fixture(scope="module")
def chests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of drawn chests; those with pneumonia have a bright patch in one lung."""
    root = tmp_path_factory.mktemp("chests")
    number = 0
    for split, count in (("train", 24), ("test", 6)):
        for label in ("NORMAL", "PNEUMONIA"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for _ in range(count):
                number += 1
                _, bottom, left, right = FIELDS[number % 2]
                pixels = draw_chest(seed=number)
                name = f"IM-{number:04d}-0001"
                if label == "PNEUMONIA":
                    pixels[bottom - 40 : bottom, left : right - 10] = 190
                    name = f"person{number}_bacteria_{number}"
                Image.fromarray(pixels).save(folder / f"{name}.png")
    return root


CROPPED = ["lung_margin=0.1", "pooling=average", "dense=0", "dropout_first=false"]


@pytest.fixture(scope="module")
def cropping_models(
    chests: Path, lung_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A models folder in which `cnn` was finished with a crop, after one short epoch."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(lung_bundle, models / "lungs")
    arguments = ["--recipe", "cnn", "--data", str(chests), "--models", str(models)]
    arguments += ["--limit", "4", "--epochs", "1", "--set", "lung_margin=0.25"]
    arguments += ["--set", "filters=(4, 4)", "--set", "pool=4", "--set", "dense=0"]
    arguments += ["--set", "dropout_first=false"]
    assert train.main([*arguments, "--set", "pooling=average"]) == 0
    return models


def test_a_new_bundle_holds_the_lung_network(cropping_models: Path, lung_bundle: Path) -> None:
    bundle, lungs = open_bundle(cropping_models / "cnn"), open_bundle(lung_bundle, kind=None)
    assert bundle.config["lungs"] == {
        "version": lungs.version,
        "recipe": lungs.config["recipe"],
        "limits": lungs.config["lungs"]["limits"],
    }
    assert bundle.config["files"]["lungs.weights.h5"] == lungs.config["files"]["model.weights.h5"]
    assert 0 <= bundle.config["cautions"]["map_in_lungs"] <= 0.5
    assert "border_share" not in bundle.config["cautions"]


def test_stored_predictions_are_those_of_the_app_with_the_crop(
    cropping_models: Path, chests: Path
) -> None:
    from xray_core.prediction.predictor import Predictor

    predictor = Predictor.load(cropping_models / "cnn")
    rows = predictor.bundle.predictions()
    assert len(rows) == 12
    for row in rows.itertuples():
        prediction = predictor.predict(chests / row.file)
        assert prediction.verdict == row.verdict
        assert prediction.logit == pytest.approx(row.logit, abs=1e-4)
        if np.isnan(row.map_in_lungs):
            assert prediction.map_in_lungs is None
        else:
            assert prediction.map_in_lungs == pytest.approx(row.map_in_lungs, abs=1e-3)


def test_everything_in_the_bundle_is_of_the_crops(
    cropping_models: Path, chests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.training import finish

    models = shutil.copytree(cropping_models, tmp_path / "models")
    seen: list[str] = []
    whole: list[int] = []
    predict = finish.run_network

    def outputs(network: object, images: ImageSet, inputs: ImageSet) -> object:
        is_cropped = [
            not np.array_equal(*pair) for pair in zip(images.pixels, inputs.pixels, strict=True)
        ]
        # Only images in which no lungs are found stay whole, such as those with hidden lungs.
        whole.append(is_cropped.count(False))
        seen.append(str(images.table["fold"].iloc[0]))
        return predict(network, images, inputs)

    monkeypatch.setattr(finish, "run_network", outputs)
    before = open_bundle(models / "cnn")
    after = finish_again(before, chests)
    # Validation with copies, training images, two classes of examples, then the test images.
    assert seen[:2] == ["validation", "train"]
    test = seen.index("test")
    assert set(seen[2:test]) <= {"train"}
    assert set(seen[test:]) == {"test"}
    assert whole[0] < 10  # of 20: some shifted copies have no lungs that this network finds
    assert whole[1 : test + 1] == [0] * test
    assert after.predictions().equals(before.predictions())
    assert after.config["calibration"] == before.config["calibration"]


def test_model_inputs_are_those_of_the_predictor(cropping_models: Path, chests: Path) -> None:
    bundle = open_bundle(cropping_models / "cnn")
    segmenter = bundle.load_lungs()
    assert segmenter is not None
    pixels = np.stack([draw_chest(seed=seed) for seed in range(70)])[..., None]
    table = pd.DataFrame({"path": [f"{n}.png" for n in range(70)]})
    images = ImageSet(table, pixels, np.zeros(70, np.float32))
    inputs = model_inputs(images, segmenter, bundle.recipe)
    assert inputs.pixels.dtype == np.uint8
    for whole, cropped in zip(pixels[[0, 63, 69]], inputs.pixels[[0, 63, 69]], strict=True):
        image = whole.astype(np.float32)
        (mask,) = segmenter.masks(image[np.newaxis])
        assert np.array_equal(cropped, classifier_input(image, mask, bundle.recipe))
    assert model_inputs(images, segmenter, find_recipe("cnn")) is images
    assert model_inputs(images, None, find_recipe("cnn")) is images


def table_of(shares: list[float], label: str = "PNEUMONIA", verdict: str = "PNEUMONIA"):  # type: ignore[no-untyped-def]
    return pd.DataFrame({"label": label, "verdict": verdict, "map_in_lungs": shares})


def test_the_limit_is_a_low_quantile_and_at_most_one_half() -> None:
    shares = [0.2 + 0.03 * n for n in range(21)] + [float("nan")]
    normal = table_of([0.0] * 20, label="NORMAL")
    detected_as_normal = table_of([0.0] * 20, verdict="NORMAL")
    limit = _map_limit(pd.concat([normal, table_of(shares), detected_as_normal]))
    assert limit == pytest.approx(0.23)
    assert _map_limit(table_of([0.9, 0.8, 0.95])) == 0.5
    assert _map_limit(normal) == 0.5


@pytest.mark.parametrize(
    ("margin", "name", "words"),
    [
        (0.1, "none", "is trained on the lungs, so it needs a lung network"),
        (0.1, "other", "train one with `python train.py --recipe lungs --masks DIR`"),
        (0.0, "other", "or leave it out with --lungs none"),
        (0.0, "micro", "of the kind classifier"),
    ],
)
def test_a_missing_lung_network_is_a_sentence(
    margin: float, name: str, words: str, micro_models: Path
) -> None:
    from dataclasses import replace

    recipe = replace(find_recipe("cnn"), lung_margin=margin)
    with pytest.raises(BundleError) as refusal:
        find_lungs(micro_models, name, recipe)
    assert words in str(refusal.value)
    assert ("--lungs none" in str(refusal.value)) == (margin == 0.0 or name == "none") or (
        name == "micro"
    )


def test_a_folder_of_models_without_a_lung_network_gets_the_shipped_one(tmp_path: Path) -> None:
    bundle = find_lungs(tmp_path, "lungs", find_recipe("resnet50"))
    assert bundle is not None
    assert bundle.folder == shipped_models() / "lungs"


def test_only_a_crop_makes_a_training_depend_on_the_lung_network(
    chests: Path, lung_bundle: Path
) -> None:
    from xray_core.training.plan import plan_training

    options = {"data": str(chests), "models": lung_bundle.parent}
    plain = plan_training(find_recipe("cnn"), **options)
    cropped = plan_training(find_recipe("cnn"), settings=CROPPED, **options)
    assert plain.lungs is not None
    assert "lung network" not in plain.identity
    assert cropped.identity["lung network"] == cropped.lungs.version
    assert find_lungs(lung_bundle.parent, "none", find_recipe("cnn")) is None
    assert find_lungs(lung_bundle.parent / "nowhere", "lungs", find_recipe("lungs")) is None
