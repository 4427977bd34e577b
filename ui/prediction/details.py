"""One image: result and cautions, the viewer, controls, downloads, what else is known about it."""

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from ui.prediction.cases import Case, visit
from ui.prediction.change import change_buttons, choose_window, crop_tool
from ui.prediction.compare import compare_button
from ui.prediction.downloads import downloads
from ui.prediction.evidence import ABOUT_THE_MAP, show_evidence
from ui.prediction.result import cautions_html, pre_test_control, result_html
from ui.prediction.several import step_from
from ui.prediction.similar import show_similar
from ui.prediction.view import DEFAULT_METHOD, View, make_view
from ui.viewer.viewer import pack, show_viewer
from xray_core.model.calibration import Calibration
from xray_core.prediction import wording
from xray_core.prediction.explain import METHOD_NAMES, METHODS
from xray_core.prediction.overlay import COLOUR_MAPS, colours
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

_PAUSE, _PAUSES = 0.05, 5  # seconds, and their number
WHAT_TO_DO = """
- Check that the image shows an upright frontal chest and nothing else.
- Remove borders and text; export the file rather than photographing a screen.
- Where possible, export it from its own system as DICOM, PNG or JPEG.
"""


def show_case(case: Case, predictor: "Predictor", numbers: list[int]) -> None:
    """Draw the result and its cautions, the viewer beside them, and the details below them.

    `numbers` are those of the images among which the arrow keys move.
    """
    prediction = case.prediction
    with st.container(key="case-result", gap="xsmall"):
        show_result(case, predictor)
    if prediction.verdict == "UNREADABLE":
        return
    if case.discarded:
        _pre_test(case, predictor)
        if case.is_of_another_model:
            st.warning(case.other_model_message, icon=":material/warning:")
        st.info(case.problem)
        return
    view = _open_view(case)
    image = st.container(key="case-viewer")
    details = st.container(key="case-details", gap="xsmall")
    result, refused = prediction, prediction.verdict == "REFUSED"
    if not refused:
        with details:
            _pre_test(case, predictor)
            result = _map_controls(view, predictor)
    with image:  # as soon as the method of its map is known
        _show_image(case, view, result, predictor.model, numbers)
    with details:
        if refused and prediction.correction is None:
            st.html('<h2 class="small">What to do</h2>')
            st.markdown(WHAT_TO_DO)
        choose_window(case, view)
        if refused:
            _actions(case, view, predictor)
        downloads(case, result, view, predictor)
        if not refused:
            _actions(case, view, predictor)
            show_evidence(result, predictor.bundle)
    if result.neighbours is not None:
        with image:
            show_similar(result.neighbours.paths)


def prepare_next(case: Case, predictor: "Predictor", numbers: list[int]) -> None:
    """Prepare what the page shows of the image after `case`, which a reader opens next."""
    following = numbers[numbers.index(case.number) + 1 :]
    if not following:
        return
    after = visit().cases[following[0] - 1]
    view = visit().view_of(after)
    if view is None:
        return
    _leave_to_browser()
    if after.prediction.probability is not None:
        view.prediction(predictor, st.session_state.get("map_method", DEFAULT_METHOD))
    _ = view.shown
    visit().keep_view(after, view)


def _leave_to_browser() -> None:
    """Leave the processor to the browser's requests for the image that is shown now."""
    place = st.empty()
    for _ in range(_PAUSES):
        time.sleep(_PAUSE)
        place.empty()  # here Streamlit ends this run if the reader has moved on


def show_result(case: Case, predictor: "Predictor") -> None:
    """Draw the result and its cautions."""
    prediction = case.prediction
    st.html(result_html(prediction, _calibration(case, predictor), case.title))
    cautions = cautions_html(prediction)
    if cautions:
        st.html(cautions)


def _calibration(case: Case, predictor: "Predictor") -> Calibration:
    return case.calibration or predictor.calibration


def _pre_test(case: Case, predictor: "Predictor") -> None:
    prediction = case.prediction
    if prediction.probability is not None and not prediction.unlike:
        with st.container(horizontal=True, vertical_alignment="center", key="pre-test"):
            pre_test_control(prediction, _calibration(case, predictor))


def _open_view(case: Case) -> View:
    """Return the view of an image; decode the file again if it was not kept."""
    settings = case.settings
    view = visit().view_of(case) or make_view(case.read(), settings)
    visit().keep_view(case, view)
    return view


def _show_image(
    case: Case, view: View, prediction: Prediction, model: str, numbers: list[int]
) -> None:
    """Show the image in the viewer, with the map of `prediction` and its lungs, if it has any."""
    method, mask = prediction.method, prediction.lung_mask
    place = numbers.index(case.number)
    several = len(numbers) > 1
    show_viewer(
        view.shown,
        key="viewer",
        description=_description(case),
        colours={name: colours(name) for name in COLOUR_MAPS},
        heatmap=view.maps.get((model, method)) if method else None,
        heatmap_name=METHOD_NAMES.get(method or "", ""),
        lungs=None if mask is None else pack(mask.astype(np.uint8) * 255),
        previous=place > 0 if several else None,
        following=place + 1 < len(numbers) if several else None,
        on_step=partial(step_from, numbers, case.number),
        box_tool=crop_tool(case),
    )


def _description(case: Case) -> str:
    """Return the text alternative of the image: what it is, and its result."""
    prediction = case.prediction
    parts = [f"Image as analysed: {case.title}.", case.adjustment.sentence]
    parts.append(f"Result: {prediction.shown_as}.")
    if prediction.probability is not None:
        note = f" ({prediction.probability_note})" if prediction.probability_note else ""
        probability = wording.percent(prediction.probability)
        parts.append(f"Probability of pneumonia {probability}{note}.")
    return " ".join(filter(None, parts))


def _actions(case: Case, view: View, predictor: "Predictor") -> None:
    with st.container(horizontal=True, gap="small", key="actions"):
        change_buttons(case)
        compare_button(case, view, predictor)


def _map_controls(view: View, predictor: "Predictor") -> Prediction:
    """Draw the choice of the map's method; return the prediction with its map."""
    with st.container(horizontal=True, vertical_alignment="center", key="method"):
        method = st.selectbox(
            "Map",
            METHODS,
            index=METHODS.index(DEFAULT_METHOD),
            format_func=METHOD_NAMES.get,
            key="map_method",
            help="The method that computes the map.",
            width=215,
        )
        prediction = _with_map(view, predictor, method)
        if prediction.map_in_lungs is not None:
            share = wording.share(prediction.map_in_lungs)
            st.html(f'<p class="legend">Grad-CAM in lungs <b>{share}</b></p>', width="content")
        with st.popover("About", type="tertiary", icon=":material/help:"):
            if prediction.map_note:
                st.markdown(prediction.map_note)
            st.markdown(ABOUT_THE_MAP)
    return prediction


def _with_map(view: View, predictor: "Predictor", method: str) -> Prediction:
    if (predictor.model, method) in view.predictions:
        return view.prediction(predictor, method)
    with st.spinner("Computing the map …"):
        return view.prediction(predictor, method)
