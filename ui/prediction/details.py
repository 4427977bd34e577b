"""The details of one image: result and cautions, image and map, evidence, downloads."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from ui.common.errors import show_errors
from ui.prediction.cases import Case, visit, widget_key
from ui.prediction.downloads import Shown, downloads
from ui.prediction.overlay import (
    COLOUR_MAPS,
    draw_lungs,
    draw_outlines,
    draw_overlay,
    legend_html,
)
from ui.prediction.result import cautions_html, pre_test_control, result_html
from ui.prediction.view import DEFAULT_METHOD, View, encode_jpeg, make_view
from xray_core.dataset.index import find_dataset
from xray_core.errors import DatasetError
from xray_core.evaluation.verdicts import VerdictRate, verdict_rates
from xray_core.labels import SHOWN_AS, SUBTYPES
from xray_core.model.bundle import PREDICTIONS, Bundle
from xray_core.model.lungs import Mask, resize_mask
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


def show_case(case: Case, predictor: "Predictor") -> None:
    """Draw the result and its cautions, then image, map, similar images, accuracy and downloads."""
    prediction = case.prediction
    calibration = case.calibration or predictor.calibration
    result = result_html(prediction, calibration, case.title)
    if prediction.probability is None or prediction.unlike:
        st.html(result)
    else:
        left, control = st.columns([4, 1], gap="medium")
        with control:
            pre_test_control(prediction, calibration)
        left.html(result)
    cautions = cautions_html(prediction)
    if cautions:
        st.html(cautions)
    if prediction.verdict == "UNREADABLE":
        return
    if case.discarded:
        if case.is_of_another_model:
            st.warning(case.other_model_message, icon=":material/warning:")
        st.info(case.problem)
        return
    view = _open_view(case)
    _window_and_correction(case, view)
    if prediction.verdict == "REFUSED":
        _refused(case, view)
    else:
        _analysed(case, view, predictor)


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


def _refused(case: Case, view: View) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left, st.container(key="image"):
        _show_image(case, view)
    with right:
        correction = case.prediction.correction
        if correction is not None:
            st.button(
                f"{_steps(correction)} and analyse",
                type="primary",
                icon=":material/rotate_right:"
                if correction.changes_orientation
                else ":material/crop:",
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


def _show_image(case: Case, view: View, lungs: Mask | None = None) -> None:
    """Show the image, with the outline of `lungs` (224, 224) if they are given."""
    caption = case.correction.description if case.is_corrected else "Image as analysed"
    shown = view.png
    if lungs is not None:
        caption = f"{caption}; blue line: lungs"
        outlined = draw_lungs(view.pixels, resize_mask(lungs, view.pixels.shape))
        shown = encode_jpeg(outlined)
    st.image(shown, width="stretch", caption=caption, alt=caption)


@st.fragment
def _analysed(case: Case, view: View, predictor: "Predictor") -> None:
    with show_errors():
        left, right = st.columns([5, 2], gap="medium")
        with left:
            images, controls = st.container(key="images"), st.container()
        with controls:
            method, name, opacity, outline, show_lungs = _controls(case.prediction)
            below = st.container(horizontal=True, vertical_alignment="center")
        prediction = _with_map(view, predictor, method)
        draw = draw_outlines if outline else partial(draw_overlay, name=name)
        overlay = draw(view.small, prediction.heatmap, opacity=opacity)
        with below:
            st.html(legend_html(overlay), width="stretch")
            if prediction.map_in_lungs is not None:
                share = wording.share(prediction.map_in_lungs)
                st.html(
                    f'<p class="legend">Grad-CAM map in lungs <b>{share}</b></p>', width="content"
                )
            with st.popover("About this map", type="tertiary", icon=":material/help:"):
                st.markdown(ABOUT_THE_MAP)
        lungs = prediction.lung_mask if show_lungs else None
        outlined = view.small
        if lungs is not None:
            mask = resize_mask(lungs, view.small.shape)
            outlined = draw_lungs(view.small, mask)
            overlay = replace(overlay, pixels=draw_lungs(overlay.pixels, mask))
        with images:
            image, image_with_map = st.columns(2, gap="small")
            with image:
                _show_image(case, view, lungs)
            with image_with_map:
                st.image(
                    encode_jpeg(overlay.pixels),
                    width="stretch",
                    caption=f"{METHOD_NAMES[method]} map",
                    alt=f"The image with its {METHOD_NAMES[method]} map",
                )
        with controls:
            st.caption(prediction.map_note or "")
        with right:
            rates = _accuracy_rates(predictor.bundle)
            _evidence(prediction, predictor.bundle, rates)
            _heading("Download")
            shown = Shown(outlined, overlay, lungs_outlined=lungs is not None)
            downloads(case, prediction, predictor.bundle, rates, shown)


def _with_map(view: View, predictor: "Predictor", method: str) -> Prediction:
    if (predictor.model, method) in view.predictions:
        return view.prediction(predictor, method)
    with st.spinner("Computing the map …"):
        return view.prediction(predictor, method)


def _controls(prediction: Prediction) -> tuple[str, str, float, bool, bool]:
    """Draw the controls in one row.

    Returns method, colour map and opacity, whether the map is drawn as an outline, and whether the
    outline of the lungs is drawn.
    """
    one, two, three, four = st.columns([5, 5, 5, 6], vertical_alignment="bottom")
    method = one.selectbox(
        "Method",
        METHODS,
        index=METHODS.index(DEFAULT_METHOD),
        format_func=METHOD_NAMES.get,
        key="map_method",
    )
    with four.container(gap=None):
        outline = st.toggle("Map as outline", key="map_outline")
        has_lungs = prediction.lung_mask is not None
        lungs = has_lungs and st.toggle("Outline of the lungs", key="lung_outline")
    name = two.selectbox("Colours", COLOUR_MAPS, key="map_colours", disabled=outline)
    opacity = three.slider("Opacity", 0, 100, 60, step=5, format="%d%%", key="map_opacity")
    return method, name, opacity / 100, outline, lungs


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
        folder = find_dataset(None)
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
