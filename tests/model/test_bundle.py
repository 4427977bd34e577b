"""Bundles: complete or absent, checked when opened, with a message for each fault."""

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
from xray_core.model.bundle import WEIGHTS, list_bundles, open_bundle, sha256
from xray_core.model.bundle_format_1 import convert_format_1
from xray_core.model.bundle_writing import (
    check_name,
    clear_leftovers,
    find_free_name,
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


def test_a_complete_bundle_opens(copy: Path) -> None:
    bundle = open_bundle(copy)
    assert bundle.name == "micro"
    assert set(bundle.predictions()["fold"]) == {"validation", "test"}
    assert {"epoch", "loss", "val_loss"} <= set(bundle.history().columns)
    assert bundle.card().startswith("#")


def test_the_subtype_none_is_not_a_missing_value(copy: Path) -> None:
    assert set(open_bundle(copy).predictions()["subtype"]) == {"none", "bacteria", "virus"}


def test_the_network_is_loaded_with_its_weights(copy: Path) -> None:
    network = open_bundle(copy).load_network()
    assert network.input_shape == (None, 224, 224, 1)
    assert not network.trainable_weights


def test_a_missing_bundle_names_the_command_to_train_it(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"python train\.py --name missing"):
        open_bundle(tmp_path / "missing")


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "predictions.csv"])
def test_an_incomplete_bundle_names_the_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"incomplete: {name} is missing"):
        open_bundle(copy)


@pytest.mark.parametrize("name", ["model.weights.h5", "predictions.csv", "gate.npz"])
def test_a_changed_file_is_named(copy: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(BundleError, match=f"{name} was changed"):
        open_bundle(copy)


def test_a_file_without_a_hash_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["files"]["gate.npz"]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match=r"gate\.npz was changed"):
        open_bundle(copy)


def test_another_format_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(BundleError, match="has format 99, and this version reads formats 1 to 2"):
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


def test_damaged_bundles_are_listed_with_the_reason(copy: Path) -> None:
    models = copy.parent
    (models / "broken").mkdir()
    (models / ".half.partial").mkdir()
    (models / "README.md").write_text("not a model")
    names = dict(list_bundles(models))
    assert list(names) == ["broken", "micro"]
    assert names["micro"] is None
    assert "config.json is missing" in str(names["broken"])


def test_no_models_folder_is_an_empty_list(tmp_path: Path) -> None:
    assert list_bundles(tmp_path / "nothing") == []


def test_a_classifier_is_the_kind_of_every_trained_model(copy: Path) -> None:
    assert open_bundle(copy).kind == "classifier"


def test_a_segmentation_is_not_opened_as_a_classifier(micro_lungs: Path) -> None:
    assert open_bundle(micro_lungs, kind="segmentation").kind == "segmentation"
    with pytest.raises(BundleError, match="of the kind segmentation"):
        open_bundle(micro_lungs)


def test_a_classifier_holds_a_copy_of_the_lung_network(
    copy: Path, lung_bundle: Path, lungs_classifier: Path
) -> None:
    assert open_bundle(copy).load_lungs() is None
    lungs, bundle = open_bundle(lung_bundle, kind="segmentation"), open_bundle(lungs_classifier)
    assert bundle.config["lungs"]["version"] == lungs.version
    assert bundle.lung_recipe == lungs.recipe
    assert bundle.lung_limits == lungs.lung_limits
    copied = bundle.load_lungs()
    assert copied is not None
    assert copied.limits == lungs.lung_limits
    assert sha256(lungs_classifier / "lungs.weights.h5") == sha256(lung_bundle / WEIGHTS)


def test_any_kind_of_bundle_is_opened_on_request(copy: Path, micro_lungs: Path) -> None:
    assert open_bundle(copy, kind=None).kind == "classifier"
    assert open_bundle(micro_lungs, kind=None).kind == "segmentation"


def test_a_segmentation_has_its_own_files(micro_lungs: Path) -> None:
    bundle = open_bundle(micro_lungs, kind="segmentation")
    assert sorted(path.name for path in micro_lungs.iterdir()) == [
        "MODEL_CARD.md",
        "config.json",
        "history.csv",
        "model.weights.h5",
        "segmentation.csv",
    ]
    assert bundle.segmentation()["dice"].tolist() == [0.96, 0.92, 0.9] * 2
    assert bundle.lung_limits.smaller == pytest.approx((0.9 * 0.12, 1.0))
    network = bundle.load_network()
    assert network.output_shape == (None, 224, 224, 1)
    assert not network.trainable_weights


@pytest.mark.parametrize("name", ["segmentation.csv", "history.csv", "model.weights.h5"])
def test_an_incomplete_segmentation_names_the_missing_file(
    micro_lungs: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(micro_lungs, tmp_path / "lungs"))
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"incomplete: {name} is missing"):
        open_bundle(folder, kind="segmentation")


def test_bundles_are_listed_by_kind(copy: Path, micro_lungs: Path) -> None:
    models = copy.parent
    shutil.copytree(micro_lungs, models / "lungs")
    (models / "broken").mkdir()
    assert [name for name, _ in list_bundles(models)] == ["broken", "micro"]
    assert [name for name, _ in list_bundles(models, kind="segmentation")] == ["broken", "lungs"]


def test_taken_and_invalid_names_are_refused(copy: Path) -> None:
    models = copy.parent
    with pytest.raises(BundleError, match=r"already.*--overwrite"):
        check_name(models, "micro", overwrite=False)
    check_name(models, "micro", overwrite=True)
    for name in ("../micro", ".hidden", "", "a/b"):
        with pytest.raises(BundleError, match="name has letters"):
            check_name(models, name, overwrite=True)
    assert find_free_name(models, "micro") == "micro-2"
    assert find_free_name(models, "other") == "other"


def test_a_bundle_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "models" / "new"

    def interrupted_write() -> None:
        with writing(target) as folder:
            (folder / "file").write_text("written")
            assert not target.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_write()
    assert list(target.parent.iterdir()) == []


def test_the_old_bundle_stays_until_the_new_one_is_complete(copy: Path) -> None:
    with writing(copy) as folder:
        (folder / "new").write_text("")
        assert open_bundle(copy).name == "micro"
    assert [path.name for path in copy.iterdir()] == ["new"]
    assert [path.name for path in copy.parent.iterdir()] == ["micro"]


def test_a_bundle_that_does_not_open_replaces_no_other(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    del config["files"], config["format"]

    def replace_with_wrong_labels() -> None:
        with writing(copy) as folder:
            shutil.copytree(copy, folder, dirs_exist_ok=True)
            seal(folder, config | {"labels": ["PNEUMONIA", "NORMAL"]})

    with pytest.raises(BundleError, match="labels are not"):
        replace_with_wrong_labels()
    assert open_bundle(copy).config["labels"] == ["NORMAL", "PNEUMONIA"]
    assert [path.name for path in copy.parent.iterdir()] == ["micro"]


INTERRUPTED = """
import os, shutil, signal, sys
from pathlib import Path
from xray_core.model.bundle_writing import writing

rename = Path.rename

def killed(self, target):
    if self.suffix == ".partial":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.rename = killed
with writing(Path(sys.argv[1])) as folder:
    shutil.copytree(sys.argv[2], folder, dirs_exist_ok=True)
"""


def interrupt_between_the_renames(target: Path, new: Path) -> None:
    """Replace `target` with a copy of `new` in a process that is killed after the first rename."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", INTERRUPTED, str(target), str(new)]
    completed = subprocess.run(command, env=environment, check=False)
    assert completed.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(list(target.parent.glob(".*"))) == 2


@pytest.fixture
def interrupted(copy: Path, tmp_path: Path) -> Path:
    """A models folder in which the replacement of `micro` was interrupted."""
    new = Path(shutil.copytree(copy, tmp_path / "new"))
    (new / "MODEL_CARD.md").write_text("# The new one\n")
    interrupt_between_the_renames(copy, reseal(new))
    return copy.parent


@pytest.mark.parametrize("how", ["open", "list", "write", "name"])
def test_an_interrupted_replacement_is_completed(interrupted: Path, how: str) -> None:
    target = interrupted / "micro"
    if how == "open":
        open_bundle(target)
    elif how == "list":
        assert list_bundles(interrupted) == [("micro", None)]
    elif how == "name":
        assert find_free_name(interrupted, "micro") == "micro-2"
        with pytest.raises(BundleError, match="already"):
            check_name(interrupted, "micro", overwrite=False)
    else:
        with pytest.raises(KeyboardInterrupt), writing(target):
            raise KeyboardInterrupt
    assert open_bundle(target).card() == "# The new one\n"
    assert [path.name for path in interrupted.iterdir()] == ["micro"]


def test_nothing_is_left_of_an_interrupted_replacement(interrupted: Path) -> None:
    clear_leftovers(interrupted / "micro")
    assert [path.name for path in interrupted.iterdir()] == ["micro"]


def test_the_old_bundle_is_restored_if_the_new_one_is_damaged(interrupted: Path) -> None:
    partial = next(interrupted.glob(".micro.*.partial"))
    (partial / "gate.npz").write_bytes(b"damaged")
    assert list_bundles(interrupted) == [("micro", None)]
    assert open_bundle(interrupted / "micro").card().startswith("# micro")


def test_a_bundle_that_cannot_be_restored_need_not_be_trained_again(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_permission(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", no_permission)
    with pytest.raises(BundleError, match="cannot be restored: this program needs") as caught:
        open_bundle(interrupted / "micro")
    assert "train" not in str(caught.value)
    assert list_bundles(interrupted) == [("micro", str(caught.value))]


def test_a_reader_may_restore_the_bundle_between_the_two_renames(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Path(shutil.copytree(copy, tmp_path / "new"))
    (new / "MODEL_CARD.md").write_text("# The new one\n")
    reseal(new)
    rename = Path.rename

    def rename_then_read(self: Path, target: Path) -> Path:
        renamed = rename(self, target)
        if target.suffix == ".old":
            assert open_bundle(copy).card() == "# The new one\n"
        return renamed

    monkeypatch.setattr(Path, "rename", rename_then_read)
    with writing(copy) as folder:
        shutil.copytree(new, folder, dirs_exist_ok=True)
    assert open_bundle(copy).card() == "# The new one\n"
    assert [path.name for path in copy.parent.iterdir()] == ["micro"]


def test_only_large_kernels_are_stored_in_half_precision(tmp_path: Path) -> None:
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
    sizes: dict[str, set[int]] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda _, item: (
                sizes.setdefault(str(item.dtype), set()).add(item.size)
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    assert sizes == {"float16": {45_000}, "float32": {900, 100, 50}}
    network.load_weights(path)
    assert set(network.get_layer("norm").moving_variance.numpy()) == {83_614.0}
    assert np.array_equal(network.get_layer("small").kernel.numpy(), before["small"])
    rounded = before["large"].astype(np.float16).astype(np.float32)
    assert np.array_equal(network.get_layer("large").kernel.numpy(), rounded)
