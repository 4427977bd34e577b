"""Bundles: whole or absent, checked when opened, and each fault said in a sentence."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from foreign_bundle import reseal

from xray_core.errors import BundleError
from xray_core.model.bundle import (
    checked_name,
    clear_leftovers,
    convert_format_1,
    free_name,
    list_bundles,
    open_bundle,
    save_weights,
    seal,
    writing,
)


def test_natural_frequencies_of_format_1_have_their_new_names() -> None:
    old = {"called": 97, "missed": 1, "cleared": 89, "flagged": 7}
    config = convert_format_1({"metrics": {"test": {"natural_frequencies": old}}})
    assert config["metrics"]["test"]["natural_frequencies"] == {
        "detected": 97,
        "missed": 1,
        "correctly_negative": 89,
        "wrongly_flagged": 7,
    }


@pytest.fixture
def copy(micro_bundle: Path, tmp_path: Path) -> Path:
    target = tmp_path / "models" / "micro"
    shutil.copytree(micro_bundle, target)
    return target


def test_a_whole_bundle_opens(copy: Path) -> None:
    bundle = open_bundle(copy)
    assert bundle.name == "micro"
    assert set(bundle.predictions()["fold"]) == {"validation", "test"}
    assert {"epoch", "loss", "val_loss"} <= set(bundle.history().columns)
    assert bundle.card().startswith("#")


def test_the_subtype_none_is_a_word_and_not_a_gap(copy: Path) -> None:
    assert set(open_bundle(copy).predictions()["subtype"]) == {"none", "bacteria", "virus"}


def test_the_network_is_loaded_with_its_weights(copy: Path) -> None:
    network = open_bundle(copy).load_network()
    assert network.input_shape == (None, 224, 224, 1)
    assert not network.trainable_weights


def test_no_bundle_says_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"python train\.py --name missing"):
        open_bundle(tmp_path / "missing")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "predictions.csv"])
def test_a_half_written_bundle_names_what_is_missing(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"incomplete: {name} is missing"):
        open_bundle(copy)


@pytest.mark.parametrize("name", ["model.weights.h5", "predictions.csv", "gate.npz"])
def test_a_changed_file_is_named(copy: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(BundleError, match=f"{name} was changed"):
        open_bundle(copy)


def test_a_file_swapped_in_without_a_hash_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["files"]["gate.npz"]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match=r"gate\.npz was changed"):
        open_bundle(copy)


def test_another_format_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(BundleError, match="has format 99, and this version reads format 1"):
        open_bundle(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "files": 3}'])
def test_a_damaged_config_is_refused(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text)
    with pytest.raises(BundleError, match=r"damaged config\.json"):
        open_bundle(copy)


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["recipe"]["filters"] = [4, 4]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="do not fit its recipe"):
        open_bundle(copy).load_network()


def test_the_list_names_the_broken_with_their_reason(copy: Path) -> None:
    models = copy.parent
    (models / "broken").mkdir()
    (models / ".half.partial").mkdir()
    (models / "README.md").write_text("no model")
    names = dict(list_bundles(models))
    assert list(names) == ["broken", "micro"]
    assert names["micro"] is None
    assert "config.json is missing" in str(names["broken"])


def test_no_models_folder_is_an_empty_list(tmp_path: Path) -> None:
    assert list_bundles(tmp_path / "nothing") == []


def test_names_that_are_taken_or_no_names(copy: Path) -> None:
    models = copy.parent
    with pytest.raises(BundleError, match=r"already.*--overwrite"):
        checked_name(models, "micro", overwrite=False)
    assert checked_name(models, "micro", overwrite=True) == "micro"
    for name in ("../micro", ".hidden", "", "a/b"):
        with pytest.raises(BundleError, match="name has letters"):
            checked_name(models, name, overwrite=True)
    assert free_name(models, "micro") == "micro-2"
    assert free_name(models, "other") == "other"


def test_a_bundle_appears_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "models" / "new"

    def stopped_half_way() -> None:
        with writing(target) as folder:
            (folder / "half").write_text("written")
            assert not target.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_half_way()
    assert list(target.parent.iterdir()) == []


def test_the_old_bundle_stays_until_the_new_one_is_whole(copy: Path) -> None:
    with writing(copy) as folder:
        (folder / "new").write_text("")
        assert open_bundle(copy).name == "micro"
    assert [path.name for path in copy.iterdir()] == ["new"]
    assert [path.name for path in copy.parent.iterdir()] == ["micro"]


def test_what_would_not_open_takes_no_other_s_place(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["files"], config["format"]

    def replace_by_a_wrong_one() -> None:
        with writing(copy) as folder:
            shutil.copytree(copy, folder, dirs_exist_ok=True)
            seal(folder, config | {"labels": ["WELL", "SICK"]})

    with pytest.raises(BundleError, match="labels are not"):
        replace_by_a_wrong_one()
    assert open_bundle(copy).config["labels"] == ["NORMAL", "PNEUMONIA"]
    assert [path.name for path in copy.parent.iterdir()] == ["micro"]


STOPPED = """
import os, shutil, signal, sys
from pathlib import Path
from xray_core.model.bundle import writing

rename = Path.rename

def killed(self, target):
    if self.suffix == ".partial":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.rename = killed
with writing(Path(sys.argv[1])) as folder:
    shutil.copytree(sys.argv[2], folder, dirs_exist_ok=True)
"""


def stopped_between_the_renames(target: Path, new: Path) -> None:
    """Replace `target` by a copy of `new` in a process that is killed after the first rename."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", STOPPED, str(target), str(new)]
    done = subprocess.run(command, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(list(target.parent.glob(".*"))) == 2


@pytest.fixture
def stopped(copy: Path, tmp_path: Path) -> Path:
    """A models folder in which the replacement of `micro` was cut short."""
    new = Path(shutil.copytree(copy, tmp_path / "new"))
    (new / "MODEL_CARD.md").write_text("# The new one\n")
    stopped_between_the_renames(copy, reseal(new))
    return copy.parent


@pytest.mark.parametrize("how", ["open", "list", "write", "name"])
def test_a_bundle_whose_replacement_was_cut_short_comes_back(stopped: Path, how: str) -> None:
    target = stopped / "micro"
    if how == "open":
        open_bundle(target)
    elif how == "list":
        assert list_bundles(stopped) == [("micro", None)]
    elif how == "name":
        assert free_name(stopped, "micro") == "micro-2"
        with pytest.raises(BundleError, match="already"):
            checked_name(stopped, "micro", overwrite=False)
    else:
        with pytest.raises(KeyboardInterrupt), writing(target):
            raise KeyboardInterrupt
    assert open_bundle(target).card() == "# The new one\n"
    assert [path.name for path in stopped.iterdir()] == ["micro"]


def test_nothing_is_left_of_a_replacement_that_was_put_right(stopped: Path) -> None:
    clear_leftovers(stopped / "micro")
    assert [path.name for path in stopped.iterdir()] == ["micro"]


def test_the_old_bundle_comes_back_where_the_new_one_is_damaged(stopped: Path) -> None:
    partial = next(stopped.glob(".micro.*.partial"))
    (partial / "gate.npz").write_bytes(b"damaged on the way")
    assert list_bundles(stopped) == [("micro", None)]
    assert open_bundle(stopped / "micro").card().startswith("# micro")


def test_a_bundle_that_cannot_be_put_back_is_not_to_be_trained_again(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_right(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", no_right)
    with pytest.raises(BundleError, match="cannot be put back: this program needs") as caught:
        open_bundle(stopped / "micro")
    assert "train" not in str(caught.value)
    assert list_bundles(stopped) == [("micro", str(caught.value))]


def test_whoever_writes_bears_with_a_reader_who_closes_the_gap(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Path(shutil.copytree(copy, tmp_path / "new"))
    (new / "MODEL_CARD.md").write_text("# The new one\n")
    reseal(new)
    rename = Path.rename

    def and_then_a_reader(self: Path, target: Path) -> Path:
        done = rename(self, target)
        if target.suffix == ".old":
            assert open_bundle(copy).card() == "# The new one\n"
        return done

    monkeypatch.setattr(Path, "rename", and_then_a_reader)
    with writing(copy) as folder:
        shutil.copytree(new, folder, dirs_exist_ok=True)
    assert open_bundle(copy).card() == "# The new one\n"
    assert [path.name for path in copy.parent.iterdir()] == ["micro"]


def test_large_kernels_are_halved_and_nothing_else_is(tmp_path: Path) -> None:
    import keras

    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(100, 3, name="small")(image)  # 900 values
    x = keras.layers.Conv2D(50, 3, name="large")(x)  # 45,000
    x = keras.layers.BatchNormalization(name="norm")(x)
    network = keras.Model(image, x)
    network.get_layer("norm").moving_variance.assign([83_614.0] * 50)
    before = {name: network.get_layer(name).kernel.numpy() for name in ("small", "large")}
    path = tmp_path / "model.weights.h5"
    save_weights(network, path)
    kinds: dict[str, set[int]] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda _, item: (
                kinds.setdefault(str(item.dtype), set()).add(item.size)
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    assert kinds == {"float16": {45_000}, "float32": {900, 100, 50}}
    network.load_weights(path)
    assert set(network.get_layer("norm").moving_variance.numpy()) == {83_614.0}
    assert np.array_equal(network.get_layer("small").kernel.numpy(), before["small"])
    halved = before["large"].astype(np.float16).astype(np.float32)
    assert np.array_equal(network.get_layer("large").kernel.numpy(), halved)
