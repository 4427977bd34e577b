"""`finish --stored`: numbers, figures and card anew from a bundle's own files, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xray_core.__main__ import main
from xray_core.errors import BundleError
from xray_core.model.bundle import open_bundle
from xray_core.model.bundle_writing import seal
from xray_core.training.results import finish_stored
from xray_core.training.robustness import CHANGES

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def models(trained_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_models, tmp_path / "models"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_rebuilding_from_stored_predictions_twice_gives_equal_files(models: Path) -> None:
    folder = models / "cnn-softmax"
    trained = contents(folder)
    finish_stored(open_bundle(folder))
    once = contents(folder)
    finish_stored(open_bundle(folder))
    assert contents(folder) == once
    # A bundle that this version has just trained holds nothing that this would change.
    assert once == trained


def test_outdated_texts_and_numbers_are_replaced_and_all_else_is_kept(models: Path) -> None:
    folder = models / "cnn-softmax"
    trained = contents(folder)
    config = dict(open_bundle(folder).config)
    kept = {k: v for k, v in config["metrics"]["test"].items() if k != "below_exclusion_threshold"}
    config["metrics"] = {**config["metrics"], "test": {**kept, "prevalence": 0.99}}
    config["dataset"] = {k: v for k, v in config["dataset"].items() if k != "unreadable"}
    (folder / "MODEL_CARD.md").write_text("# An outdated card")
    (folder / "roc.png").write_bytes(b"an outdated figure")
    seal(folder, {k: v for k, v in config.items() if k not in ("format", "files")})
    finish_stored(open_bundle(folder))
    assert contents(folder) == trained


def test_it_needs_no_dataset_and_no_tensorflow(models: Path) -> None:
    code = (
        "import sys; from xray_core.__main__ import main\n"
        f"assert main(['finish', 'cnn-softmax', '--stored', '--models', {str(models)!r}]) == 0\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "", "HOME": str(models)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "this does not count as a use of the test set" in done.stdout


@pytest.mark.parametrize(
    "option", [["--data", "set"], ["--masks", "m"], ["--external", "e"], ["--skip-unreadable"]]
)
def test_options_that_name_a_dataset_are_refused(
    option: list[str], models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["finish", "cnn-softmax", "--stored", "--models", str(models), *option]
    assert main(arguments) == 1
    assert "--stored reads neither dataset nor networks" in capsys.readouterr().err


def test_a_bundle_that_lacks_what_the_card_needs_is_left_as_it_is(models: Path) -> None:
    folder = models / "cnn-softmax"
    skipped = ("format", "files", "robustness")
    seal(folder, {k: v for k, v in open_bundle(folder).config.items() if k not in skipped})
    before = contents(folder)
    with pytest.raises(BundleError, match="has no entry 'robustness'"):
        finish_stored(open_bundle(folder))
    assert contents(folder) == before
    assert list(models.glob(".*.partial")) == []


def test_the_card_states_in_one_section_how_often_the_test_images_were_scored(models: Path) -> None:
    card = open_bundle(models / "cnn-softmax").card()
    sections = dict(part.split("\n", 1) for part in card.split("\n## ")[1:])
    use = " ".join(sections.pop("Use of the test set").split())
    assert "scored on the test images once as they are" in use
    versions = len(CHANGES) + 2  # of the hidden parts: whole images, and without the border
    assert f"once in each of {versions} other versions" in use
    assert "with the weights before rounding" in use
    assert "docs/experiments.md lists each time" in use
    for text in sections.values():
        assert "once" not in text
        assert "scored" not in text
        assert "experiments.md" not in text


def test_the_card_counts_the_images_below_the_exclusion_threshold(models: Path) -> None:
    bundle = open_bundle(models / "cnn-softmax")
    table = bundle.predictions()
    below = table[table["probability"] < bundle.calibration.exclusion_threshold]
    counts = {
        fold: (len(rows), int((rows["label"] == "PNEUMONIA").sum()))
        for fold, rows in ((f, below[below["fold"] == f]) for f in ("validation", "test"))
    }
    images, pneumonia = counts["validation"]
    assert (
        f"In validation, {pneumonia} of the {images} images below it had pneumonia" in bundle.card()
    )
    images, pneumonia = counts["test"]
    assert f"on the test set, {pneumonia} of {images}." in bundle.card()


def test_notes_are_stored_and_become_a_section_of_the_card(models: Path, tmp_path: Path) -> None:
    folder = models / "cnn-softmax"
    assert "Notes on this model" not in open_bundle(folder).card()
    (tmp_path / "notes.md").write_text("Developed in three rounds.\n")
    rebuild = ["finish", "cnn-softmax", "--stored", "--models", str(models)]
    assert main([*rebuild, "--notes", str(tmp_path / "notes.md")]) == 0
    assert main(rebuild) == 0  # without the option, stored notes are kept
    assert "## Notes on this model\n\nDeveloped in three rounds.\n" in open_bundle(folder).card()


def test_a_missing_file_of_notes_is_named(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["finish", "cnn-softmax", "--stored", "--models", str(models), "--notes", "no.md"]
    assert main(arguments) == 1
    assert capsys.readouterr().err == "no.md cannot be read as a text file.\n"
