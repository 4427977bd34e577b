"""The lungs, and results of images unlike the training images, on the Prediction page."""

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdf
import pytest
from foreign_bundle import reseal
from lung_network import draw_chest
from page_tools import page_text, viewer
from PIL import Image
from streamlit.testing.v1 import AppTest

from xray_core.model.gate import Gate

UNLIKE = "Indeterminate: unlike the images this model was trained on"
CHEST = io.BytesIO()
Image.fromarray(draw_chest()).save(CHEST, "PNG")


def with_gate(folder: Path, caution: float, rule: dict[str, float]) -> None:
    gate = Gate.load(folder / "gate.npz")
    replace(gate, caution=caution, refuse=1e9).save(folder / "gate.npz")
    reseal(folder, lambda config: config.update(unlike=rule))


@pytest.fixture
def model(lungs_classifier: Path, models_folder: Path) -> Path:
    """The bundle `micro` with a lung network; its check of the features accepts any image."""
    folder = Path(shutil.copytree(lungs_classifier, models_folder / "micro"))
    with_gate(folder, 1e8, {"beyond": 1.0, "low": 0.5, "high": 0.5})
    return folder


def drop(at: AppTest) -> AppTest:
    at.file_uploader[0].upload("a.png", CHEST.getvalue(), "application/octet-stream")
    at = at.run()
    assert not at.exception
    assert not at.error
    return at


def report_text(data: bytes) -> str:
    (page,) = pypdf.PdfReader(io.BytesIO(data)).pages
    return " ".join(page.extract_text().split())


def blue(image: np.ndarray) -> float:
    """The share of the pixels that are much bluer than red."""
    if image.ndim == 2:
        return 0.0
    return float((image[..., 2].astype(int) - image[..., 0] > 80).mean())


def test_the_viewer_gets_the_lungs_and_the_report_outlines_them(open_page, model, downloaded):
    at = drop(open_page("prediction"))
    lungs = viewer(at)["lungs"]
    assert (lungs["width"], lungs["height"], lungs["bits"]) == (224, 224, 8)
    assert "Blue line: outline of the lungs" in report_text(downloaded["Report (PDF)"])
    (page,) = pypdf.PdfReader(io.BytesIO(downloaded["Report (PDF)"])).pages
    printed = [np.asarray(one.image.convert("RGB")) for one in page.images]
    drawings = [image for image in printed if len(image) > 1]  # without the bar of colours
    assert drawings
    assert all(blue(image) > 0.005 for image in drawings)


def test_the_share_of_the_map_in_the_lungs_is_shown(open_page, model, downloaded, monkeypatch):
    from xray_core.prediction import predictor

    monkeypatch.setattr(predictor, "share_inside", lambda heatmap, mask: 0.914)
    at = drop(open_page("prediction"))
    assert "Grad-CAM in lungs <b>91%</b>" in page_text(at)
    assert "Grad-CAM map in lungs: 91%." in report_text(downloaded["Report (PDF)"])
    text = downloaded["Result (CSV)"].decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["map_in_lungs"], row["probability_note"]) == ("0.914", "")


def test_a_model_without_a_lung_network_has_no_outline(
    open_page, with_model, image_png, downloaded
):
    at = open_page("prediction")
    at.file_uploader[0].upload("a.png", image_png(1000, True), "application/octet-stream")
    at = at.run()
    assert viewer(at)["lungs"] is None
    assert "outline of the lungs" not in report_text(downloaded["Report (PDF)"])
    assert "in lungs" not in page_text(at)


def test_the_result_of_an_unlike_image_has_its_reason(open_page, model, downloaded):
    home = drop(open_page("prediction"))
    assert home.number_input
    assert "ranking only" not in page_text(home)
    with_gate(model, 1e-9, {"beyond": 1.0, "low": 0.0, "high": 1.0})

    at = drop(open_page("prediction"))
    text = page_text(at)
    assert f"</span> {UNLIKE}</h2>" in text
    assert '<div class="scale ranking"' in text
    assert "(ranking only)" in text
    assert "may be used only to order images" in text
    assert not at.number_input  # a probability for ranking has no post-test probability
    (row,) = csv.DictReader(io.StringIO(downloaded["Result (CSV)"].decode("utf-8-sig")))
    assert (row["shown_as"], row["verdict"]) == (UNLIKE, "UNCERTAIN")
    assert row["probability_note"] == "ranking only"
    assert row["probability"] != ""
    report = report_text(downloaded["Report (PDF)"])
    assert UNLIKE in report
    assert "(ranking only)" in report
    assert row["sentence"] in report
    assert "For images unlike the training images the limits are 100% and 0%." in report
