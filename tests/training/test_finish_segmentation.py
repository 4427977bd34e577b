"""`train.py --recipe lungs`: what is refused, and the bundle that comes out."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segmentation_bundle import SMALL_LUNGS, WITHOUT_MASK

import train
from xray_core.__main__ import main
from xray_core.dataset.index import build_index
from xray_core.errors import BundleError, DatasetError
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.lungs import LungLimits, clean_mask, overlap
from xray_core.model.recipes import find_recipe
from xray_core.training import finish_segmentation as finishing
from xray_core.training.finish_segmentation import finish_segmentation_again
from xray_core.training.masks import read_mask
from xray_core.training.plan import Plan, plan_training
from xray_core.training.run import train as run_training


@pytest.fixture(autouse=True)
def _no_data_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHEST_XRAY_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bundle(trained_lungs: Path) -> Bundle:
    return open_bundle(trained_lungs / "lungs", kind="segmentation")


@pytest.fixture
def copy(trained_lungs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_lungs, tmp_path / "models")) / "lungs"


# --- refused before the first image is read


def test_masks_are_required_for_a_segmentation(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--recipe", "lungs", "--data", str(dataset)]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "set their folder with --masks or LUNG_MASKS_DIR" in message


def test_a_variable_for_masks_does_not_disturb_a_classifier(
    dataset: Path, masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNG_MASKS_DIR", str(masks))
    plan = plan_training(find_recipe("cnn"), data=str(dataset), lungs="none")
    assert (plan.masks, plan.without_mask) == (None, ())


def test_a_class_without_masks_is_refused(dataset: Path, masks: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(masks, tmp_path / "masks"))
    shutil.rmtree(folder / "test" / "NORMAL")
    with pytest.raises(DatasetError, match=r"test fold contains no readable NORMAL image .*mask"):
        plan_training(find_recipe("lungs"), data=str(dataset), masks=str(folder))


def test_the_folds_are_those_of_the_classifiers(dataset: Path, fewer_masks: Path) -> None:
    lungs = plan_training(find_recipe("lungs"), data=str(dataset), masks=str(fewer_masks))
    cnn = plan_training(find_recipe("cnn"), data=str(dataset), lungs="none")
    fold = dict(zip(cnn.index["path"], cnn.index["fold"], strict=True))
    assert lungs.without_mask == tuple(WITHOUT_MASK)
    assert dict(zip(lungs.index["path"], lungs.index["fold"], strict=True)) == {
        path: name for path, name in fold.items() if path not in WITHOUT_MASK
    }


# --- the training


def test_a_training_leaves_a_complete_bundle_and_nothing_else(
    trained_lungs: Path, bundle: Bundle
) -> None:
    assert sorted(path.name for path in trained_lungs.iterdir()) == [".lungs.lock", "lungs"]
    history = bundle.history()
    assert list(history["epoch"]) == [1, 2, 3, 4]
    best = bundle.config["training"]["best_epoch"]
    assert history["val_loss"].idxmin() + 1 == best
    assert history["val_loss"].min() < history["val_loss"][0]
    assert {"val_dice", "val_dice_p5"} < set(history.columns)
    assert "accuracy" not in history.columns
    # The stored table is of the best epoch; rounding large kernels changes little.
    dice = bundle.config["metrics"]["validation"]["all"]["dice"]["value"]
    assert dice == pytest.approx(history["val_dice"][best - 1], abs=1e-3)
    assert bundle.config["storage"]["largest_dice_change"] < 0.01
    assert bundle.config["training"]["command"].startswith("--recipe lungs --masks DIR --epochs 4")
    assert bundle.lung_limits.area[1] > 0


def test_images_without_a_mask_are_left_out_and_recorded(bundle: Bundle) -> None:
    assert bundle.config["dataset"]["without_mask"] == WITHOUT_MASK
    assert bundle.config["dataset"]["images"] == 58
    assert "no mask: 2 images" in bundle.card()
    assert "| test | 5 | 4 | 2 |" in bundle.card()
    assert len(bundle.segmentation().query("fold == 'test'")) == 11


def test_the_card_names_the_sources_and_the_weaknesses(bundle: Bundle) -> None:
    card = " ".join(bundle.card().split())
    assert 'the "COVID-19 X-ray dataset" of V7 Labs (github.com/v7labs' in card
    assert card.count("CC BY 4.0") == 2
    assert "below the diaphragm varies by annotator" in card
    assert "children aged 1 to 5 years from one hospital" in card
    assert "the test images were predicted once" in card
    value = bundle.config["metrics"]["test"]["bacteria"]["dice"]["value"]
    assert f"| bacterial pneumonia | 4 | 4 | {value:.3f} (" in card


def test_the_bundle_holds_no_mask(bundle: Bundle) -> None:
    assert sorted(bundle.config["files"]) == [
        "MODEL_CARD.md",
        "history.csv",
        "model.weights.h5",
        "segmentation.csv",
    ]
    weights = sum(row["parameters"] for row in bundle.config["layers"])
    # No optimizer: fewer than two numbers a weight.
    assert (bundle.folder / "model.weights.h5").stat().st_size < 8 * weights + 100_000


def test_the_stored_table_is_that_of_the_stored_network(
    bundle: Bundle, dataset: Path, masks: Path
) -> None:
    from xray_core.training.data import read_image

    network = bundle.load_network()
    for row in bundle.segmentation().iloc[::5].itertuples():
        pixels = read_image(dataset / row.file)[1].astype(np.float32)
        mask = clean_mask(network.predict(pixels[None], verbose=0)[0, ..., 0])
        reference = read_mask(masks / row.file)[..., 0]
        assert overlap(mask, reference) == pytest.approx((row.dice, row.iou), abs=1e-3)
        assert mask.mean() == pytest.approx(row.area, abs=1e-3)
        assert reference.mean() == pytest.approx(row.reference_area, abs=1e-6)


def test_the_test_images_are_predicted_once_and_last(
    bundle: Bundle, copy: Path, dataset: Path, fewer_masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    predict, fit = finishing.predict_masks, LungLimits.fit

    def predicted(network: Any, images: Any) -> Any:
        steps.append(images.table["fold"].iloc[0])
        return predict(network, images)

    def fitted(fields: Any) -> LungLimits:
        steps.append("limits")
        return fit(fields)

    monkeypatch.setattr(finishing, "predict_masks", predicted)
    monkeypatch.setattr(finishing.LungLimits, "fit", fitted)
    stored = open_bundle(copy, kind="segmentation")
    monkeypatch.setitem(stored.config, "storage", None)  # as in a new training
    finish_segmentation_again(stored, dataset, fewer_masks)
    assert steps == ["validation", "train", "limits", "validation", "test"]


def small_plan(dataset: Path, masks: Path, models: Path, **options: Any) -> Plan:
    settings = SMALL_LUNGS[1::2]
    return plan_training(
        find_recipe("lungs"), settings=settings, epochs=2, limit=4,
        data=str(dataset), masks=str(masks), models=models, name="tiny", **options,
    )  # fmt: skip


class Stopped(Exception):
    pass


def stop_after_one_epoch(line: str) -> None:
    if line.startswith("Epoch 1/"):
        assert "Dice" in line
        assert "5th percentile" in line
        raise Stopped


def test_a_stopped_training_is_resumed_with_the_same_result(
    dataset: Path, masks: Path, tmp_path: Path
) -> None:
    whole = run_training(small_plan(dataset, masks, tmp_path / "a"), log=lambda _: None)
    with pytest.raises(Stopped):
        run_training(small_plan(dataset, masks, tmp_path / "b"), log=stop_after_one_epoch)
    plan = small_plan(dataset, masks, tmp_path / "b", resume=True)
    resumed = run_training(plan, log=lambda _: None)
    assert resumed.segmentation().equals(whole.segmentation())
    columns = ["epoch", "loss", "val_loss", "val_dice"]
    assert resumed.history()[columns].equals(whole.history()[columns])


def test_a_training_is_not_resumed_with_other_masks(
    dataset: Path, masks: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(masks, tmp_path / "masks"))
    plan = small_plan(dataset, folder, tmp_path / "models")
    with pytest.raises(Stopped):
        run_training(plan, log=stop_after_one_epoch)
    paths = plan.index["path"]
    first = paths[plan.index["fold"] == "train"].iloc[0]
    other = paths[plan.index["fold"] == "test"].iloc[1]
    assert (folder / first).read_bytes() != (folder / other).read_bytes()
    shutil.copyfile(folder / other, folder / first)
    with pytest.raises(BundleError, match="another set of masks"):
        run_training(small_plan(dataset, folder, tmp_path / "models", resume=True))


def test_a_mask_that_cannot_be_read_is_named_or_left_out(
    dataset: Path, masks: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(masks, tmp_path / "masks"))
    plan = small_plan(dataset, folder, tmp_path / "models")
    path = plan.index.loc[plan.index["fold"] == "train", "path"].iloc[0]
    (folder / path).write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=rf"or the masks cannot be read \({path}\)"):
        run_training(plan)
    plan = small_plan(dataset, folder, tmp_path / "models", skip_unreadable=True)
    bundle = run_training(plan, log=lambda _: None)
    assert bundle.config["dataset"]["unreadable"] == [path]
    assert path in bundle.card()


# --- rebuilding


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("stored", [False, True])
def test_rebuilding_gives_the_same_bundle(
    copy: Path, dataset: Path, fewer_masks: Path, stored: bool
) -> None:
    before = contents(copy)
    (copy / "MODEL_CARD.md").touch()
    options = ["--stored"] if stored else ["--data", str(dataset), "--masks", str(fewer_masks)]
    assert main(["finish", "lungs", *options]) == 0
    after = contents(copy)
    unchanged = ("MODEL_CARD.md", "config.json", "history.csv", "segmentation.csv")
    # Keras writes equal weights into files that differ.
    for name in unchanged if stored else unchanged[2:]:
        assert after[name] == before[name], name
    metrics = open_bundle(copy, kind="segmentation").config["metrics"]
    assert metrics["test"]["all"]["dice"]["low"] is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stored", "--masks", "m"], "--stored reads neither dataset nor networks"),
        (["--skip-unreadable"], "leave out --skip-unreadable"),
        ([], "set their folder with --masks"),
    ],
)
def test_options_of_finish_that_do_not_fit(
    copy: Path,
    dataset: Path,
    options: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CHEST_XRAY_DIR", str(dataset))
    assert main(["finish", "lungs", *options]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("change", ["another mask", "one mask more"])
def test_rebuilding_with_other_masks_is_refused(
    copy: Path, dataset: Path, masks: Path, fewer_masks: Path, tmp_path: Path, change: str
) -> None:
    folder = Path(shutil.copytree(fewer_masks, tmp_path / "masks"))
    if change == "one mask more":
        shutil.copyfile(masks / WITHOUT_MASK[0], folder / WITHOUT_MASK[0])
    else:
        names = sorted((folder / "test" / "NORMAL").iterdir())
        shutil.copyfile(names[0], names[1])
    with pytest.raises(BundleError, match="are not those that lungs was trained on"):
        finish_segmentation_again(open_bundle(copy, kind="segmentation"), dataset, folder)


def test_a_network_whose_output_is_not_finite_makes_no_bundle(
    bundle: Bundle, dataset: Path
) -> None:
    from xray_core.training.data import load_images

    network = bundle.load_network()
    weights = network.get_weights()
    network.set_weights([*weights[:-1], np.full_like(weights[-1], np.nan)])
    images = load_images(build_index(dataset), dataset).folds["validation"]
    with pytest.raises(BundleError, match="not finite"):
        next(finishing.predict_masks(network, images))


def test_evaluate_refuses_a_segmentation(
    trained_lungs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--model", "lungs", "--models", str(trained_lungs)]) == 1
    assert "of the kind segmentation" in capsys.readouterr().err


def test_the_printed_results_are_those_of_the_bundle(
    dataset: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle,
) -> None:  # fmt: skip
    from xray_core.training import run

    monkeypatch.setattr(run, "train", lambda plan: bundle)
    assert train.main(["--recipe", "lungs", "--data", str(dataset), "--masks", str(masks)]) == 0
    printed = capsys.readouterr().out
    value = bundle.config["metrics"]["test"]["all"]["dice"]["value"]
    assert f"all (11 images): mean Dice {value:.3f} (" in printed
    assert "streamlit" not in printed
