"""Read first: the reader calls an image before the model's result is shown, and once more after.

While this mode is on, it takes the place of the page. Nothing of a result is computed, and nothing
of the reference label is sent to the browser, before the reader's first assessment is recorded.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui.common.errors import log_error
from ui.common.folders import find_shown_dataset
from ui.common.models import load_predictor
from ui.common.public import limits, turn
from ui.common.text import as_markdown
from ui.prediction.analysis import analyse, show_place
from ui.prediction.cases import DROP_LIMIT
from ui.prediction.read_first import OpenImage, ReadingSession, reading_session
from ui.prediction.read_first_summary import show_summary
from ui.prediction.result import cautions_html, result_html
from ui.prediction.uploads import drop_key, handle_drop, take_dropped
from ui.prediction.view import DEFAULT_METHOD, View, make_view
from ui.viewer.viewer import BoxTool, pack, show_viewer
from xray_core.errors import DatasetError, UnreadableImage
from xray_core.evaluation.reading import CALLS, CONFIDENCES, Reading
from xray_core.labels import NORMAL, PNEUMONIA
from xray_core.model.bundle import Bundle
from xray_core.prediction import wording
from xray_core.prediction.explain import METHOD_NAMES
from xray_core.prediction.overlay import COLOUR_MAPS, colours
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

_MODE, _SWITCH = "read_first", "read_first_switch"
STYLE = """
<style>
.calls { overflow-x: auto; font-size: .9rem; }
.calls table { border-collapse: collapse; width: 100%; }
.calls :is(th, td) {
  text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--soft-ink);
  font-weight: normal;
}
.calls thead th { font-weight: 600; }
.st-key-first:has(.st-key-first-viewer) {
  display: grid; grid-template: auto 1fr / minmax(0, 62fr) minmax(0, 38fr); gap: .6rem 1.2rem;
}
.st-key-first > :has(.st-key-first-viewer) { grid-area: 1 / 1 / 3 / 2; }
.st-key-first > :has(.st-key-first-result) { grid-area: 1 / 2 / 2 / 3; }
.st-key-first > :has(.st-key-first-call) { grid-area: 2 / 2 / 3 / 3; }
@media (max-width: 1024px) {
  .st-key-first.st-key-first:has(.st-key-first-viewer) { display: flex; }
}
</style>
"""
ABOUT = """
You assess each image **before** the model's result is shown, and may change your assessment
afterwards. The summary compares both assessments with the model's results and with the reference
labels, where they are known.

The model analyses an image after your first assessment. While you read, no reference label is
shown. Images and readings are held in memory until you delete them or close the page. They are not
stored: download the table to keep it.
"""
REFERENCES = {"": "Not known", PNEUMONIA: "Pneumonia", NORMAL: "No pneumonia"}


def show_read_first(bundle: Bundle) -> bool:
    """Draw the switch of the mode and, while it is on, the page; return whether it is on."""
    if st.session_state.get("open_path"):  # another page requested an image with its result
        st.session_state[_MODE] = False
    # The state of a widget ends when another page is opened.
    st.session_state[_SWITCH] = st.session_state.get(_MODE, False)
    st.sidebar.toggle(
        "Read first",
        key=_SWITCH,
        on_change=_keep_mode,
        help="Assess each image yourself before the model's result is shown, and compare.",
    )
    if not st.session_state[_SWITCH]:
        return False
    session, test_images = reading_session(), _TestImages(bundle)
    st.html(STYLE + '<h1 class="page">Read first</h1>')
    if session.opened is None:
        _start(session, test_images)
    else:
        _read(session, session.opened, bundle.name, test_images)
    show_summary(session)
    return True


def _keep_mode() -> None:
    st.session_state[_MODE] = st.session_state[_SWITCH]


class _TestImages:
    """The images of the test split, if the dataset is on the disk of the server."""

    def __init__(self, bundle: Bundle) -> None:
        try:
            self.folder: Path | None = find_shown_dataset()
        except DatasetError:
            self.folder = None
        self._bundle = bundle

    def open_next(self, session: ReadingSession) -> None:
        """Open a random test image, or say that there is none."""
        table: pd.DataFrame = self._bundle.predictions()
        if self.folder is None or not session.open_test_image(
            table[table["fold"] == "test"], self.folder
        ):
            st.toast("There is no other test image on this computer.", icon=":material/info:")


def _start(session: ReadingSession, test_images: _TestImages) -> None:
    """Draw what is shown while no image is open: what the mode is, and the sources of images."""
    st.markdown(ABOUT)
    waiting = len(session.waiting)
    with st.container(horizontal=True, vertical_alignment="center"):
        if waiting:
            images = "image waits" if waiting == 1 else "images wait"
            st.button(f"Continue: {waiting} {images}", type="primary", on_click=session.open_own)
        if test_images.folder is not None:
            st.button(
                "Read random test images",
                type="secondary" if waiting else "primary",
                on_click=test_images.open_next,
                args=(session,),
            )
    visit, key = session.visit, f"read-{drop_key(session.visit)}"
    with st.container(key="drop"):
        dropped = st.file_uploader(
            f"Your own images: JPEG, PNG, TIFF, DICOM or ZIP, up to {DROP_LIMIT}",
            accept_multiple_files=True,
            key=key,
            on_change=handle_drop,
            args=(visit, key),
        )
    if take_dropped(visit, dropped):  # where Streamlit did not call `handle_drop`
        st.rerun()
    if visit.left_out:
        public = limits()
        st.warning(
            f"Left out: {visit.left_out}. One drop may hold up to {DROP_LIMIT}. "
            + (public.sentence if public else "Drop the rest separately."),
            icon=":material/warning:",
        )


def _read(session: ReadingSession, opened: OpenImage, model: str, test_images: _TestImages) -> None:
    """Draw the open image, with its result once the first assessment is recorded."""

    def advance() -> None:
        was_test_image = opened.is_test_image
        session.close()
        if session.waiting:
            session.open_own()
        elif was_test_image:
            test_images.open_next(session)

    view = _view(session, opened)
    if view is None:
        st.button("Next image", type="primary", on_click=advance)
        return
    reading = session.reading
    place = st.empty()  # in every run, so that the viewer stays where it is
    if reading is not None and reading.result is None:
        _analyse(session, opened, load_predictor(model), place)
    with st.container(key="first"):
        result = st.container(key="first-result", gap="small")
        with st.container(key="first-viewer"):
            _viewer(session, opened, view)
        with st.container(key="first-call", gap="small"):
            if session.reading is None:
                _first_call(session, opened, advance)
            else:
                _second_call(session, opened, session.reading, advance)
        with result:
            _result(opened)


def _view(session: ReadingSession, opened: OpenImage) -> View | None:
    """Return the decoded image; None, with the reason on the page, if it cannot be read."""
    visit, case = session.visit, opened.case
    try:
        view = visit.view_of(case) or make_view(case.read(), case.settings)
    except UnreadableImage as error:
        reason = str(error)
    except MemoryError:
        reason = "It is too large for this computer's memory."
    except Exception as error:
        log_error(error)
        reason = "Software error; see the log."
    else:
        visit.keep_view(case, view)
        return view
    st.error(
        f"Image {opened.number} cannot be read. {as_markdown(reason)}", icon=":material/error:"
    )
    return None


def _analyse(
    session: ReadingSession, opened: OpenImage, predictor: "Predictor", place: DeltaGenerator
) -> None:
    """Analyse the open image, with its map, and record the result as shown.

    `place` shows the visitor's place in the queue of a public host.
    """
    visit, case = session.visit, opened.case
    case.requested_model = predictor.model
    with st.spinner("Analysing the image …"), turn(show_place(place)):
        place.empty()
        if case.is_waiting:
            analyse(visit, case, predictor)
        view = visit.view_of(case)
        if view is not None and case.result.verdict not in ("REFUSED", "UNREADABLE"):
            view.prediction(predictor, DEFAULT_METHOD)
    session.reveal(case.result)


def _result(opened: OpenImage) -> None:
    case, title = opened.case, f"Image {opened.number} of this reading session"
    if case.result is None:
        st.html(f'<h2 class="small">{title}</h2>')
        st.caption("Your assessment comes first. The result is shown afterwards.")
        return
    st.html(result_html(case.result, case.calibration, title))
    cautions = cautions_html(case.result)
    if cautions:
        st.html(cautions)


def _viewer(session: ReadingSession, opened: OpenImage, view: View) -> None:
    """Draw the image; with the map and the lungs once there is a result."""
    case, tool = opened.case, None
    shown: Prediction | None = None
    if case.result is None:
        tool = BoxTool(
            "Mark",
            "Drag a rectangle around the area where you see pneumonia",
            "Mark this area",
            session.mark,
        )
    else:
        shown = view.predictions.get((case.analysed_by, DEFAULT_METHOD), case.result)
    mask = None if shown is None else shown.lung_mask
    show_viewer(
        view.shown,
        key="read-first-viewer",
        description=_description(opened),
        colours={name: colours(name) for name in COLOUR_MAPS},
        heatmap=None if shown is None else view.maps.get((case.analysed_by, DEFAULT_METHOD)),
        heatmap_name=METHOD_NAMES[DEFAULT_METHOD],
        lungs=None if mask is None else pack(mask.astype(np.uint8) * 255),
        box_tool=tool,
        mark=opened.box,
    )


def _description(opened: OpenImage) -> str:
    parts, result = [f"Image {opened.number} of this reading session."], opened.case.result
    if opened.box is not None:
        parts.append("An area is marked.")
    if result is None:
        parts.append("Its result is not shown yet.")
        return " ".join(parts)
    parts.append(f"Result: {result.shown_as}.")
    if result.probability is not None:
        note = f" ({result.probability_note})" if result.probability_note else ""
        parts.append(f"Probability of pneumonia {wording.percent(result.probability)}{note}.")
    return " ".join(parts)


def _first_call(session: ReadingSession, opened: OpenImage, advance: Callable[[], None]) -> None:
    number = opened.number
    call = st.radio(
        "Your assessment", CALLS, index=None, format_func=CALLS.get, key=f"call-{number}"
    )
    confidence = st.radio(
        "Your confidence",
        CONFIDENCES,
        index=None,
        format_func=_confidence,
        horizontal=True,
        key=f"confidence-{number}",
    )
    if opened.box is None:
        st.caption("Optional: mark where you see pneumonia, with Mark in the viewer.")
    else:
        st.button("Remove the mark", icon=":material/delete:", on_click=session.mark, args=(None,))
    st.button(
        "Record the assessment and show the result",
        type="primary",
        disabled=call is None or confidence is None,
        on_click=session.call_first,
        args=(call, confidence),
        help="The first assessment cannot be changed afterwards.",
    )
    _leave(session, advance, "Skip this image")


def _second_call(
    session: ReadingSession, opened: OpenImage, reading: Reading, advance: Callable[[], None]
) -> None:
    number, result = opened.number, opened.case.result
    st.markdown(
        f"Your first assessment: **{CALLS[reading.call_before]}**, confidence "
        f"{_confidence(reading.confidence_before)}."
    )
    call = st.radio(
        "Your assessment now",
        CALLS,
        index=list(CALLS).index(reading.call_before),
        format_func=CALLS.get,
        key=f"call-again-{number}",
    )
    confidence = st.radio(
        "Your confidence now",
        CONFIDENCES,
        index=list(CONFIDENCES).index(reading.confidence_before),
        format_func=_confidence,
        horizontal=True,
        key=f"confidence-again-{number}",
    )
    reference = ""
    if not opened.is_test_image:
        reference = st.selectbox(
            "Reference label",
            REFERENCES,
            format_func=REFERENCES.get,
            key=f"reference-{number}",
            help="From a source other than you and the model, such as the clinical course. "
            "Sensitivity and specificity count images with a reference label only.",
        )

    def record(following: Callable[[], None]) -> None:
        session.call_again(call, confidence, reference or None)
        following()

    with st.container(horizontal=True):
        if session.waiting or opened.is_test_image:
            st.button(
                "Record and open the next image",
                type="primary",
                on_click=partial(record, advance),
            )
            st.button("Record and stop", on_click=partial(record, session.close))
        else:
            st.button("Record", type="primary", on_click=partial(record, session.close))
    if result is not None and result.map_note:
        st.caption(result.map_note)


def _leave(session: ReadingSession, advance: Callable[[], None], skip: str) -> None:
    with st.container(horizontal=True):
        st.button(skip, on_click=advance, type="tertiary")
        st.button("Stop reading", on_click=session.stop, type="tertiary")


def _confidence(level: int) -> str:
    return f"{level}, {CONFIDENCES[level]}"
