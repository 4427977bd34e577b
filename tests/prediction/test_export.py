"""Exports: run without this project, with the logits of the model."""

import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from xray_core.cli import main
from xray_core.errors import XrayError
from xray_core.prediction import export as export_module
from xray_core.prediction.export import FORMATS, export_model


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, lungs_classifier, tmp_path_factory):
    for module in export_module._PACKAGES[request.param]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    out = tmp_path_factory.mktemp("export") / request.param
    return export_model(lungs_classifier, request.param, out)


def test_the_readme_runs_without_this_project(exported):
    readme = (exported.folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert "xray_core" not in code
    run = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=exported.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert len(lines) == exported.images
    assert all(re.fullmatch(r"[\d.]+%: [A-Z][a-z ]+", line) for line in lines)


def test_the_logits_are_those_of_the_model(exported, lungs_predictor):
    examples = np.load(exported.folder / "examples.npz")
    images = examples["images"].astype(np.float32)
    suffix = export_module._SUFFIXES[exported.folder.name]
    run = export_module.RUNNERS[exported.folder.name]
    logits = run(exported.folder / f"classifier{suffix}")(images)[:, 0]
    assert logits == pytest.approx(lungs_predictor.logits(images), abs=1e-3)
    assert np.ptp(logits) > 1
    lungs = run(exported.folder / f"lungs{suffix}")(images)
    assert lungs.shape == images.shape
    (expected,) = lungs_predictor.lungs._forward(images)
    assert np.abs(lungs - expected).max() < 1e-4


def test_the_description_holds_the_calibration(exported, lungs_predictor):
    description = json.loads((exported.folder / "model.json").read_text(encoding="utf-8"))
    assert description["input"]["shape"] == ["N", 224, 224, 1]
    assert description["calibration"] == lungs_predictor.bundle.config["calibration"]
    assert description["compared_with_tensorflow"]["images"] == exported.images


def test_other_logits_are_an_error(lungs_classifier, tmp_path, monkeypatch):
    monkeypatch.setitem(
        export_module.RUNNERS, "saved_model", lambda file: lambda images: images[:, 0, 0] * 0
    )
    with pytest.raises(XrayError, match="must not be used"):
        export_model(lungs_classifier, "saved_model", tmp_path / "out")


def test_a_folder_with_files_is_not_written_to(micro_bundle, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(XrayError, match="is not empty"):
        export_model(micro_bundle, "saved_model", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_missing_package_is_named(micro_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        export_module, "find_spec", lambda name: None if name == "tf2onnx" else importlib.util
    )
    arguments = ["export", micro_bundle.name, "--models", str(micro_bundle.parent)]
    assert main([*arguments, "--format", "onnx", "--out", str(tmp_path / "out")]) == 1
    assert "pip install tf2onnx" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
