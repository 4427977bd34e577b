"""Every uploaded file becomes a row, wherever a run of the page is interrupted.

Streamlit interrupts a run by raising at its next call: for another button, page or model, and for a
lost connection. `st.stop` raises the same kind of exception.
"""

import io
import shutil
import zipfile
from types import SimpleNamespace

import pytest
import streamlit as st
from page_tools import listed, listed_files, listed_numbers
from streamlit.testing.v1 import AppTest

COUNT = 20
NAMES = [f"{number}.png" for number in range(COUNT)]


@pytest.fixture
def stop_at(monkeypatch):
    """A function that stops the page at the n-th calls of a function, before or after it."""

    def arrange(owner: object, name: str, calls: set[int], *, after: bool) -> None:
        original, calls_so_far = getattr(owner, name), []

        def stopping(*args, **kwargs):
            calls_so_far.append(None)
            number = len(calls_so_far)
            if number in calls and not after:
                st.stop()
            result = original(*args, **kwargs)
            if number in calls:
                st.stop()
            return result

        monkeypatch.setattr(owner, name, stopping)

    return arrange


def drop(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, data in files:
        at.file_uploader[0].upload(name, data, "application/octet-stream")
    return at.run()


def named(at: AppTest) -> AppTest:
    """The page with file names in its table."""
    return next(box for box in at.checkbox if box.label == "Show file names").check().run()


def twenty(image_png) -> list[tuple[str, bytes]]:
    return [(name, image_png(number, number % 2 == 1)) for number, name in enumerate(NAMES)]


def zipped(files: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


def place(name: str) -> tuple[object, str]:
    import ui.prediction.analysis as run
    from ui.prediction.cases import Case, Visit
    from xray_core.prediction.predictor import Predictor

    return {
        "read": (Case, "read"),
        "view": (run, "make_view"),
        "predict": (Predictor, "predict"),
        "store": (Visit, "store_result"),
    }[name]


@pytest.fixture(scope="module")
def expected(micro_bundle, image_png) -> list[float]:
    """The probability of each of the twenty as predicted without the page."""
    from xray_core.prediction.predictor import Predictor

    predictor = Predictor.load(micro_bundle)
    return [predictor.predict(data).probability for _, data in twenty(image_png)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["read", "view", "predict", "store"])
def test_twenty_files_are_twenty_results_in_order_wherever_the_run_stops(
    open_page, with_model, image_png, stop_at, expected, step, after
):
    owner, name = place(step)
    stop_at(owner, name, {1, 2, 9, 10, 25}, after=after)
    files = twenty(image_png)
    packed = ("some.zip", zipped(files[5:15]))
    at = drop(open_page("prediction"), *files[:5], packed, *files[15:])
    runs = 1
    while not listed(at):
        at, runs = at.run(), runs + 1
        assert runs < 10

    assert runs > 3
    assert not at.exception
    at = named(at)
    assert listed_numbers(at) == list(range(1, COUNT + 1))
    assert listed_files(at) == NAMES
    cases = at.session_state["prediction_visit"].cases
    assert [case.prediction.probability for case in cases] == pytest.approx(expected)


def test_a_stop_while_the_progress_is_drawn_loses_nothing(
    open_page, with_model, image_png, monkeypatch
):
    """As when the visitor goes to another page: Streamlit raises at the next thing drawn."""
    from streamlit.delta_generator import DeltaGenerator

    original, drawn = DeltaGenerator.progress, []

    def stopping(self, *args, **kwargs):
        drawn.append(None)
        if len(drawn) in (1, 4, 12):
            st.stop()
        return original(self, *args, **kwargs)

    monkeypatch.setattr(DeltaGenerator, "progress", stopping)
    at = drop(open_page("prediction"), *twenty(image_png))
    for _ in range(3):
        assert not listed(at)
        at = at.run()

    assert listed_files(named(at)) == NAMES


def test_another_model_chosen_before_the_end_analyses_every_file(
    open_page, with_model, micro_bundle, image_png, stop_at
):
    shutil.copytree(micro_bundle, with_model / "other")
    owner, name = place("predict")
    stop_at(owner, name, {6}, after=False)
    at = drop(open_page("prediction"), *twenty(image_png))
    assert not listed(at)

    at = at.sidebar.selectbox[0].set_value("other").run()

    assert listed_files(named(at)) == NAMES
    assert {image.result.model[:6] for image in at.session_state["prediction_visit"].cases} == {
        "other "
    }


def test_files_dropped_before_the_end_are_added(open_page, with_model, image_png, stop_at):
    owner, name = place("predict")
    stop_at(owner, name, {3}, after=False)
    files = twenty(image_png)
    at = drop(open_page("prediction"), *files[:5])
    assert not listed(at)

    at = drop(at, *files[5:8])
    assert listed_files(named(at)) == NAMES[:8]

    at = drop(at, *files[8:10])
    assert listed_numbers(at) == [1, 2]


def test_clear_before_the_end_leaves_nothing(open_page, with_model, image_png, stop_at):
    owner, name = place("predict")
    stop_at(owner, name, {3}, after=False)
    at = drop(open_page("prediction"), *twenty(image_png)[:5])

    at = next(button for button in at.button if button.label == "Clear").click().run()

    visit = at.session_state["prediction_visit"]
    assert (visit.cases, visit.views) == ([], {})
    assert not listed(at)


def test_a_result_for_settings_that_have_changed_is_not_stored():
    """As when an image is rotated while another run of the page still analyses it."""
    from ui.prediction.cases import Case, Visit
    from xray_core.imaging.adjustment import Adjustment
    from xray_core.prediction.result import Prediction

    image = Case(1, data=b"x", requested_model="model 1")
    visit, early = Visit([image]), image.settings
    image.adjust(Adjustment(1, False))
    visit.store_result(image, Prediction(0.9, "PNEUMONIA", ()), None, "model 1", early, None)
    assert image.is_waiting
    assert image.result is None

    visit.store_result(image, Prediction(0.1, "NORMAL", ()), None, "model 0", image.settings, None)
    assert image.result is None

    visit.store_result(image, Prediction(0.2, "NORMAL", ()), None, "model 1", image.settings, None)
    assert not image.is_waiting
    assert image.result.probability == 0.2


def upload(name: str, **values: object) -> SimpleNamespace:
    return SimpleNamespace(
        **({"name": name, "type": "", "file_id": name, "getvalue": lambda: b"a"} | values)
    )


def test_a_drop_zone_that_is_sent_twice_loses_no_image():
    """As when a button is pressed before the page is complete."""
    from ui.prediction.cases import Visit
    from ui.prediction.uploads import take_dropped

    visit, first = Visit(), upload("a")
    assert take_dropped(visit, [first])
    assert not take_dropped(visit, [])  # the server has removed its file
    assert not take_dropped(visit, [first])
    assert [image.name for image in visit.cases] == ["a"]


def test_files_from_a_drop_zone_about_to_be_replaced_are_taken():
    from streamlit.runtime.uploaded_file_manager import DeletedFile

    from ui.prediction.cases import Visit
    from ui.prediction.uploads import take_dropped

    visit = Visit()
    take_dropped(visit, [upload("a")])

    assert take_dropped(visit, [DeletedFile("a"), upload("b")])
    assert [(image.number, image.name) for image in visit.cases] == [(1, "a"), (2, "b")]


def test_a_drop_is_taken_where_its_callback_was_not_called(
    open_page, with_model, image_png, monkeypatch
):
    import ui.prediction.uploads as uploads

    monkeypatch.setattr(uploads, "handle_drop", lambda *args: None)

    at = drop(open_page("prediction"), *twenty(image_png)[:3])

    assert listed_files(named(at)) == NAMES[:3]


def test_added_files_keep_within_the_limits_of_one_drop(monkeypatch):
    import ui.prediction.cases as store

    monkeypatch.setattr(store, "MAX_IMAGES", 4)
    monkeypatch.setattr(store, "DROP_BYTES", 10)
    visit = store.Visit()
    visit.drop([("a", b"1234"), ("b", b"1234")])

    visit.drop([("c", b"123"), ("d", b"12"), ("e", b""), ("f", b"")], discarded=1)

    assert [image.name for image in visit.cases] == ["a", "b", "d", "e"]
    assert visit.left_out == 3
    assert visit.left_out_message().startswith("Only 4 of 7 files were read")


def test_a_zip_that_is_still_read_counts_once_towards_the_limit_of_a_drop(monkeypatch):
    import ui.prediction.cases as store

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("b.png", b"2")
    packed = file.getvalue()
    monkeypatch.setattr(store, "DROP_BYTES", len(packed) + 4)
    visit = store.Visit()
    visit.drop([("all.zip", packed)])
    assert visit.held_bytes == len(packed)

    visit.drop([("again.zip", packed), ("c", b"1234")])

    assert [image.name for image in visit.cases] == ["all.zip", "all.zip", "c"]
    assert visit.left_out == 1


@pytest.mark.parametrize("fault", [RuntimeError, RecursionError, StopIteration])
def test_an_archive_that_fails_in_the_middle_ends_as_rows(monkeypatch, fault):
    import ui.prediction.cases as store
    from xray_core.errors import UnreadableImage
    from xray_core.prediction.archive import ArchivedFile

    def failing(data: bytes):
        yield ArchivedFile("a", b"1")
        yield ArchivedFile("b", None, "This file is damaged.")
        if fault is not StopIteration:
            raise fault("secret")

    monkeypatch.setattr(store, "read_archive", failing)
    monkeypatch.setattr(store, "count_files", lambda data: 4)
    visit = store.Visit()
    visit.drop([("all.zip", b"PK\x03\x04"), ("single", b"2")])
    messages = []
    for image in visit.cases:
        with pytest.raises(UnreadableImage) as error:
            image.read()
        messages.append(str(error.value))

    assert [image.name for image in visit.cases] == ["a", "b", "all.zip", "all.zip", "single"]
    assert messages[1] == "This file is damaged."
    assert "ZIP file is damaged" in messages[2]
    assert "ZIP file is damaged" in messages[3]
    assert "secret" not in " ".join(messages)
