"""Read first, in Streamlit's test runner: nothing of a result before the reader's call."""

import csv
import io
import json
import re
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from ui.common import public
from ui.common.public import memory_left
from xray_core.imaging.adjustment import Box
from xray_core.labels import SHOWN_AS
from xray_core.prediction.predictor import Predictor

OF_A_RESULT = re.compile(
    "|".join([*SHOWN_AS.values(), "probability", r"\d ?%", "verdict", "caution", "Grad-CAM"]),
    re.IGNORECASE,
)
REFERENCE = re.compile(
    r"label: (pneu|nor)|bacteri|vira?l|virus|test/|person\d|IM-\d|PNEUMONIA|NORMAL"
)


def everything(at: AppTest) -> str:
    """All that is sent to the browser, except style sheets and the words of the calls."""
    elements = [element for block in (at.main, at.sidebar) for element in block]
    texts = [_sent(element) for element in elements]
    return re.sub(r'options: "[^"]*"', "", "\n".join(texts))


def _sent(element: object) -> str:
    if element.type == "bidi_component":  # else with its script, which is the same on every page
        return element.proto.json
    return "" if "<style>" in getattr(element.proto, "body", "") else str(element.proto)


def viewer(at: AppTest) -> dict:
    (element,) = at.get("bidi_component")
    return json.loads(element.proto.json)


def press(at: AppTest, label: str) -> AppTest:
    return next(button for button in at.button if button.label == label).click().run()


def labels(at: AppTest) -> list[str]:
    return [button.label for button in at.button]


def call(at: AppTest, choice: str, confidence: int, again: str = "") -> AppTest:
    number = at.session_state["reading_session"].opened.number
    at.radio(key=f"call{again}-{number}").set_value(choice)
    return at.radio(key=f"confidence{again}-{number}").set_value(confidence).run()


def table(at: AppTest) -> list[dict[str, str]]:
    from xray_core.evaluation.reading import readings_csv

    readings = list(at.session_state["reading_session"].readings.values())
    return list(csv.DictReader(io.StringIO(readings_csv(readings).decode("utf-8-sig"))))


@pytest.fixture
def predictions(monkeypatch) -> list[object]:
    """The images that the model was asked about."""
    original, calls = Predictor.predict, []

    def predict(self, source, **options):
        calls.append(source)
        return original(self, source, **options)

    monkeypatch.setattr(Predictor, "predict", predict)
    return calls


@pytest.fixture
def start(open_page, with_model):
    """A function that opens the page in the mode; files (name, bytes) are dropped."""

    def open_it(*files: tuple[str, bytes]) -> AppTest:
        at = open_page("prediction")
        at = at.sidebar.toggle(key="read_first_switch").set_value(True).run()
        for name, data in files:
            at.file_uploader[0].upload(name, data, "application/octet-stream")
        at = at.run() if files else at
        return next(b for b in at.button if b.label.startswith("Continue")).click().run()

    return open_it


def split_of(bundle: Path) -> pd.DataFrame:
    table = pd.read_csv(bundle / "predictions.csv")
    return table[table["fold"] == "test"].set_index("file")


@pytest.fixture
def dataset(micro_bundle, image_png, tmp_path) -> Path:
    """A folder with the images of the model's test split."""
    for number, row in enumerate(split_of(micro_bundle).itertuples()):
        path = tmp_path / "data" / row.Index
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_png(number, row.label == "PNEUMONIA"))
    (tmp_path / "data" / "train").mkdir()
    return tmp_path / "data"


def test_the_mode_is_off_by_default(open_page, with_model):
    at = open_page("prediction")
    assert at.sidebar.toggle(key="read_first_switch").value is False
    assert "Read first" not in "".join(element.proto.body for element in at.get("html"))


def test_nothing_of_a_result_exists_before_the_call(start, image_png, predictions):
    at = start(("person1_bacteria_1.png", image_png(1000, True)))

    assert not at.error
    assert not OF_A_RESULT.search(everything(at)), OF_A_RESULT.search(everything(at))
    assert not REFERENCE.search(everything(at)), REFERENCE.search(everything(at))
    assert (viewer(at)["map"], viewer(at)["lungs"]) == (None, None)
    assert "not shown yet" in viewer(at)["description"]
    assert at.get("download_button") == []
    assert predictions == []
    record = next(b for b in at.button if b.label == "Record the assessment and show the result")
    assert record.disabled

    at = call(at, "NORMAL", 4)
    assert predictions == []
    at = press(at, "Record the assessment and show the result")

    assert len(predictions) == 1
    assert "Pneumonia suspected" in everything(at)
    assert viewer(at)["map"] is not None
    assert "Result: Pneumonia suspected" in viewer(at)["description"]


def test_the_page_before_the_call_is_the_same_for_every_result(open_page, with_model, image_png):
    texts = []
    for data in (image_png(1000, True), image_png(1001, False)):
        at = open_page("prediction", read_first=True)
        at.file_uploader[0].upload("a.png", data, "image/png")
        at = press(at.run(), "Continue: 1 image waits")
        texts.append(re.sub(r"\$\$ID-[0-9a-f]+|[0-9a-f]{32,}", "", everything(at)))
        at = press(call(at, "UNSURE", 3), "Record the assessment and show the result")
        texts.append(at.session_state["reading_session"].readings[1].result.verdict)
    assert (texts[1], texts[3]) == ("PNEUMONIA", "NORMAL")
    assert texts[0] == texts[2]


def test_the_first_call_stays_and_the_second_may_differ(start, image_png, predictions):
    at = start(("a.png", image_png(1000, True)))
    at = press(call(at, "UNSURE", 2), "Record the assessment and show the result")
    assert at.radio(key="call-again-1").value == "UNSURE"
    assert "call-1" not in [radio.key for radio in at.radio]
    assert "Summary: no complete reading yet" in [expander.label for expander in at.expander]

    at = call(at, "PNEUMONIA", 5, again="-again")
    at = at.selectbox(key="reference-1").set_value("PNEUMONIA").run()
    at = press(at, "Record")

    assert not at.error
    (row,) = table(at)
    assert (row["call_before"], row["confidence_before"]) == ("UNSURE", "2")
    assert (row["call_after"], row["confidence_after"]) == ("PNEUMONIA", "5")
    assert (row["verdict"], row["shown_as"]) == ("PNEUMONIA", "Pneumonia suspected")
    assert row["model"].startswith("micro ")
    assert row["reference"] == "PNEUMONIA"
    assert len(predictions) == 1
    assert at.session_state["reading_session"].visit.cases == []
    assert "Summary of 1 complete reading" in [expander.label for expander in at.expander]


def test_a_test_image_keeps_its_label_to_itself_until_the_reading_is_complete(
    open_page, with_model, dataset, monkeypatch
):
    at = open_page("prediction", read_first=True)
    assert "Read random test images" not in labels(at)
    monkeypatch.setenv("CHEST_XRAY_DIR", str(dataset))
    at = press(at.run(), "Read random test images")
    opened = at.session_state["reading_session"].opened
    assert not REFERENCE.search(everything(at)), REFERENCE.search(everything(at))
    at = press(call(at, "PNEUMONIA", 3), "Record the assessment and show the result")
    assert not re.search(r"label: (pneu|nor)|test/|person\d|IM-\d", everything(at))
    first = opened.case.file
    at = press(at, "Record and open the next image")

    (row,) = table(at)
    assert row["reference"] == split_of(with_model / "micro").loc[first, "label"]
    assert at.session_state["reading_session"].opened.case.file != first
    reading = at.session_state["reading_session"].readings[1]
    assert reading.patient == split_of(with_model / "micro").loc[first, "patient"]
    assert (viewer(at)["map"], viewer(at)["lungs"]) == (None, None)
    assert "not shown yet" in viewer(at)["description"]


def test_the_images_of_the_page_and_those_of_the_mode_are_apart(
    open_page, with_model, image_png, predictions
):
    at = open_page("prediction")
    at.file_uploader[0].upload("a.png", image_png(1000, True), "image/png")
    at = at.run()
    assert "Pneumonia suspected" in everything(at)

    at = at.sidebar.toggle(key="read_first_switch").set_value(True).run()
    assert "Pneumonia suspected" not in everything(at)
    at = at.sidebar.toggle(key="read_first_switch").set_value(False).run()
    assert "Pneumonia suspected" in everything(at)
    assert len(predictions) == 1


def test_an_unreadable_image_is_passed_over(start, image_png):
    at = start(("bad.png", b"nothing"), ("a.png", image_png(1000, True)))
    assert "Image 1 cannot be read" in at.error[0].value
    at = press(at, "Next image")
    assert not at.error
    assert at.session_state["reading_session"].opened.number == 2
    assert at.session_state["reading_session"].readings == {}


def test_stopping_before_the_call_keeps_the_image_and_after_it_the_incomplete_reading(
    start, image_png
):
    at = start(("a.png", image_png(1000, True)))
    at = press(at, "Stop reading")
    assert "Continue: 1 image waits" in labels(at)
    at = press(at, "Continue: 1 image waits")
    at = press(call(at, "NORMAL", 1), "Record the assessment and show the result")
    at.session_state["reading_session"].stop()
    at = at.run()
    (row,) = table(at)
    assert (row["call_before"], row["call_after"]) == ("NORMAL", "")
    at = press(at, "Delete all readings")
    assert at.session_state["reading_session"].readings == {}
    assert at.get("download_button") == []


def test_another_model_does_not_change_a_shown_result(start, image_png, with_model, micro_bundle):
    import shutil

    shutil.copytree(micro_bundle, with_model / "other")
    at = start(("a.png", image_png(1000, True)))
    at = press(call(at, "PNEUMONIA", 3), "Record the assessment and show the result")
    model = at.session_state["reading_session"].readings[1].result.model
    before = viewer(at)
    at = at.sidebar.selectbox[0].set_value("other").run()
    assert not at.error
    assert viewer(at)["map"] == before["map"]
    at = press(at, "Record")
    assert table(at)[0]["model"] == model


def test_a_marked_area_is_part_of_the_reading(start, image_png):
    at = start(("a.png", image_png(1000, True)))
    assert viewer(at)["box"]["label"] == "Mark"
    at.session_state["reading_session"].mark(Box(0.25, 0.5, 0.75, 0.875))
    at = at.run()
    assert viewer(at)["mark"] == [0.25, 0.5, 0.75, 0.875]
    at = press(call(at, "PNEUMONIA", 3), "Record the assessment and show the result")
    assert viewer(at)["box"] is None
    assert viewer(at)["mark"] == [0.25, 0.5, 0.75, 0.875]
    (row,) = table(at)
    assert [row[f"box_{edge}"] for edge in ("top", "left", "bottom", "right")] == [
        "0.25",
        "0.5",
        "0.75",
        "0.875",
    ]
    at.session_state["reading_session"].mark(None)
    assert table(at) == [row]


def test_the_summary_is_drawn_when_it_is_opened(start, image_png):
    at = start(("a.png", image_png(1000, True)))
    at = press(call(at, "NORMAL", 2), "Record the assessment and show the result")
    at = call(at, "PNEUMONIA", 4, again="-again")
    at = at.selectbox(key="reference-1").set_value("PNEUMONIA").run()
    at = press(at, "Record")
    assert not any('class="calls"' in one.proto.body for one in at.get("html"))

    at.session_state["read-first-summary"] = True
    at = at.run()

    assert not at.exception
    (table,) = (one.proto.body for one in at.get("html") if 'class="calls"' in one.proto.body)
    assert (
        '<th scope="row">Sensitivity</th><td>0 of 1, 0.0% (0.0% to 79.3%)</td>'
        "<td>1 of 1, 100.0% (20.7% to 100.0%)</td>" in table
    )
    text = "\n".join(element.value for element in at.markdown)
    assert "Changed for the better, from wrong to correct: 1 of 1" in text
    assert "Automation bias is the tendency" in text


def test_images_of_both_modes_count_towards_the_hourly_limit(
    open_page, with_model, image_png, monkeypatch
):
    monkeypatch.setenv("XRAY_PUBLIC", "1")
    monkeypatch.setenv("XRAY_PUBLIC_IMAGES_PER_HOUR", "2")
    at = open_page("prediction")
    at.file_uploader[0].upload("a.png", image_png(1000, True), "image/png")
    at = at.run()
    at = at.sidebar.toggle(key="read_first_switch").set_value(True).run()
    for name in ("b.png", "c.png"):
        at.file_uploader[0].upload(name, image_png(1001, False), "image/png")
    at = at.run()

    assert [case.name for case in at.session_state["reading_session"].waiting] == ["b.png"]
    assert "Left out: 1." in at.warning[0].value
    assert "at most 2 images an hour" in at.warning[0].value


def test_the_images_count_towards_the_memory_of_all_visitors(
    open_page, with_model, image_png, monkeypatch
):
    monkeypatch.setenv("XRAY_PUBLIC", "1")
    public._sessions.clear()  # those of other tests
    at = open_page("prediction", read_first=True)
    before = memory_left()
    at.file_uploader[0].upload("a.png", image_png(1000, True), "image/png")
    at = at.run()

    assert len(at.session_state["reading_session"].waiting) == 1
    assert memory_left() == before - len(image_png(1000, True))


def test_an_analysis_takes_its_turn(start, image_png, monkeypatch):
    monkeypatch.setenv("XRAY_PUBLIC", "1")
    monkeypatch.setattr(public, "uploaded_bytes", lambda: 0)  # the test runner has no uploads
    turns, running = [], []

    @contextmanager
    def turn(at_once, show_place):
        turns.append(at_once)
        running.append(1)
        yield
        running.pop()

    original = Predictor.predict

    def predict(self, source, **options):
        assert running, "The image is analysed outside a turn."
        return original(self, source, **options)

    at = start(("a.png", image_png(1000, True)))
    monkeypatch.setattr(public._queue(), "turn", turn)
    monkeypatch.setattr(Predictor, "predict", predict)
    at = press(call(at, "NORMAL", 4), "Record the assessment and show the result")

    assert turns == [2]
    assert "Pneumonia suspected" in everything(at)
