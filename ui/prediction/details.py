"""One image's page: the result and its cautions, the image and its map, and what supports them."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from ui.common.frame import sentences
from ui.prediction.cases import Case, widget_key
from ui.prediction.downloads import downloads
from ui.prediction.overlay import COLOUR_MAPS, legend_html, outlined, overlay
from ui.prediction.result import answer_html, cautions_html, pre_test_control
from ui.prediction.view import DEFAULT_METHOD, View, answer, encoded_overlay, view_of
from xray_core.dataset.index import find_dataset
from xray_core.errors import DatasetError
from xray_core.evaluation.verdicts import VerdictRate, verdict_rates
from xray_core.labels import SHOWN_AS, SUBTYPES
from xray_core.model.bundle import PREDICTIONS, Bundle
from xray_core.prediction import wording
from xray_core.prediction.explain import METHOD_NAMES, METHODS
from xray_core.prediction.orientation import Correction
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

ABOUT_THE_MAP = """
The map shows **roughly which areas raised the pneumonia score**: the network sees the image in a
few hundred squares. It does **not** outline disease or measure its extent, and it is not
independent evidence: where the network errs, its map can look just as convincing.

Where no pneumonia is detected the map still shows which areas contributed most to the pneumonia
score, however little: each map is scaled to its own maximum.

The four methods weigh the same layer differently. Where they disagree, rely on none of them.
"""
NEAREST_SHOWN = 8
Rates = dict[str, dict[str, VerdictRate]]


def show(case: Case, predictor: "Predictor", analysed_by: str) -> None:
    """Draw the result and its cautions, then image, map, similar images, accuracy and downloads."""
    prediction = case.prediction
    calibration = case.calibration or predictor.calibration
    if prediction.probability is None:
        st.html(answer_html(prediction, calibration, case.title))
    else:
        result, control = st.columns([4, 1], gap="medium")
        with control:
            pre_test_control(prediction, calibration)
        result.html(answer_html(prediction, calibration, case.title))
        cautions = cautions_html(prediction)
        if cautions:
            st.html(cautions)
    if prediction.verdict == "UNREADABLE":
        return
    if case.let_go:
        if case.is_of_another_model:
            st.warning(case.whose_result, icon=":material/warning:")
        st.info(case.problem)
        return
    view = view_of(case, predictor, analysed_by)
    _how_it_is_seen(case, view)
    if prediction.verdict == "REFUSED":
        _refused(case, view)
    else:
        _analysed(case, view, predictor)


def _how_it_is_seen(case: Case, view: View) -> None:
    """Offer a DICOM file's windows, to crop a border, and to undo what was done to the image."""
    windows = view.radiograph.windows
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
            on_click=case.apply_correction,
            args=(correction,),
        )
    if case.is_changed:
        st.button(
            f"{case.changes.done.removesuffix(' before the analysis.')}. Undo",
            icon=":material/undo:",
            on_click=case.as_it_came,
        )


def _refused(case: Case, view: View) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left, st.container(key="image"):
        _case(case, view)
    with right:
        correction = case.prediction.correction
        if correction is not None:
            st.button(
                f"{_steps(correction)} and analyse",
                type="primary",
                icon=":material/rotate_right:" if correction.turns else ":material/crop:",
                on_click=case.apply_correction,
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


def _case(case: Case, view: View) -> None:
    words = case.changes.done if case.is_changed else "Image as analysed"
    st.image(view.case, width="stretch", caption=words, alt=words)


@st.fragment
def _analysed(case: Case, view: View, predictor: "Predictor") -> None:
    with sentences():
        left, right = st.columns([5, 2], gap="medium")
        with left:
            pictures, controls = st.container(key="images"), st.container()
        with controls:
            method, name, opacity, outline = _controls()
        prediction = answer(view, case, predictor, method)
        draw = outlined if outline else partial(overlay, name=name)
        picture = draw(view.small, prediction.heatmap, opacity=opacity)
        with pictures:
            one, other = st.columns(2, gap="small")
            with one:
                _case(case, view)
            with other:
                st.image(
                    encoded_overlay(picture.pixels),
                    width="stretch",
                    caption=f"{METHOD_NAMES[method]} map",
                    alt=f"The image with its {METHOD_NAMES[method]} map",
                )
        with controls:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.html(legend_html(picture), width="stretch")
                with st.popover("About this map", type="tertiary", icon=":material/help:"):
                    st.markdown(ABOUT_THE_MAP)
            st.caption(prediction.map_note or "")
        with right:
            rates = _accuracy_rates(predictor.bundle)
            _what_to_know(prediction, predictor.bundle, rates)
            _heading("Download")
            downloads(case, view, prediction, predictor.bundle, rates, picture)


def _controls() -> tuple[str, str, float, bool]:
    """Draw the map's controls in one row; return method, colour map, opacity, outline or not."""
    one, two, three, four = st.columns([6, 6, 6, 5], vertical_alignment="bottom")
    method = one.selectbox(
        "Method",
        METHODS,
        index=METHODS.index(DEFAULT_METHOD),
        format_func=METHOD_NAMES.get,
        key="map_method",
    )
    outline = four.toggle("Outline", key="map_outline")
    name = two.selectbox("Colours", COLOUR_MAPS, key="map_colours", disabled=outline)
    opacity = three.slider("Opacity", 0, 100, 60, step=5, format="%d%%", key="map_opacity")
    return method, name, opacity / 100, outline


def _what_to_know(prediction: Prediction, bundle: Bundle, rates: Rates) -> None:
    _heading("Most similar training images")
    st.markdown(wording.nearest_images(prediction.neighbours))
    _nearest(prediction.neighbours.paths)
    if not prediction.accuracy_applies:
        st.markdown(wording.ACCURACY_DOES_NOT_APPLY)
        return
    if not rates:
        st.markdown("This model comes with no numbers from a test set.")
        return
    with st.expander("Accuracy on the test set"):
        st.markdown(_accuracy_table(rates))
        st.caption(
            f"{wording.TEST_SET} {wording.exclusion_threshold(bundle.calibration, bundle.config)}"
        )


def _accuracy_rates(bundle: Bundle) -> Rates:
    """Return the bundle's three-way accuracy on its test images, worked out once."""
    return _rates(bundle.config["files"][PREDICTIONS], bundle)


@st.cache_data(max_entries=16, show_spinner=False)
def _rates(digest: str, _bundle: Bundle) -> Rates:
    return verdict_rates(_bundle.predictions())


def _accuracy_table(rates: Rates) -> str:
    """Return the rates as a Markdown table: a row a result, a column a class."""
    named = {"PNEUMONIA": "With pneumonia", "NORMAL": "Without"}
    classes = [label for label in named if label in rates]
    counts = {label: sum(rate.images for rate in rates[label].values()) for label in classes}
    heads = "".join(f" {named[label]} ({counts[label]}) |" for label in classes)
    lines = [f"| Result |{heads}", "|---|" + "---|" * len(classes)]
    for verdict in rates[classes[0]]:
        cells = "".join(f" {wording.rate(rates[label][verdict])} |" for label in classes)
        lines.append(f"| {SHOWN_AS[verdict]} |{cells}")
    return "\n".join(lines)


def _nearest(paths: tuple[str, ...]) -> None:
    """Show the nearest training images where the dataset is on this computer's disk."""
    try:
        folder = find_dataset(None)
    except DatasetError:
        return
    there = [path for path in paths if (folder / path).is_file()][:NEAREST_SHOWN]
    if there:
        kinds = ["normal" if "NORMAL" in path else _kind(path) for path in there]
        with st.expander(f"Show the {len(there)} most similar"):
            st.image(
                [str(folder / path) for path in there],
                caption=kinds,
                width=110,
                alt=[f"Similar training image {n}: {kind}" for n, kind in enumerate(kinds, 1)],
            )


def _kind(path: str) -> str:
    return next((shown for name, shown in SUBTYPES.items() if name in path), "pneumonia")


def _heading(text: str) -> None:
    st.html(f'<h2 class="small">{text}</h2>')
