"""Bundles: whole or absent, checked when opened, and each fault said in a sentence."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from xray_core.errors import BundleError
from xray_core.model.bundle import (
    checked_name,
    free_name,
    list_bundles,
    open_bundle,
    save_weights,
    writing,
)


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


def test_large_kernels_are_halved_and_nothing_else_is(tmp_path: Path) -> None:
    import keras

    film = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(100, 3, name="small")(film)  # 900 values
    x = keras.layers.Conv2D(50, 3, name="large")(x)  # 45,000
    x = keras.layers.BatchNormalization(name="norm")(x)
    network = keras.Model(film, x)
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
