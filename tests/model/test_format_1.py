"""Bundles of format 1: read in the names of format 2, with the same predictions."""

import copy as copies
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_bundle import reseal

from xray_core.dataset.averages import read_averages
from xray_core.errors import BundleError
from xray_core.model.bundle import open_bundle
from xray_core.model.bundle_format_1 import convert_format_1
from xray_core.prediction.predictor import Predictor

Config = dict[str, Any]

FORMAT_1: Config = {
    "format": 1,
    "name": "resnet50",
    "calibration": {
        "temperature": 1.0,
        "shift": 0.0,
        "prior": 0.5,
        "main": 0.5,
        "rule_out": 0.13,
        "uncertain": [0.34, 0.66],
    },
    "layers": [
        {"name": "film", "type": "InputLayer", "shape": [224, 224, 1]},
        {"name": "logit", "type": "Dense", "shape": [1]},
    ],
    "dataset": {"films": 5856, "counts": [{"fold": "test", "label": "NORMAL", "films": 234}]},
    "neighbours_report": {"films": 500, "contradicted": 15},
    "storage": {"kernels": "float16", "films": 1147},
    "metrics": {
        "test": {
            "films": 624,
            "rule_out": {"films": 624, "threshold": 0.13},
            "natural_frequencies": {"pneumonia_films": 390, "normal_films": 234},
        }
    },
    "files": {"film.png": "0" * 64, "main": "1" * 64},
}
FORMAT_2: Config = {
    "format": 2,
    "kind": "classifier",
    "name": "resnet50",
    "calibration": {
        "temperature": 1.0,
        "shift": 0.0,
        "prior": 0.5,
        "decision_threshold": 0.5,
        "exclusion_threshold": 0.13,
        "uncertain": [0.34, 0.66],
    },
    "layers": [
        {"name": "image", "type": "InputLayer", "shape": [224, 224, 1]},
        {"name": "logit", "type": "Dense", "shape": [1]},
    ],
    "dataset": {"images": 5856, "counts": [{"fold": "test", "label": "NORMAL", "images": 234}]},
    "neighbours_report": {"images": 500, "contradicted": 15},
    "storage": {"kernels": "float16", "images": 1147},
    "metrics": {
        "test": {
            "images": 624,
            "exclusion_threshold": {"images": 624, "threshold": 0.13},
            "natural_frequencies": {"pneumonia_images": 390, "normal_images": 234},
        }
    },
    "files": {"film.png": "0" * 64, "main": "1" * 64},  # names of files stay
}


def test_names_of_format_1_become_those_of_format_2() -> None:
    before = copies.deepcopy(FORMAT_1)
    assert convert_format_1(FORMAT_1) == FORMAT_2
    assert before == FORMAT_1


def to_format_1(config: Config) -> None:
    """Give the config of the micro bundle the names of format 1."""
    del config["kind"]
    config["format"] = 1
    calibration = config["calibration"]
    calibration["main"] = calibration.pop("decision_threshold")
    calibration["rule_out"] = calibration.pop("exclusion_threshold")
    assert config["layers"][0]["name"] == "image"
    config["layers"][0]["name"] = "film"
    config["dataset"]["films"] = config["dataset"].pop("images")
    frequencies = config["metrics"]["test"]["natural_frequencies"]
    for label in ("pneumonia", "normal"):
        frequencies[f"{label}_films"] = frequencies.pop(f"{label}_images")


@pytest.fixture
def copy(micro_bundle: Path, tmp_path: Path) -> Path:
    """The micro bundle, as a bundle of format 1 with average images."""
    target = Path(shutil.copytree(micro_bundle, tmp_path / "micro"))
    averages = {
        f"{name} {label}": np.full((224, 224), 1000, np.uint16)
        for name in ("mean", "spread")
        for label in ("NORMAL", "PNEUMONIA")
    }
    np.savez(target / "averages.npz", **averages, **{"films NORMAL": 60, "films PNEUMONIA": 70})
    reseal(target, lambda config: config["files"].update({"averages.npz": ""}))
    return reseal(target, to_format_1)


def test_a_bundle_of_format_1_gives_the_same_predictions(
    copy: Path, micro_bundle: Path, image_png: Callable[..., bytes]
) -> None:
    old, new = Predictor.load(copy), Predictor.load(micro_bundle)
    assert old.bundle.calibration == new.bundle.calibration
    assert old.bundle.config["layers"] == new.bundle.config["layers"]
    assert old.bundle.config["metrics"] == new.bundle.config["metrics"]
    assert old.bundle.kind == "classifier"
    for seed, pneumonia in ((1000, False), (1000, True)):
        a, b = (model.predict(image_png(seed, pneumonia)) for model in (old, new))
        assert (a.logit, a.probability, a.verdict, a.gate) == (
            b.logit,
            b.probability,
            b.verdict,
            b.gate,
        )
        assert a.probability is not None


def test_the_averages_of_a_bundle_of_format_1_are_read(copy: Path) -> None:
    averages = read_averages(open_bundle(copy).folder / "averages.npz")
    assert averages.images == {"NORMAL": 60, "PNEUMONIA": 70}


def test_opening_does_not_change_the_files_of_format_1(copy: Path) -> None:
    before = (copy / "config.json").read_bytes()
    open_bundle(copy)
    assert (copy / "config.json").read_bytes() == before


# --- untrusted bundles of format 1

HOSTILE: list[Any] = [None, True, 0, -1, 2.0, "", "film", "main", [], {}, [[[]]], {"main": {}},
                      [{"name": "film"}, 3, None], {"film": "film"}]  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every entry of a config, at most four levels deep."""
    if path:
        yield path
    if len(path) < 4 and isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(min(len(value), 2)):
            yield from paths(value[key], (*path, key))


def opens(folder: Path) -> bool:
    try:
        open_bundle(folder)
    except BundleError:
        return False
    return True


def test_a_hostile_config_of_format_1_opens_or_is_a_bundle_error(copy: Path) -> None:
    file = copy / "config.json"
    config = json.loads(file.read_text())
    outcomes = set()
    for path in paths(config):
        for value in HOSTILE:
            changed = copies.deepcopy(config)
            entry = changed
            for key in path[:-1]:
                entry = entry[key]
            entry[path[-1]] = value
            file.write_text(json.dumps(changed))
            outcomes.add(opens(copy))
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("calibration"), "no calibration"),
        (lambda c: c["calibration"].update(main=2.0), "out of range"),
        (lambda c: c["calibration"].update(rule_out=-0.1), "impossible order"),
        (lambda c: c["calibration"].update(film=0.5), "numbers that it should"),
        (lambda c: c.pop("files"), "no files"),
        (lambda c: c.update(files=[]), "no files"),
        (lambda c: c["files"].update({"../film": "0" * 64}), "leads outside"),
    ],
)
def test_what_format_2_refuses_is_refused_in_format_1(
    copy: Path, change: Callable[[Config], object], words: str
) -> None:
    with pytest.raises(BundleError, match=words):
        open_bundle(reseal(copy, change))
