"""Untrusted weights of a classifier are refused with a sentence."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from foreign_bundle import KERNEL, compressed, external_link, missing_layer, one_value, put, reseal

from xray_core.errors import BundleError
from xray_core.model import bundle_checks
from xray_core.model.bundle import open_bundle


def external_link_to_an_array(file: h5py.File, outside: Path) -> None:
    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink(str(outside / "model.weights.h5"), f"/{KERNEL}")


def soft_link(file: h5py.File, outside: Path) -> None:
    file.move("layers", "elsewhere")
    file["layers"] = h5py.SoftLink("/elsewhere")


def external_storage(file: h5py.File, outside: Path) -> None:
    old = file[KERNEL][()]
    (outside / "raw").write_bytes(old.tobytes())
    del file[KERNEL]
    file.create_dataset(
        KERNEL, old.shape, old.dtype, external=[(str(outside / "raw"), 0, old.nbytes)]
    )


def virtual_dataset(file: h5py.File, outside: Path) -> None:
    old = file[KERNEL][()]
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[...] = h5py.VirtualSource(outside / "model.weights.h5", KERNEL, old.shape)
    del file[KERNEL]
    file.create_virtual_dataset(KERNEL, layout)


def circular_group(file: h5py.File, outside: Path) -> None:
    file["group/again"] = file.require_group("group")


def unwritten(file: h5py.File, outside: Path) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (2**40,), np.float32)


def not_numbers(file: h5py.File, outside: Path) -> None:
    del file[KERNEL]
    file[KERNEL] = ["text"]


def repeated_array(file: h5py.File, outside: Path) -> None:
    file["again"] = file[KERNEL]
    for number in range(30_000 // file[KERNEL].nbytes * 40):
        file[f"again-{number}"] = file[KERNEL]


def without_layers(file: h5py.File, outside: Path) -> None:
    file.move("layers", "unknown")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external_link, "a link to somewhere else"),
        (external_link_to_an_array, "a link to somewhere else"),
        (soft_link, "a link to somewhere else"),
        (external_storage, "numbers in another file"),
        (virtual_dataset, "numbers in another file"),
        (circular_group, "too many parts"),
        (compressed, "compressed or incomplete"),
        (unwritten, "compressed or incomplete"),
        (not_numbers, "something other than numbers"),
        (one_value(np.nan), "not finite"),
        (one_value(-np.inf), "not finite"),
        (repeated_array, "more numbers than their file holds"),
        (missing_layer, "do not fit its recipe."),
        (without_layers, "do not fit its recipe."),
    ],
)
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_invalid_weights_are_refused(
    copy: Path, outside: Path, change: Callable[[h5py.File, Path], None], words: str
) -> None:
    with h5py.File(copy / "model.weights.h5", "r+") as file:
        change(file, outside)
    bundle = open_bundle(reseal(copy))
    with pytest.raises(BundleError) as caught:
        bundle.load_network()
    assert words in str(caught.value)


def test_weights_that_are_not_hdf5_are_refused(copy: Path) -> None:
    (copy / "model.weights.h5").write_bytes(b"not weights")
    with pytest.raises(BundleError, match="do not fit its recipe"):
        open_bundle(reseal(copy)).load_network()


def test_no_network_is_built_that_is_larger_than_its_weights(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.model import architectures

    monkeypatch.setattr(architectures, "build_network", lambda *_: pytest.fail("It was built."))
    # 16 averaged features, then a hidden layer of 17 x 65,000 weights, in a file of a few hundred.
    reseal(copy, put("recipe", "dense", value=65_000))
    with pytest.raises(BundleError, match="fewer than the recipe's network has"):
        open_bundle(copy).load_network()


@pytest.mark.parametrize("recipe", ["cnn", "cnn-softmax", "resnet50", "vgg16-flatten"])
def test_the_minimum_number_of_weights_is_that_of_keras(recipe: str) -> None:
    from dataclasses import replace

    from xray_core.model.architectures import build_network
    from xray_core.model.recipes import RECIPES

    known = RECIPES[recipe]
    known = replace(known, dense=min(known.dense, 3), batch_norm=True)
    network = build_network(known)
    backbone = 0
    for layer in network.layers:
        if known.backbone is None or layer.name == "features":
            break
        backbone += layer.count_params()
    assert bundle_checks._minimum_weights(known) == network.count_params() - backbone
