"""Examples, manual changes, comparison of models and the report of all images on the page."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pypdf
import pytest
from page_tools import Downloads, listed, page_text, viewer
from PIL import Image
from streamlit.testing.v1 import AppTest

from ui.prediction.examples import find_indeterminate, mix
from xray_core.imaging.adjustment import Adjustment, Box
from xray_core.prediction.result import Prediction


def drop(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, data in files:
        at.file_uploader[0].upload(name, data, "application/octet-stream")
    return at.run()


def press(at: AppTest, label: str) -> AppTest:
    at = next(button for button in at.button if button.label == label).click().run()
    assert not at.exception
    assert not at.error
    return at


def text_of(pdf: bytes) -> list[str]:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return [" ".join(page.extract_text().split()) for page in pages]


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


@pytest.mark.parametrize(
    ("name", "shown_as", "verdict"),
    [
        ("pneumonia", "Pneumonia suspected", "PNEUMONIA"),
        ("normal", "No pneumonia detected", "NORMAL"),
        ("not analysed", "Not analysed", "REFUSED"),
    ],
)
def test_one_click_opens_an_example_of_each_kind(
    open_page: Callable[..., AppTest], with_model: Path, name: str, shown_as: str, verdict: str
) -> None:
    at = press(open_page("prediction"), f"Example: {name}")
    (case,) = at.session_state["prediction_visit"].cases
    assert case.prediction.verdict == verdict
    assert f"</span> {shown_as}</h2>" in page_text(at)
    assert case.title.startswith(f"Example: {name} (")


def by_brightness(pixels: np.ndarray) -> Prediction:
    """A model to which the mean grey level is the probability in percent."""
    probability = float(pixels.mean()) / 100
    unsure = 0.4 < probability < 0.6
    verdict = "UNCERTAIN" if unsure else "PNEUMONIA" if probability > 0.5 else "NORMAL"
    return Prediction(probability, verdict, ())


def test_a_mixture_is_found_where_the_model_is_indeterminate() -> None:
    dark, bright = np.full((8, 8), 10, np.uint8), np.full((8, 8), 90, np.uint8)
    found = find_indeterminate(dark, np.full((8, 8), 250, np.uint8), by_brightness)
    assert found is not None
    assert 40 < found.mean() < 60
    assert find_indeterminate(dark, np.full((8, 8), 30, np.uint8), by_brightness) is None
    refused = Prediction(None, "REFUSED", ("no",))
    assert find_indeterminate(dark, bright, lambda pixels: refused) is None


def test_a_mixture_is_the_weighted_mean() -> None:
    one, other = np.full((2, 2), 10, np.uint8), np.full((2, 2), 50, np.uint8)
    assert (mix(one, other, 0.25) == 20).all()


def test_the_start_page_states_what_the_model_can_do(
    open_page: Callable[..., AppTest], with_model: Path
) -> None:
    path = with_model / "micro" / "config.json"
    config = json.loads(path.read_text())
    estimate = {"value": 0.9, "low": 0.85, "high": 0.95}
    metrics = dict.fromkeys(("sensitivity", "specificity", "roc_auc"), estimate)
    config["metrics"]["test"] |= {"images": 16, "patients": 9, "metrics": metrics}
    config["external"] = [
        {"set": "nih", "roc_auc": {"value": 0.8, "low": 0.7, "high": 0.85, "images": 78}},
        {"set": "other", "roc_auc": None},
    ]
    path.write_text(json.dumps(config))
    text = page_text(open_page("prediction"))
    assert "On 16 test images of 9 patients" in text
    assert "sensitivity 90.0% (85.0% to 95.0%), specificity 90.0% (85.0% to 95.0%)" in text
    assert "ROC AUC 0.900 (0.850 to 0.950)" in text
    assert "On 78 labelled images of another source (NIH ChestX-ray14, adults)" in text
    assert "0.800 (0.700 to 0.850)" in text


def test_manual_changes_are_analysed_and_recorded_in_every_download(
    open_page: Callable[..., AppTest],
    with_model: Path,
    image_png: Callable[..., bytes],
    downloaded: Downloads,
) -> None:
    at = drop(open_page("prediction"), ("a.png", image_png(1000, True)))
    (case,) = at.session_state["prediction_visit"].cases
    before = case.prediction.probability
    at = press(at, "Mirror")
    assert case.adjustment == Adjustment(mirrored=True)
    assert case.prediction.probability != before
    sentence = "The image was mirrored left to right before the analysis."
    assert f"<li>{sentence}</li>" in page_text(at)
    assert sentence in viewer(at)["description"]
    (row,) = rows_of(downloaded["Result (CSV)"])
    assert row["adjustment"] == sentence
    assert sentence in text_of(downloaded["Report (PDF)"])[0]

    at = press(at, "Rotate right")  # the model refuses an image that lies on its side
    assert case.prediction.verdict == "REFUSED"
    assert "The image was mirrored left to right and rotated by 90 degrees" in page_text(at)

    press(at, "Undo the changes")
    assert case.adjustment == Adjustment()
    assert case.prediction.probability == before


def test_the_crop_of_a_changed_image_is_a_part_of_what_is_shown(
    open_page: Callable[..., AppTest], with_model: Path, image: Callable[..., np.ndarray]
) -> None:
    from ui.prediction.change import crop_tool

    pixels, buffer = image(1000, True), io.BytesIO()
    Image.fromarray(np.rot90(pixels).copy()).save(buffer, "PNG")
    at = drop(open_page("prediction"), ("a.png", buffer.getvalue()))
    at = press(at, "Rotate right")
    (case,) = at.session_state["prediction_visit"].cases
    crop_tool(case).on_box(Box(0.0, 0.1, 0.95, 1.0))
    at = at.run()
    assert not at.exception
    height, width = pixels.shape
    kept = pixels[: round(0.95 * height), round(0.1 * width) :]
    assert np.array_equal(np.rint(case.read().pixels), kept)
    assert "The image was cropped (" in page_text(at)


def test_the_report_of_all_images_has_a_page_for_each_and_the_map(
    open_page: Callable[..., AppTest],
    with_model: Path,
    image_png: Callable[..., bytes],
    downloaded: Downloads,
) -> None:
    files = [
        ("Doe.png", image_png(1000, True)),
        ("bad.png", b"none"),
        ("b.png", image_png(1, False)),
    ]
    at = drop(open_page("prediction"), *files)
    assert len(listed(at)) == 3
    at.number_input(key="prediction_pre_test_input").set_value(20).run()
    at = press(at, "Mirror")
    pages = text_of(downloaded["All reports (PDF)"])
    assert len(pages) == 4
    assert "Results of 3 images" in pages[0]
    assert "pre-test probability of 20%" in pages[0]
    assert "mirrored left to right" in pages[1]
    assert "Map (Grad-CAM)" in pages[1]
    assert "Unreadable" in pages[2]
    assert "Doe" not in " ".join(pages)
    assert rows_of(downloaded["All results (CSV)"])[0]["adjustment"].startswith("The image was mir")


def test_all_models_are_compared_on_one_image_and_stay_loaded(
    open_page: Callable[..., AppTest],
    with_model: Path,
    image_png: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = drop(open_page("prediction"), ("a.png", image_png(1000, True)))
    assert not any(button.label == "Compare models" for button in at.button)
    shutil.copytree(with_model / "micro", with_model / "other")
    at = press(at.run(), "Compare models")
    text = "\n".join(element.value for element in at.markdown)  # those of the dialog as well
    assert "Both models: Pneumonia suspected." in text
    assert "not independent evidence" in text
    assert text.count("▲ **Pneumonia suspected**") == 2

    from xray_core.prediction.predictor import Predictor

    def loaded_again(*_: object, **__: object) -> Predictor:
        raise AssertionError("A model is loaded again.")

    monkeypatch.setattr(Predictor, "load", loaded_again)
    press(at, "Compare models")
