"""Untrusted bundles: config, files, tables and texts are refused with a sentence, or data only."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from foreign_bundle import IMAGE, Config, edit, put, refusal, replaced_in_row, reseal

from xray_core.errors import BundleError
from xray_core.model.bundle import list_bundles, open_bundle
from xray_core.model.bundle_writing import seal

# --- config.json


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("labels", value=["NORMAL", "../../x"]), "labels are not"),
        (put("labels", value=["NORMAL", IMAGE]), "labels are not"),
        (put("labels", value=["PNEUMONIA", "NORMAL"]), "labels are not"),
        (put("input_size", value=[100_000, 100_000]), "input size is not 224 x 224"),
        (put("input_size", value=[-1, 224]), "input size is not"),
        (put("version", value=IMAGE), "version is not"),
        (put("version", value=["a"]), "version is not"),
        (put("name", value=IMAGE), "name is not"),
        (put("name", value=".."), "name is not"),
        (put("kind", value=IMAGE), "kind is not classifier or segmentation"),
        (put("kind", value=None), "kind is not"),
        (put("kind", value=["classifier"]), "kind is not"),
        (lambda config: config.pop("kind"), "kind is not"),
        (put("format", value=IMAGE), "has no format"),
        (put("format", value=True), "has no format"),
        (put("metrics", value=[]), "no metrics"),
        (put("metrics", value={}), "no metrics of the test set"),
        (put("cautions", value={"map_in_lungs": IMAGE}), "limits of cautions"),
        (put("cautions", value=3), "limits of cautions"),
        (put("unlike", value=IMAGE), "does not have its numbers"),
        (put("unlike", value={"beyond": 0.5, "low": 0.1, "high": 2}), "out of range"),
        (put("unlike", value={"beyond": IMAGE, "low": 0, "high": 1}), "does not have its num"),
        (put("dataset", value=[IMAGE]), "dataset is not an object"),
        (put("files", value={f"{i}.png": "0" * 64 for i in range(1000)}), "too many files"),
        (put("files", "../outside/config.json", value="0" * 64), "leads outside"),
        (put("files", "examples/../../x", value="0" * 64), "leads outside"),
        (put("files", "/etc/passwd", value="0" * 64), "leads outside"),
        (put("files", "C:\\x", value="0" * 64), "leads outside"),
        (put("files", "..", value="0" * 64), "leads outside"),
        (put("files", "", value="0" * 64), "leads outside"),
        (put("files", "a" * 5_000, value="0" * 64), "too long"),
        (put("files", "roc.png", value=3), "without its SHA-256"),
        (put("note", value="a" * 100_000), "too long"),
        (put("note", value="a\x1b[2J"), "control characters"),
        (put("note", value="a\ud800"), "control characters"),
        (put("note", value=10**300), "not finite or too large"),
        (put("recipe", value=[]), "no recipe"),
        (put("recipe", IMAGE, value=1), "unknown or of the wrong type"),
        (put("recipe", "output", value=IMAGE), "another version"),
        (put("recipe", "backbone", value=["resnet50"]), "of the wrong type"),
        (put("recipe", "filters", value=[10**9]), "impossible or too large"),
        (put("recipe", "filters", value=[4_000, 4]), "impossible or too large"),
        (put("recipe", "filters", value=[1] * 1_000), "impossible or too large"),
        (put("recipe", "filters", value=[0]), "impossible or too large"),
        (put("recipe", "filters", value=["8"]), "of the wrong type"),
        (put("recipe", "filters", value=[[8]]), "of the wrong type"),
        (put("recipe", "dense", value=10**12), "impossible or too large"),
        (put("recipe", "dense", value=-1), "impossible or too large"),
        (put("recipe", "dense", value=True), "of the wrong type"),
        (put("recipe", "dropout", value=1.5), "impossible or too large"),
        (put("recipe", "pool", value=0), "impossible or too large"),
        (put("recipe", "name", value="a/b"), "no name"),
        (put("recipe", "augmentation", value={"zoom": [1]}), "of the wrong type"),
        (put("recipe", "augmentation", value={IMAGE: 1}), "unknown or of the wrong type"),
        (put("calibration", value={}), "numbers that it should"),
        (put("calibration", IMAGE, value=1), "numbers that it should"),
        (put("calibration", "temperature", value="1"), "numbers that it should"),
        (put("calibration", "temperature", value=float("nan")), "not finite"),
        (put("calibration", "shift", value=float("-inf")), "not finite"),
        (put("calibration", "temperature", value=0), "out of range"),
        (put("notes", value="a\tb"), "notes"),
        (put("notes", value="a" * 20_001), "notes"),
        (put("notes", value=["a"]), "notes"),
        (put("calibration", "temperature", value=-1.0), "out of range"),
        (put("calibration", "prior", value=1), "out of range"),
        (put("calibration", "decision_threshold", value=2.0), "out of range"),
        (put("calibration", "uncertain", value=[0.6, 0.4]), "impossible order"),
        (put("calibration", "uncertain", value=[0.4]), "numbers that it should"),
        (put("calibration", "exclusion_threshold", value=-0.1), "impossible order"),
    ],
)
def test_an_invalid_config_is_refused(
    copy: Path, change: Callable[[Config], None], words: str
) -> None:
    assert words in refusal(reseal(copy, change))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"format": ' + "[" * 100_000, "cannot be read as JSON"),
        ('{"format": 1, "a": ' + "[" * 500 + "]" * 500 + "}", "nested too deeply"),
        ('{"format": 1, "a": 1e999}', "not finite"),
        ('{"format": 1, "a": NaN}', "not finite"),
        ("[]", "not a JSON object"),
        ("\ud800", "damaged config.json."),
    ],
)
def test_text_that_is_not_a_config_is_refused(copy: Path, text: str, words: str) -> None:
    (copy / "config.json").write_bytes(text.encode(errors="surrogatepass"))
    assert words in refusal(copy)


def test_nested_json_in_one_bundle_does_not_hide_the_others(copy: Path) -> None:
    shutil.copytree(copy, copy.with_name("other"))
    (copy / "config.json").write_text('{"format": ' + "[" * 100_000)
    listed = dict(list_bundles(copy.parent))
    assert list(listed) == ["micro", "other"]
    assert "damaged config.json" in str(listed["micro"])
    assert listed["other"] is None


def test_the_message_about_an_unreadable_file_has_no_path(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.model import bundle

    def no_permission(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(bundle, "sha256", no_permission)
    assert refusal(copy) == "The model micro cannot be read: Permission denied."
    assert list_bundles(copy.parent) == [("micro", refusal(copy))]


# --- links and files


@pytest.mark.parametrize(
    "name",
    ["config.json", "model.weights.h5", "gate.npz", "MODEL_CARD.md", "examples/normal.png"],
)
def test_a_link_to_a_file_outside_is_refused(copy: Path, outside: Path, name: str) -> None:
    (copy / name).unlink()
    (copy / name).symlink_to(outside / name)
    assert f"{name} is a link" in refusal(copy)


def test_a_link_to_a_folder_is_refused(copy: Path, outside: Path) -> None:
    shutil.rmtree(copy / "examples")
    (copy / "examples").symlink_to(outside / "examples")
    assert "examples/normal.png is a link" in refusal(copy)


def test_a_named_pipe_is_refused_without_reading_it(copy: Path) -> None:
    (copy / "config.json").unlink()
    os.mkfifo(copy / "config.json")
    assert "not a regular file" in refusal(copy)


@pytest.mark.parametrize("name", ["averages.npz", "examples/normal.png"])
def test_an_optional_file_must_be_listed(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"unlisted")
    reseal(copy, lambda config: config["files"].pop(name, None))
    assert f"{name} was changed" in refusal(copy)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("config.json", 5_000_000),
        ("MODEL_CARD.md", 2_000_000),
        ("history.csv", 5_000_000),
        ("predictions.csv", 10**12),
        ("dataset.csv", 10**12),
        ("gate.npz", 10**12),
        ("neighbours.npz", 10**12),
        ("model.weights.h5", 10**12),
        ("examples/normal.png", 10**12),
    ],
)
def test_a_large_file_is_refused_before_it_is_read(copy: Path, name: str, size: int) -> None:
    # The terabyte files are sparse. Hashing one would take hours.
    os.truncate(copy / name, size)
    assert f"{name} is larger than" in refusal(copy)


# --- tables and texts


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("predictions.csv", lambda text: text + "\n" * 300_000),
        ("predictions.csv", lambda text: text + "," * 100_000),
        ("predictions.csv", lambda text: ",".join(f"c{i}" for i in range(500)) + "\n" + text),
        ("predictions.csv", lambda text: text.replace("file,", "path,", 1)),
        ("dataset.csv", lambda text: text.replace("path,", "path,path,", 1)),
        ("dataset.csv", lambda text: text + "\n" * 300_000),
        ("history.csv", lambda text: text + "," * 100_000),
        ("history.csv", lambda text: ""),
    ],
)
def test_a_table_with_invalid_dimensions_is_refused(
    copy: Path, name: str, change: Callable[[str], str]
) -> None:
    assert f"damaged {name}" in refusal(edit(copy, name, change))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("file", "/etc/passwd"),
        ("file", "../../../etc/passwd"),
        ("file", "..\\..\\x"),
        ("file", "C:/x"),
        ("file", "~root/x"),
        ("file", ""),
        ("label", IMAGE),
        ("fold", "train"),
        ("verdict", IMAGE),
        ("gate", "open"),
        ("probability", "nan"),
        ("probability", ""),
        ("probability", "inf"),
        ("probability", "1.5"),
        ("probability", IMAGE),
        ("logit", "-inf"),
        ("logit", IMAGE),
    ],
)
def test_invalid_predictions_are_refused(copy: Path, column: str, value: str) -> None:
    bundle = open_bundle(edit(copy, "predictions.csv", replaced_in_row(column, value)))
    with pytest.raises(BundleError, match=r"damaged predictions\.csv"):
        bundle.predictions()


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", IMAGE])
def test_a_history_must_have_finite_numbers(copy: Path, value: str) -> None:
    bundle = open_bundle(edit(copy, "history.csv", replaced_in_row("loss", value)))
    with pytest.raises(BundleError, match=r"damaged history\.csv"):
        bundle.history()


def test_additional_cells_do_not_shift_columns(copy: Path) -> None:
    def one_more(text: str) -> str:
        return "\n".join(
            f"{line},more" if number == 1 else line for number, line in enumerate(text.split("\n"))
        )

    first = open_bundle(edit(copy, "predictions.csv", one_more)).predictions().iloc[0]
    assert first["file"].endswith(".png")


def test_the_card_is_returned_as_text(copy: Path) -> None:
    card = f"# micro\n\n{IMAGE}\n"
    (copy / "MODEL_CARD.md").write_text(card)
    assert open_bundle(reseal(copy)).card() == card  # the page escapes it
    (copy / "MODEL_CARD.md").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match=r"damaged MODEL_CARD\.md"):
        open_bundle(reseal(copy)).card()


def test_a_sealed_bundle_passes_its_own_checks(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["files"], config["format"]
    (copy / "config.json").unlink()
    seal(copy, config)
    assert open_bundle(copy).name == "micro"
