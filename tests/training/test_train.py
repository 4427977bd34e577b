"""`python train.py`: what is refused, and that a whole bundle comes out."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import train
from xray_core.dataset.index import build_index
from xray_core.errors import BundleError, RecipeError
from xray_core.imaging.pixels import to_model_input
from xray_core.imaging.radiograph import read_radiograph
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.bundle_writing import seal
from xray_core.model.engine import choose_engine
from xray_core.model.lung_crop import classifier_input
from xray_core.model.recipes import RECIPES, find_recipe
from xray_core.training import command
from xray_core.training.hidden import BORDER_HIDDEN, HIDDEN
from xray_core.training.plan import plan_training
from xray_core.training.robustness import CHANGES

REPOSITORY = Path(__file__).parents[2]
QUICK = ["--limit", "4", "--epochs", "1", "--backbone-weights", "none", "--lungs", "none"]


@pytest.fixture(autouse=True)
def _no_dataset_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHEST_XRAY_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert train.main(arguments) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "Traceback" not in message
    return message


def test_no_dataset_names_the_download(capsys: pytest.CaptureFixture[str]) -> None:
    assert "python -m xray_core download" in refused([], capsys)


def test_an_empty_class_folder_is_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    for path in (tmp_path / "set" / "test" / "NORMAL").iterdir():
        path.unlink()
    assert "NORMAL" in refused(["--data", "set"], capsys)


def test_one_class_alone_is_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(dataset, tmp_path / "set")
    for split in ("train", "test"):
        shutil.rmtree(tmp_path / "set" / split / "PNEUMONIA")
    assert "PNEUMONIA" in refused(["--data", "set"], capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "resnet51"], "Did you mean resnet50"),
        (["--set", "epoch=3"], "Did you mean epochs"),
        (["--epochs", "0"], "at least 1"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--name", "../up"], "A model's name"),
        (["--backbone-weights", "nowhere.h5"], "There is no weights file nowhere.h5"),
        (["--recipe", "cnn", "--backbone-weights", "w.h5"], "works only with a backbone"),
        (["--set", "learning_rate=-1.0"], "'learning_rate' must be above 0"),
        (["--recipe", "cnn-softmax", "--set", "mixup=0.4"], "works only with output=sigmoid"),
        (["--recipe", "vgg16", "--set", "last_stage=conv5"], "the backbone resnet50"),
        (["--recipe", "lungs", "--external", "e"], "--external works only with a classifier"),
        (["--lungs", "none", "--recipe", "cnn", "--external", "e"], "no folder of external images"),
        (["--seed", "-1"], "--seed must be 0 to"),
        (["--split-seed", "5000000000"], "--split-seed must be 0 to"),
    ],
)
def test_options_that_do_not_fit(
    arguments: list[str], words: str, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(["--data", str(dataset), *arguments], capsys)


def test_a_taken_name_is_refused_and_a_free_one_found(
    dataset: Path, lung_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "cnn").mkdir(parents=True)
    shutil.copytree(lung_bundle, tmp_path / "models" / "lungs")
    taken = ["--data", str(dataset), "--recipe", "cnn", "--name", "cnn"]
    assert "--overwrite" in refused(taken, capsys)
    plan = plan_training(find_recipe("cnn"), data=str(dataset))
    assert plan.target == Path("models/cnn-2")


def test_fewer_epochs_shorten_what_a_recipe_does_in_its_last(
    dataset: Path, lung_bundle: Path
) -> None:
    options = {"data": str(dataset), "models": lung_bundle.parent, "backbone_weights": "none"}
    assert plan_training(find_recipe("resnet50"), epochs=1, **options).recipe.stem_epochs == 1
    assert plan_training(find_recipe("resnet50"), epochs=20, **options).recipe.stem_epochs == 2
    assert plan_training(find_recipe("vgg16"), epochs=2, **options).recipe.cached_views == 2
    with pytest.raises(RecipeError, match="'stem_epochs' must be at most epochs=1"):
        plan_training(find_recipe("resnet50"), settings=["stem_epochs=2"], epochs=1, **options)


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_can_be_planned_for_one_epoch(
    name: str, dataset: Path, masks: Path, lung_bundle: Path
) -> None:
    folder = str(masks) if RECIPES[name].kind == "segmentation" else None
    options = {"models": lung_bundle.parent, "masks": folder, "epochs": 1, "limit": 4}
    plan = plan_training(RECIPES[name], data=str(dataset), **options)
    assert plan.recipe.epochs == 1
    assert plan.split_seed == 0


@pytest.mark.parametrize("limit", [None, 4])
def test_the_seed_changes_training_and_never_the_split(dataset: Path, limit: int | None) -> None:
    def index(**seeds: int) -> list[tuple[str, str]]:
        plan = plan_training(
            find_recipe("cnn"), data=str(dataset), limit=limit, lungs="none", **seeds
        )
        assert plan.identity["seed"] == seeds.get("seed", 0)
        return list(zip(plan.index["path"], plan.index["fold"], strict=True))

    assert index(seed=0) == index(seed=7)
    assert index(split_seed=1) == index(seed=7, split_seed=1)
    assert index(split_seed=1) != index()


def test_a_refusal_costs_no_tensorflow(tmp_path: Path) -> None:
    code = "import sys, train; train.main([]); sys.exit('tensorflow' in sys.modules)"
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0


def test_the_card_names_no_folder_of_this_machine() -> None:
    given = ["--recipe", "cnn", "--data", "/home/me/images", "--name=mine", "--limit", "4"]
    assert command._reproducible_options(given) == "--recipe cnn --limit 4"
    assert (
        command._reproducible_options(["--backbone-weights", "/home/me/w.h5"])
        == "--backbone-weights FILE"
    )
    assert command._reproducible_options(["--masks", "/home/me/m", "--seed", "1"]) == (
        "--masks DIR --seed 1"
    )
    assert command._reproducible_options(["--external", "/home/me/e"]) == "--external DIR"


def test_a_training_leaves_a_whole_bundle_and_nothing_else(trained_models: Path) -> None:
    assert sorted(path.name for path in trained_models.iterdir()) == [
        ".cnn-softmax.lock",
        "cnn-softmax",
    ]
    bundle = open_bundle(trained_models / "cnn-softmax")
    assert bundle.config["limit"] == 4
    # Validation holds 2 normal images, 2 of bacterial pneumonia and 1 of viral: all are drawn.
    assert bundle.config["dataset"]["images"] == 21
    assert len(bundle.history()) == 1
    assert set(bundle.predictions()["fold"]) == {"validation", "test"}
    assert bundle.config["storage"]["largest_probability_change"] < 0.005
    if choose_engine() == "openvino":
        assert bundle.config["engines"]["images"] == 5
        assert bundle.config["engines"]["largest_logit_difference"] < 1e-4
        assert "on 5 validation images" in bundle.card()
    assert bundle.config["training"]["command"].startswith("--recipe cnn-softmax --limit 4")
    assert "What it must not be used for" in bundle.card()
    assert "JPEG quality 30" in bundle.card()
    assert "\n| |" not in bundle.card()  # no table has a column without a name
    names = [row["name"] for row in bundle.config["robustness"]["hidden"]]
    assert names == ["whole images", BORDER_HIDDEN]  # there was no mask
    assert "so no lungs were hidden" in bundle.card()
    assert "Not measured for this bundle" in bundle.card()
    assert bundle.config["neighbours_report"]["images"] <= 5


def test_stored_predictions_are_those_of_the_app(trained_models: Path, dataset: Path) -> None:
    from xray_core.prediction.predictor import Predictor

    predictor = Predictor.load(trained_models / "cnn-softmax")
    rows = predictor.bundle.predictions()
    rows = rows[rows["fold"] == "test"]
    for row in rows.itertuples():
        prediction = predictor.predict(dataset / row.file)
        assert prediction.verdict == row.verdict
        if prediction.logit is not None:
            assert prediction.logit == pytest.approx(row.logit, abs=1e-4)


def test_what_follows_the_weights_can_be_rebuilt(
    trained_models: Path, dataset: Path, tmp_path: Path
) -> None:
    from xray_core.__main__ import main

    shutil.copytree(trained_models, tmp_path / "models")
    folder = tmp_path / "models" / "cnn-softmax"
    before = open_bundle(folder)
    assert main(["finish", "cnn-softmax", "--data", str(dataset), "--lungs", "none"]) == 0
    after = open_bundle(folder)
    for name in ("predictions.csv", "gate.npz", "model.weights.h5"):
        if name.endswith(".csv"):
            assert (trained_models / "cnn-softmax" / name).read_text() == (
                folder / name
            ).read_text()
    assert after.config["calibration"] == before.config["calibration"]
    assert after.config["storage"] == before.config["storage"]
    assert after.dataset().equals(before.dataset())


@pytest.fixture
def hospitals(tmp_path: Path, image: Callable[..., Any]) -> Path:
    """A folder with a table of six external images."""
    from PIL import Image

    folder = tmp_path / "hospitals"
    folder.mkdir()
    table = "set,file,label,patient,view\n"
    for number in range(6):
        Image.fromarray(image(700 + number, number % 2 == 1)).save(folder / f"{number}.png")
        label = "PNEUMONIA" if number % 2 else "NORMAL"
        table += f"clinic,{number}.png,{label},p{number},PA\n"
    (folder / "images.csv").write_text(table)
    return folder


def test_a_training_measures_other_hospitals_at_its_end(dataset: Path, hospitals: Path) -> None:
    arguments = ["--recipe", "cnn-softmax", "--data", str(dataset), "--external", str(hospitals)]
    arguments += ["--limit", "4", "--epochs", "1", "--set", "filters=(4, 4, 4)", "--lungs", "none"]
    assert train.main(arguments) == 0
    bundle = open_bundle("models/cnn-softmax")
    assert [one["set"] for one in bundle.config["external"]] == ["clinic"]
    assert "--external DIR" in bundle.card()


def test_a_rebuilt_bundle_measures_hidden_lungs_and_other_hospitals(
    trained_models: Path, dataset: Path, masks: Path, tmp_path: Path, hospitals: Path
) -> None:
    from xray_core.__main__ import main

    shutil.copytree(trained_models, tmp_path / "models")
    options = ["--data", str(dataset), "--lungs", "none", "--external", str(hospitals)]
    assert main(["finish", "cnn-softmax", *options, "--masks", str(masks)]) == 0
    bundle = open_bundle(tmp_path / "models" / "cnn-softmax")
    robustness = bundle.config["robustness"]
    assert [row["name"] for row in robustness["hidden"]] == [
        "whole images",
        *HIDDEN,
        BORDER_HIDDEN,
    ]
    assert robustness["masks"]["source"] == "human"
    (clinic,) = bundle.config["external"]
    assert (clinic["set"], clinic["images"]) == ("clinic", 6)
    assert "### clinic" in bundle.card()
    assert "The lungs were outlined by people" in bundle.card()
    # What was measured is kept where nothing is predicted.
    assert main(["finish", "cnn-softmax", "--stored"]) == 0
    assert open_bundle(bundle.folder).config["external"] == bundle.config["external"]


def test_a_lung_network_predicts_the_masks_where_none_were_drawn(
    trained_models: Path,
    trained_lungs: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dataclasses import replace

    from xray_core.__main__ import main
    from xray_core.training import data

    def add_lung_masks(images: Any, segmenter: Any) -> Any:
        assert segmenter.limits is not None
        masks = np.zeros(images.pixels.shape[:3], bool)
        masks[:, 60:160, 40:95] = masks[:, 60:160, 130:185] = True
        return replace(images, masks=masks[..., np.newaxis])

    monkeypatch.setattr(data, "add_lung_masks", add_lung_masks)
    shutil.copytree(trained_models, tmp_path / "models")
    shutil.copytree(trained_lungs / "lungs", tmp_path / "models" / "lungs")
    assert main(["finish", "cnn-softmax", "--data", str(dataset)]) == 0
    bundle = open_bundle(tmp_path / "models" / "cnn-softmax")
    assert bundle.config["robustness"]["masks"]["source"] == "predicted"
    assert "The lungs are those that the lung network finds" in bundle.card()


@pytest.mark.parametrize("option", ["--masks", "--external"])
def test_a_missing_folder_is_named_before_anything_is_predicted(
    option: str, trained_models: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from xray_core.__main__ import main

    arguments = ["finish", "cnn-softmax", "--models", str(trained_models), "--data", str(dataset)]
    assert main([*arguments, option, "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_masks_of_other_images_are_refused_before_a_training(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ["--recipe", "cnn", "--data", str(dataset), "--lungs", "none", "--masks", "empty"]
    assert "No image of the dataset has a lung mask" in refused(arguments, capsys)


def test_no_test_image_is_predicted_before_everything_is_chosen(
    trained_models: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.training import finish
    from xray_core.training.data import load_images

    bundle = open_bundle(trained_models / "cnn-softmax")
    steps: list[str] = []

    def noted(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            steps.append(name)
            return step(*arguments, **options)

        return call

    def outputs(both: Any, images: Any, inputs: Any) -> Any:
        steps.append(f"predict {images.table['fold'].iloc[0]}")
        return predict(both, images, inputs)

    predict = finish.run_network
    choices = ("fit_calibration", "fit_gate", "fit_neighbours", "write_examples")
    for name in choices:
        monkeypatch.setattr(finish, name, noted(name, getattr(finish, name)))
    monkeypatch.setattr(finish, "run_network", outputs)
    copied: list[int] = []
    shift = finish.pipeline.add_shifted_copies
    monkeypatch.setattr(
        finish.pipeline,
        "add_shifted_copies",
        lambda images, copies, seed: copied.append(seed) or shift(images, copies, seed=seed),
    )
    facts = {
        key: bundle.config[key]
        for key in ("created", "libraries", "limit", "git_commit", "training")
    }
    facts |= {"seed": 9, "split_seed": 0}
    fresh = finish.Provenance(bundle.recipe, bundle.history(), facts)  # not yet rounded
    loaded = load_images(build_index(dataset), dataset)
    finish.finish(bundle.load_network(), fresh, loaded, dataset, tmp_path / "again")
    last_choice = max(steps.index(name) for name in choices)
    assert "predict test" not in steps[:last_choice]
    # As they are, with the weights before rounding, and once for each row of the two tables.
    versions = len(CHANGES) + 2  # of the hidden parts: whole images, and without the border
    assert steps.count("predict test") == 2 + versions
    assert copied == [1]  # of the split's seed, not of the training's


def without_split_seed(folder: Path, seed: int) -> Bundle:
    """A bundle as it was written before there was a seed of the split."""
    config = {k: v for k, v in open_bundle(folder).config.items() if k != "split_seed"}
    seal(folder, {**config, "seed": seed})
    return open_bundle(folder)


def test_a_bundle_without_a_split_seed_keeps_its_split(
    trained_models: Path, dataset: Path, tmp_path: Path
) -> None:
    from xray_core.training.finish import finish_again

    shutil.copytree(trained_models, tmp_path / "models")
    before = without_split_seed(tmp_path / "models" / "cnn-softmax", seed=0)
    after = finish_again(before, dataset, lungs="none")
    assert after.dataset().equals(before.dataset())
    assert after.config["split_seed"] == 0


def test_a_bundle_without_a_split_seed_was_split_by_its_seed(
    trained_models: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.training import finish

    shutil.copytree(trained_models, tmp_path / "models")
    bundle = without_split_seed(tmp_path / "models" / "cnn-softmax", seed=5)
    asked: list[int] = []
    build = finish.build_index
    monkeypatch.setattr(
        finish,
        "build_index",
        lambda folder, seed, **options: asked.append(seed) or build(folder, seed=seed, **options),
    )
    with pytest.raises(BundleError, match="are not those"):  # the seed draws other folds
        finish.finish_again(bundle, dataset, lungs="none")
    assert asked == [5]


def test_finishing_with_other_images_is_refused(
    trained_models: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from xray_core.__main__ import main

    shutil.copytree(trained_models, tmp_path / "models")
    shutil.copytree(dataset, tmp_path / "set")
    edited = min((tmp_path / "set" / "test" / "NORMAL").iterdir())
    before = edited.read_bytes()
    # Pixels as they were, and a size as it was: the last byte, of a PNG's end, does not matter.
    edited.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert main(["finish", "cnn-softmax", "--data", "set", "--lungs", "none"]) == 1
    assert "are not those" in capsys.readouterr().err
    edited.write_bytes(before)
    first = next((tmp_path / "set" / "test" / "NORMAL").iterdir())
    shutil.copy(first, first.with_name("IM-9999-0001.png"))
    first.unlink()
    assert main(["finish", "cnn-softmax", "--data", "set", "--lungs", "none"]) == 1
    assert "are not those" in capsys.readouterr().err


def test_resume_without_a_stopped_run_starts_a_new_training(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from xray_core.training import run

    def stop(*_: object, **__: object) -> None:
        raise BundleError("Stopped here.")

    monkeypatch.setattr(run, "build_network", stop)
    arguments = ["--recipe", "cnn", "--data", str(dataset), "--models", str(tmp_path)]
    assert train.main([*arguments, "--lungs", "none", "--resume"]) == 1
    assert "no stopped training to resume" in capsys.readouterr().out


def test_help_shows_the_percent_sign_once(capsys: pytest.CaptureFixture[str]) -> None:
    from xray_core.__main__ import main

    for arguments in (["--help"], ["evaluate", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "95% interval" in capsys.readouterr().out


def test_evaluate_prints_intervals_and_writes_json(
    trained_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from xray_core.__main__ import main

    out = tmp_path / "numbers.json"
    options = ["--model", "cnn-softmax", "--models", str(trained_models), "--json", str(out)]
    assert main(["evaluate", *options]) == 0
    assert "ROC AUC" in capsys.readouterr().out
    assert json.loads(out.read_text())["images"] == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [name for name, recipe in RECIPES.items() if recipe.kind == "classifier"]
)
def test_every_classifier_gives_a_bundle_that_predicts(
    recipe: str, dataset: Path, lung_bundle: Path, tmp_path: Path
) -> None:
    from xray_core.prediction.predictor import Predictor

    shutil.copytree(lung_bundle, tmp_path / lung_bundle.name)
    arguments = ["--recipe", recipe, "--data", str(dataset), "--models", str(tmp_path), *QUICK]
    arguments += ["--lungs", lung_bundle.name]
    assert train.main(arguments) == 0
    image = next((dataset / "test" / "NORMAL").iterdir())
    prediction = Predictor.load(tmp_path / recipe).predict(image, explain="gradcam")
    assert prediction.verdict in ("NORMAL", "PNEUMONIA", "UNCERTAIN", "REFUSED")


def test_a_classifier_is_trained_on_the_lungs(
    dataset: Path, lung_bundle: Path, tmp_path: Path
) -> None:
    import keras

    models = tmp_path / "models"
    shutil.copytree(lung_bundle, models / lung_bundle.name)
    arguments = ["--recipe", "cnn", "--data", str(dataset), "--models", str(models)]
    arguments += ["--limit", "4", "--epochs", "2", "--lungs", lung_bundle.name]
    for setting in (
        "filters=(4, 4)",
        "pooling=average",
        "dense=0",
        "dropout_first=false",
        "lung_margin=0.1",
        "outside_weight=0.5",
        "shifted_views=1",
        "augmentation.hide_lungs=0.3",
        "augmentation.replace_outside=0.3",
        "augmentation.crop=0.5",
        "augmentation.whole=0.2",
    ):
        arguments += ["--set", setting]
    assert train.main(arguments) == 0
    bundle = open_bundle(models / "cnn")
    history = bundle.history()
    assert {"loss", "accuracy", "outside_loss", "shifted_auc"} <= set(history)
    assert history["outside_loss"].between(0, 1).all()
    assert bundle.recipe.lung_margin == 0.1
    segmenter = bundle.load_lungs()
    assert segmenter is not None
    # The stored log-odds are those of the cropped images.
    stored = bundle.predictions().iloc[0]
    image = to_model_input(read_radiograph(dataset / stored["file"]))
    mask = segmenter.masks(image[np.newaxis])[0]
    crop = classifier_input(image, mask, bundle.recipe)
    network = bundle.load_network()
    to_logit = keras.Model(network.input, network.get_layer("logit").output)
    logit = float(to_logit.predict(crop[np.newaxis], verbose=0)[0, 0])
    assert logit == pytest.approx(stored["logit"], abs=1e-4)


@pytest.mark.slow
def test_a_killed_training_is_resumed(dataset: Path, tmp_path: Path) -> None:
    import signal
    import time

    command = [sys.executable, str(REPOSITORY / "train.py"), "--recipe", "cnn", "--data"]
    command += [str(dataset), "--models", str(tmp_path), "--set", "patience=99", "--epochs", "200"]
    command += ["--lungs", "none"]
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "", "HOME": str(tmp_path)}
    run = subprocess.Popen(command, env=environment)
    state = tmp_path / ".cnn.training"
    while not list(state.glob("epoch-00[3-9]")):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "cnn").exists()
    command[command.index("200")] = "200"
    subprocess.run([*command, "--resume"], env=environment, check=True, timeout=900)
    assert len(open_bundle(tmp_path / "cnn").history()) == 200


def test_two_trainings_of_one_name_do_not_mix(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    (tmp_path / "models").mkdir()
    with FileLock(tmp_path / "models" / ".cnn.lock"):
        arguments = ["--recipe", "cnn", "--data", str(dataset), *QUICK]
        assert "already running" in refused(arguments, capsys)


def test_a_lock_taken_while_another_was_held_is_respected(dataset: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    from xray_core.training.run import _training_lock

    plan = plan_training(
        find_recipe("cnn"), data=str(dataset), models=tmp_path / "models", lungs="none"
    )
    with _training_lock(plan):
        waiting = (tmp_path / "models" / ".cnn.lock").open("r+")  # opened, not yet locked
    fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(BundleError, match="already running"), _training_lock(plan):
        pytest.fail("Two trainings ran at once.")
    waiting.close()
    with _training_lock(plan):
        pass
