"""Untrusted segmentations, and lung networks of classifiers, are refused with a sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from foreign_bundle import (
    IMAGE,
    Config,
    compressed,
    edit,
    external_link,
    missing_layer,
    one_value,
    put,
    refusal,
    replaced_in_row,
    reseal,
    segmentation_refusal,
)

from xray_core.errors import BundleError
from xray_core.model import bundle_checks
from xray_core.model.bundle import open_bundle


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("recipe", "kind", value="classifier"), "recipe is of another kind"),
        (put("recipe", "filters", value=[8] * 6), "from another version"),
        (put("recipe", "filters", value=[60_000, 4]), "impossible or too large"),
        (put("recipe", "filters", value=[4, 60_000]), "impossible or too large"),
        (put("recipe", "filters", value=[0, 4]), "impossible or too large"),
        (lambda config: config.pop("lungs"), "no limits of the lung fields"),
        (put("lungs", value=[IMAGE]), "no limits of the lung fields"),
        (put("lungs", "limits", value=IMAGE), "no limits of the lung fields"),
        (put("lungs", "limits", value={}), "not pairs of numbers"),
        (put("lungs", "limits", IMAGE, value=[0, 1]), "not pairs of numbers"),
        (put("lungs", "limits", "area", value=[0.5, 0.1]), "not pairs of numbers"),
        (put("lungs", "limits", "area", value=[0.5, IMAGE]), "not pairs of numbers"),
        (put("lungs", "limits", "area", value=[0.5, float("nan")]), "not finite"),
        (put("kind", value="classifier"), "labels are not"),
        (put("metrics", value={}), "no metrics of the test set"),
        (put("files", "../outside/config.json", value="0" * 64), "leads outside"),
    ],
)
def test_an_invalid_config_of_a_segmentation_is_refused(
    lungs: Path, change: Callable[[Config], None], words: str
) -> None:
    assert words in segmentation_refusal(reseal(lungs, change))


def test_a_classifier_is_not_made_a_segmentation_by_its_kind(copy: Path) -> None:
    reseal(copy, put("kind", value="segmentation"))
    assert "no limits of the lung fields" in segmentation_refusal(copy)


def test_a_link_in_a_segmentation_is_refused(lungs: Path, outside: Path) -> None:
    (lungs / "segmentation.csv").unlink()
    (lungs / "segmentation.csv").symlink_to(outside / "predictions.csv")
    assert "segmentation.csv is a link" in segmentation_refusal(lungs)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("file", "../../../etc/passwd"),
        ("file", ""),
        ("fold", "train"),
        ("label", IMAGE),
        ("dice", "1.5"),
        ("dice", "nan"),
        ("dice", IMAGE),
        ("iou", "-0.1"),
        ("area", "inf"),
        ("reference_area", ""),
    ],
)
def test_an_invalid_table_of_a_segmentation_is_refused(
    lungs: Path, column: str, value: str
) -> None:
    edit(lungs, "segmentation.csv", replaced_in_row(column, value))
    bundle = open_bundle(lungs, kind="segmentation")
    with pytest.raises(BundleError, match=r"damaged segmentation\.csv"):
        bundle.segmentation()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external_link, "a link to somewhere else"),
        (compressed, "compressed or incomplete"),
        (one_value(np.nan), "not finite"),
        (missing_layer, "do not fit its recipe."),
    ],
)
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_invalid_weights_of_a_segmentation_are_refused(
    lungs: Path, outside: Path, change: Callable[[h5py.File, Path], None], words: str
) -> None:
    with h5py.File(lungs / "model.weights.h5", "r+") as file:
        change(file, outside)
    bundle = open_bundle(reseal(lungs), kind="segmentation")
    with pytest.raises(BundleError) as caught:
        bundle.load_network()
    assert words in str(caught.value)


def test_no_segmentation_is_built_that_is_larger_than_its_weights(
    lungs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.model import architectures

    monkeypatch.setattr(architectures, "build_network", lambda *_: pytest.fail("It was built."))
    reseal(lungs, put("recipe", "filters", value=[4, 1_000]))
    with pytest.raises(BundleError, match="fewer than the recipe's network has"):
        open_bundle(lungs, kind="segmentation").load_network()


@pytest.mark.parametrize("filters", [(4,), (4, 8), (16, 32, 48, 64, 96)])
def test_the_minimum_number_of_weights_of_a_segmentation_is_that_of_keras(
    filters: tuple[int, ...],
) -> None:
    from dataclasses import replace

    from xray_core.model.architectures import build_network
    from xray_core.model.recipes import RECIPES

    recipe = replace(RECIPES["lungs"], filters=filters)
    assert bundle_checks._minimum_weights(recipe) == build_network(recipe).count_params()


@pytest.fixture
def with_lungs(lungs_classifier: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lungs_classifier, tmp_path / "lungs" / "micro"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("lungs", value=[IMAGE]), "no recipe or no limits"),
        (put("lungs", value=None), "no recipe or no limits"),
        (put("lungs", "recipe", value=3), "no recipe or no limits"),
        (put("lungs", "limits", value=[]), "no recipe or no limits"),
        (put("lungs", "version", value=IMAGE), "version of its lung network"),
        (put("lungs", "recipe", IMAGE, value=1), "unknown or of the wrong type"),
        (put("lungs", "recipe", "filters", value=[10**9]), "impossible or too large"),
        (put("lungs", "recipe", "kind", value="classifier"), "is of another kind"),
        (put("lungs", "limits", "area", value=[0.1]), "not pairs of numbers"),
        (put("lungs", "limits", IMAGE, value=[0, 1]), "not pairs of numbers"),
        (put("lungs", "limits", "cut", value=[1, float("nan")]), "not finite"),
        (put("recipe", "kind", value="segmentation"), "is of another kind"),
        (lambda config: config.pop("lungs"), "do not go together"),
    ],
)
def test_an_invalid_entry_on_the_lung_network_is_refused(
    with_lungs: Path, change: Callable[[Config], None], words: str
) -> None:
    text = refusal(reseal(with_lungs, change))
    assert words in text
    assert IMAGE not in text


def test_the_lung_network_must_be_in_the_config_and_in_the_files(with_lungs: Path) -> None:
    (with_lungs / "lungs.weights.h5").unlink()
    reseal(with_lungs, lambda config: config["files"].pop("lungs.weights.h5"))
    assert "do not go together" in refusal(with_lungs)


def test_changed_weights_of_the_lung_network_are_refused(with_lungs: Path) -> None:
    with (with_lungs / "lungs.weights.h5").open("ab") as file:
        file.write(b"1")
    assert "lungs.weights.h5 was changed" in refusal(with_lungs)


@pytest.mark.parametrize(
    ("values", "words"),
    [(h5py.SoftLink("/y"), "a link to somewhere else"), ([np.nan], "not finite")],
)
def test_the_weights_of_the_lung_network_are_checked(
    with_lungs: Path, values: Any, words: str
) -> None:
    with h5py.File(with_lungs / "lungs.weights.h5", "r+") as file:
        file["x"] = values
    bundle = open_bundle(reseal(with_lungs))
    with pytest.raises(
        BundleError, match="weights of the lung network of the model micro"
    ) as caught:
        bundle.load_lungs()
    assert words in str(caught.value)


def test_no_lung_network_is_built_that_is_larger_than_its_weights(
    with_lungs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xray_core.model import architectures

    monkeypatch.setattr(architectures, "build_network", lambda *_: pytest.fail("It was built."))
    reseal(with_lungs, put("lungs", "recipe", "filters", value=[200]))
    with pytest.raises(BundleError, match="fewer than the recipe's network has"):
        open_bundle(with_lungs).load_lungs()
