"""`python train.py --folds N` and `--seeds N`: the runs, their tables, and how they are resumed."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import train
from xray_core import __main__ as commands
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.training import cross_validation, run
from xray_core.training.cross_validation import summarize

QUICK = ["--recipe", "cnn-softmax", "--lungs", "none", "--set", "filters=(4, 4, 4)", "--epochs"]


@pytest.fixture(autouse=True)
def _no_dataset_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHEST_XRAY_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def options(dataset: Path) -> list[str]:
    return [*QUICK, "1", "--data", str(dataset)]


@pytest.fixture(scope="module")
def folder(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds with two seeds each."""
    runs = tmp_path_factory.mktemp("runs")
    several = ["--folds", "2", "--seeds", "2", "--average", "--runs", str(runs)]
    assert train.main([*options, *several]) == 0
    return runs / "cnn-softmax-2-folds-2-seeds"


@pytest.fixture(scope="module")
def bundles(folder: Path) -> dict[str, Bundle]:
    names = ("fold-1-seed-0", "fold-1-seed-1", "fold-2-seed-0", "fold-2-seed-1")
    return {name: open_bundle(folder / name) for name in names}


def held_out(bundle: Bundle) -> pd.DataFrame:
    table = bundle.predictions()
    return table[table["fold"] == "test"].sort_values("file", ignore_index=True)


def test_each_image_of_train_and_val_is_held_out_once_and_no_test_image_is_used(
    bundles: dict[str, Bundle], dataset: Path
) -> None:
    expected = sorted(str(path.relative_to(dataset)) for path in (dataset / "train").rglob("*.png"))
    for seed in (0, 1):
        of_seed = [bundles[f"fold-{number}-seed-{seed}"] for number in (1, 2)]
        assert sorted(file for one in of_seed for file in held_out(one)["file"]) == expected
        for bundle in of_seed:
            assert sorted(bundle.dataset()["path"]) == expected


def test_a_run_trains_on_no_patient_of_its_part(bundles: dict[str, Bundle]) -> None:
    for bundle in bundles.values():
        table = bundle.dataset()
        assert set(table["fold"]) == {"train", "validation", "test"}
        assert table.groupby("patient")["fold"].nunique().max() == 1


def test_a_run_says_which_part_was_held_out(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["fold-2-seed-1"]
    assert bundle.config["cross_validation"] == {"fold": 2, "folds": 2}
    assert bundle.config["seed"] == 1
    card = bundle.card()
    assert "Part 2 of 2 of the training and validation images, held out" in card
    assert "Official test set" not in card
    assert "the official test images were not used" in card


def test_a_run_can_be_finished_again(
    bundles: dict[str, Bundle], dataset: Path, tmp_path: Path
) -> None:
    before = bundles["fold-2-seed-1"]
    shutil.copytree(before.folder, tmp_path / before.name)
    arguments = ["--models", str(tmp_path), "--data", str(dataset), "--lungs", "none"]
    assert commands.main(["finish", before.name, *arguments]) == 0
    after = open_bundle(tmp_path / before.name)
    for key in ("cross_validation", "calibration", "metrics", "dataset"):
        assert after.config[key] == before.config[key]


def test_an_average_is_defined_where_probabilities_are_rounded_to_0_and_1(
    folder: Path, bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (bundles[f"fold-1-seed-{seed}"] for seed in (0, 1))
    plans = [Namespace(target=one.folder, held_out=(1, 2), recipe=None) for one in (first, second)]
    steps = iter([1000.0, -2000.0])
    stored = Bundle.predictions
    monkeypatch.setattr(
        Bundle,
        "predictions",
        lambda bundle: stored(bundle).assign(logit=next(steps)),
    )
    row = cross_validation._average_row(plans)
    assert row["sensitivity"] == 0.0
    assert row["specificity"] == 1.0


def test_seeds_differ_in_the_weights_and_not_in_the_images(bundles: dict[str, Bundle]) -> None:
    first, second = bundles["fold-1-seed-0"], bundles["fold-1-seed-1"]
    assert first.config["dataset"] == second.config["dataset"]
    assert first.version != second.version


def test_the_tables_hold_the_metrics_of_the_runs(folder: Path, bundles: dict[str, Bundle]) -> None:
    table = pd.read_csv(folder / "runs.csv").set_index("run")
    assert list(table.index) == list(bundles)
    for name, bundle in bundles.items():
        test = bundle.config["metrics"]["test"]
        assert table["roc_auc"][name] == pytest.approx(test["metrics"]["roc_auc"]["value"])
        assert table["images"][name] == test["images"] == len(held_out(bundle))
    summary = pd.read_csv(folder / "summary.csv").set_index("metric")
    assert summary["mean"]["brier"] == pytest.approx(sum(table["brier"]) / 4)
    assert summary["max"]["brier"] == pytest.approx(max(table["brier"]))


def test_an_average_has_the_mean_log_odds_of_its_seeds(
    folder: Path, bundles: dict[str, Bundle]
) -> None:
    averages = pd.read_csv(folder / "averages.csv").set_index("fold")
    first, second = (held_out(bundles[f"fold-1-seed-{seed}"]) for seed in (0, 1))
    odds = np.sqrt(
        first["probability"]
        / (1 - first["probability"])
        * second["probability"]
        / (1 - second["probability"])
    )
    is_right = (odds > 1) == (first["label"] == "PNEUMONIA")
    assert averages["accuracy"][1] == pytest.approx(is_right.mean())
    assert list(averages.index) == [1, 2]


def test_a_finished_run_is_kept_and_a_stopped_one_continues_after_its_last_epoch(
    folder: Path,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [*options, "--folds", "2", "--name", "stopped"]
    finish = run.finish

    def stop_in_the_second(*arguments, **named):
        if arguments[4].name == "fold-2":
            raise KeyboardInterrupt
        return finish(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(run, "finish", stop_in_the_second)
        assert train.main(options) == 130
    stopped = tmp_path / "runs" / "stopped"
    finished = (stopped / "fold-1" / "config.json").stat()
    assert not (stopped / "fold-2").exists()
    assert "There are runs in runs/stopped already" in refused(options, capsys)
    assert train.main([*options, "--resume"]) == 0
    output = capsys.readouterr().out
    assert "1 of 2 runs are finished." in output
    assert "Resuming after epoch 1 of 1." in output
    assert (stopped / "fold-1" / "config.json").stat() == finished
    pd.testing.assert_frame_equal(metrics(stopped), metrics(folder)[::2].reset_index(drop=True))
    another = refused([*options, "--resume", "--seed", "3"], capsys)
    assert "were started with another seed" in another
    (stopped / "plan.json").write_text("{")
    assert "is damaged" in refused([*options, "--resume"], capsys)


def metrics(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "runs.csv").drop(columns="run")


def test_the_summary_of_runs() -> None:
    table = pd.DataFrame(
        {
            "run": ["fold-1", "fold-2", "fold-3"],
            "fold": [1, 2, 3],
            "seed": [0, 0, 0],
            "images": [10, 10, 10],
            "patients": [9, 9, 9],
            "roc_auc": [0.8, 0.9, 1.0],
            "mcc": [float("nan"), 0.2, 0.4],
            "positive_likelihood_ratio": [2.0, float("inf"), 4.0],
        }
    )
    summary = summarize(table)
    assert list(summary.index) == ["roc_auc", "mcc", "positive_likelihood_ratio"]
    assert list(summary.columns) == ["runs", "mean", "sd", "min", "max"]
    assert list(summary.loc["roc_auc"]) == pytest.approx([3, 0.9, 0.1, 0.8, 1.0])
    assert list(summary.loc["mcc"]) == pytest.approx([2, 0.3, 0.02**0.5, 0.2, 0.4])
    assert list(summary.loc["positive_likelihood_ratio"]) == pytest.approx([2, 3, 2**0.5, 2, 4])


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert train.main(arguments) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--folds", "1"], "--folds must be at least 2"),
        (["--folds", "25"], "25 folds need at least 25 patients of each class"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--folds", "2", "--overwrite"], "--overwrite does not work with --folds"),
        (["--folds", "2", "--average"], "set --seeds to 2 or more"),
        (["--ray"], "--ray works only with --folds or --seeds"),
        (["--average"], "--average works only with --folds or --seeds"),
        (["--folds", "2", "--name", "../up"], "A model's name"),
        (["--folds", "2", "--seed", "4294967295", "--seeds", "2"], "must be at most 4294967295"),
        (["--folds", "2", "--seed", "-1"], "--seed must be 0 to"),
    ],
)
def test_options_that_do_not_fit(
    arguments: list[str], words: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused([*options, *arguments], capsys)


def test_a_model_is_no_folder_of_runs(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "config.json").touch()
    assert "is a model" in refused([*options, "--folds", "2", "--name", "one"], capsys)


@pytest.mark.slow
def test_a_recipe_for_the_lungs_has_its_own_metrics(
    dataset: Path, masks: Path, tmp_path: Path
) -> None:
    from segmentation_bundle import SMALL_LUNGS

    arguments = ["--recipe", "lungs", "--data", str(dataset), "--masks", str(masks)]
    assert train.main([*arguments, *SMALL_LUNGS, "--epochs", "1", "--folds", "2"]) == 0
    folder = tmp_path / "runs" / "lungs-2-folds"
    table = pd.read_csv(folder / "runs.csv")
    assert list(table["images"]) == [24, 24]
    config = open_bundle(folder / "fold-1", kind="segmentation").config
    assert table["dice"][0] == pytest.approx(config["metrics"]["test"]["all"]["dice"]["value"])
    card = (folder / "fold-1" / "MODEL_CARD.md").read_text()
    assert "Part 1 of 2 of the training and validation images" in card


def test_runs_on_ray_give_what_runs_in_this_process_give(
    folder: Path, options: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: requirements-ray.txt")
    assert train.main([*options, "--folds", "2", "--name", "ray", "--ray"]) == 0
    expected = metrics(folder)[::2].reset_index(drop=True)  # of the first seed
    pd.testing.assert_frame_equal(metrics(tmp_path / "runs" / "ray"), expected, atol=1e-4)


def test_an_address_that_does_not_answer_is_a_sentence(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: requirements-ray.txt")
    message = refused([*options, "--folds", "2", "--ray", "127.0.0.1:1"], capsys)
    assert "Ray at 127.0.0.1:1 does not answer" in message


def test_without_ray_the_command_names_the_packages(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "requirements-ray.txt" in refused([*options, "--folds", "2", "--ray"], capsys)
