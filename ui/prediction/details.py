"""One image: result and cautions, the viewer, what else is known about it, downloads."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from ui.common.folders import find_shown_dataset
from ui.prediction.cases import Case, visit, widget_key
from ui.prediction.downloads import InReport, downloads
from ui.prediction.overlay import (
    COLOUR_MAPS,
    REPORT_COLOURS,
    REPORT_OPACITY,
    colours,
    draw_lungs,
    draw_overlay,
)
from ui.prediction.result import cautions_html, pre_test_control, result_html
from ui.prediction.table import step_from
from ui.prediction.view import DEFAULT_METHOD, View, make_view
from ui.viewer.viewer import pack, show_viewer
from xray_core.errors import DatasetError
from xray_core.evaluation.verdicts import VerdictRate, verdict_rates
from xray_core.labels import SHOWN_AS, SUBTYPES
from xray_core.model.bundle import PREDICTIONS, Bundle
from xray_core.model.calibration import Calibration
from xray_core.model.lungs import resize_mask
from xray_core.prediction import wording
from xray_core.prediction.explain import METHOD_NAMES, METHODS
from xray_core.prediction.orientation import Correction
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

ABOUT_THE_MAP = """
The map shows **roughly which areas raised the pneumonia score**, at the low resolution of the
network's last layer. It does **not** outline disease or measure its extent, and it is not
independent evidence: the map of a wrong result can look just as convincing.

Where no pneumonia is detected, the map still shows which areas contributed most to the pneumonia
score, even if little: each map is scaled to its own maximum.

The four methods weight the same layer differently. Where they disagree, rely on none of them.
"""
SIMILAR_SHOWN = 8
Rates = dict[str, dict[str, VerdictRate]]


def show_case(case: Case, predictor: "Predictor", numbers: list[int]) -> None:
    """Draw the result and its cautions, the viewer beside them, and the details below them.

    `numbers` are those of the images among which the arrow keys move.
    """
    prediction = case.prediction
    with st.container(key="case"):
        with st.container(key="case-result", gap="small"):
            _result(case, predictor)
        if prediction.verdict == "UNREADABLE":
            return
        if case.discarded:
            _pre_test(case, predictor)
            if case.is_of_another_model:
                st.warning(case.other_model_message, icon=":material/warning:")
            st.info(case.problem)
            return
        view = _open_view(case)
        # The viewer stands before the details, whose method decides on its map.
        image = st.container(key="case-viewer")
        with st.container(key="case-details", gap="small"):
            _window_and_correction(case, view)
            if prediction.verdict == "REFUSED":
                _refused(case)
                result = prediction
            else:
                result = _analysed(case, view, predictor)
        with image:
            _show_image(case, view, result, predictor.model, numbers)


def _result(case: Case, predictor: "Predictor") -> None:
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
        with st.container(horizontal=True, vertical_alignment="bottom"):
            pre_test_control(prediction, _calibration(case, predictor))


def _open_view(case: Case) -> View:
    """Return the view of an image; decode the file again if it was not kept."""
    settings = case.settings
    view = visit().view_of(case) or make_view(case.read(), settings)
    visit().keep_view(case, view)
    return view


def _window_and_correction(case: Case, view: View) -> None:
    """Offer the windows of a DICOM file, to crop a border, and to undo a correction."""
    windows = view.prepared.radiograph.windows
    if len(windows) > 1:
        window = st.selectbox(
            "Window (the result is computed for the image as shown)",
            range(len(windows)),
            index=min(case.window, len(windows) - 1),
            format_func=lambda index: windows[index],
            key=widget_key(f"window-{case.number}"),
        )
        if window != case.window:
            case.window = window
            st.rerun()
    correction = case.prediction.correction
    if correction is not None and case.prediction.verdict != "REFUSED":
        st.button(
            "Border detected. Crop and re-analyse",
            icon=":material/crop:",
            on_click=case.correct,
            args=(correction,),
        )
    if case.is_corrected:
        st.button(
            f"{case.correction.description.removesuffix(' before the analysis.')}. Undo",
            icon=":material/undo:",
            on_click=case.undo_correction,
        )


def _refused(case: Case) -> None:
    correction = case.prediction.correction
    if correction is not None:
        st.button(
            f"{_steps(correction)} and analyse",
            type="primary",
            icon=":material/rotate_right:" if correction.changes_orientation else ":material/crop:",
            on_click=case.correct,
            args=(correction,),
        )
        return
    _heading("What to do")
    st.markdown(
        "- Check that it is a frontal view of a chest, upright, and nothing else.\n"
        "- Remove borders and text; export the file rather than photographing a screen.\n"
        "- Where possible, export it from its own system as DICOM, PNG or JPEG."
    )


def _steps(correction: Correction) -> str:
    steps = {"Crop": correction.crop_border, "rotate": correction.quarter_turns}
    steps["invert"] = correction.inverted
    return ", ".join(step for step, needed in steps.items() if needed).capitalize()


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
    )


def _description(case: Case) -> str:
    """Return the text alternative of the image: what it is, and its result."""
    prediction = case.prediction
    parts = [f"Image as analysed: {case.title}."]
    if case.is_corrected:
        parts.append(case.correction.description)
    parts.append(f"Result: {prediction.shown_as}.")
    if prediction.probability is not None:
        note = f" ({prediction.probability_note})" if prediction.probability_note else ""
        probability = wording.percent(prediction.probability)
        parts.append(f"Probability of pneumonia {probability}{note}.")
    return " ".join(parts)


def _analysed(case: Case, view: View, predictor: "Predictor") -> Prediction:
    """Draw controls, downloads and evidence; return the prediction with the map of the method."""
    _pre_test(case, predictor)
    with st.container(horizontal=True, vertical_alignment="bottom", key="method"):
        method = st.selectbox(
            "Method of the map",
            METHODS,
            index=METHODS.index(DEFAULT_METHOD),
            format_func=METHOD_NAMES.get,
            key="map_method",
        )
        with st.popover("About this map", type="tertiary", icon=":material/help:"):
            st.markdown(ABOUT_THE_MAP)
    prediction = _with_map(view, predictor, method)
    if prediction.map_in_lungs is not None:
        share = wording.share(prediction.map_in_lungs)
        st.html(f'<p class="legend">Grad-CAM map in lungs <b>{share}</b></p>')
    if prediction.map_note:
        st.caption(prediction.map_note)
    rates = _accuracy_rates(predictor.bundle)
    downloads(case, prediction, predictor.bundle, rates, _for_report(view, prediction))
    _evidence(prediction, predictor.bundle, rates)
    return prediction


def _for_report(view: View, prediction: Prediction) -> InReport:
    """Return the image and its map as the report shows them: with the lungs, where they are known.

    The report does not depend on the settings of the viewer.
    """
    overlay = draw_overlay(view.small, prediction.heatmap, REPORT_COLOURS, REPORT_OPACITY)
    if prediction.lung_mask is None:
        return InReport(view.small, overlay, lungs_outlined=False)
    mask = resize_mask(prediction.lung_mask, view.small.shape)
    overlay = replace(overlay, pixels=draw_lungs(overlay.pixels, mask))
    return InReport(draw_lungs(view.small, mask), overlay, lungs_outlined=True)


def _with_map(view: View, predictor: "Predictor", method: str) -> Prediction:
    if (predictor.model, method) in view.predictions:
        return view.prediction(predictor, method)
    with st.spinner("Computing the map …"):
        return view.prediction(predictor, method)


def _evidence(prediction: Prediction, bundle: Bundle, rates: Rates) -> None:
    _heading("Most similar training images")
    st.markdown(wording.nearest_images(prediction.neighbours))
    _similar_images(prediction.neighbours.paths)
    if not prediction.accuracy_applies:
        st.markdown(wording.ACCURACY_DOES_NOT_APPLY)
        return
    if not rates:
        st.markdown("This model has no stored results on a test set.")
        return
    with st.expander("Accuracy on the test set"):
        st.markdown(_accuracy_table(rates))
        st.caption(
            wording.TEST_SET
            + " "
            + wording.describe_exclusion_threshold(bundle.calibration, bundle.config)
        )


def _accuracy_rates(bundle: Bundle) -> Rates:
    """Return the rates of each result among the test images of each class, computed once."""
    return _rates(bundle.config["files"][PREDICTIONS], bundle)


@st.cache_data(max_entries=16, show_spinner=False)
def _rates(digest: str, _bundle: Bundle) -> Rates:
    return verdict_rates(_bundle.predictions())


def _accuracy_table(rates: Rates) -> str:
    """Return the rates as a Markdown table: one row per result, one column per class."""
    named = {"PNEUMONIA": "With pneumonia", "NORMAL": "Without"}
    classes = [label for label in named if label in rates]
    counts = {label: sum(rate.images for rate in rates[label].values()) for label in classes}
    heads = "".join(f" {named[label]} ({counts[label]}) |" for label in classes)
    lines = [f"| Result |{heads}", "|---|" + "---|" * len(classes)]
    for verdict in rates[classes[0]]:
        cells = "".join(f" {wording.format_rate(rates[label][verdict])} |" for label in classes)
        lines.append(f"| {SHOWN_AS[verdict]} |{cells}")
    return "\n".join(lines)


def _similar_images(paths: tuple[str, ...]) -> None:
    """Show the most similar training images if the dataset is on the disk of the server."""
    try:
        folder = find_shown_dataset()
    except DatasetError:
        return
    present = [path for path in paths if (folder / path).is_file()][:SIMILAR_SHOWN]
    if present:
        kinds = ["normal" if "NORMAL" in path else _kind(path) for path in present]
        with st.expander(f"Show the {len(present)} most similar"):
            st.image(
                [str(folder / path) for path in present],
                caption=kinds,
                width=110,
                alt=[f"Similar training image {n}: {kind}" for n, kind in enumerate(kinds, 1)],
            )


def _kind(path: str) -> str:
    return next((shown for name, shown in SUBTYPES.items() if name in path), "pneumonia")


def _heading(text: str) -> None:
    st.html(f'<h2 class="small">{text}</h2>')
