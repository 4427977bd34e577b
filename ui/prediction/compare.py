"""One image analysed by all models, side by side."""

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from ui.common.errors import show_errors
from ui.common.models import find_predictor, list_models
from ui.common.text import as_text
from ui.prediction.cases import Case
from ui.prediction.result import SYMBOLS
from ui.prediction.view import DEFAULT_METHOD, View
from xray_core.errors import BundleError
from xray_core.prediction.compare import ModelRow, compare_models, describe_comparison
from xray_core.prediction.overlay import draw_pictures
from xray_core.prediction.wording import percent

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

COLUMNS = 3


def compare_button(case: Case, view: View, predictor: "Predictor") -> None:
    """Draw the button that compares the models, where there is more than one."""
    if sum(problem is None for _, problem in list_models()) < 2:
        return
    if st.button("Compare models", icon=":material/compare:"):
        _comparison(case, view, predictor)


@st.dialog("All models on this image", width="large")
@show_errors()
def _comparison(case: Case, view: View, predictor: "Predictor") -> None:
    """Show the results; the models stay loaded for the next image."""
    with st.spinner("Analysing with each model; a model is loaded at its first use …"):
        rows = compare_models(view.prepared, _predictors(predictor), explain=DEFAULT_METHOD)
    st.markdown(f"{as_text(case.title)}. {describe_comparison(rows)}")
    for start in range(0, len(rows), COLUMNS):
        chunk = rows[start : start + COLUMNS]
        for column, row in zip(st.columns(COLUMNS), chunk, strict=False):
            with column:
                _show_row(row, view)


def _predictors(selected: "Predictor") -> "Iterator[Predictor]":
    yield selected
    for name, problem in list_models():
        if problem is not None or name == selected.bundle.folder.name:
            continue
        try:
            yield find_predictor(name)
        except BundleError as error:
            st.warning(as_text(error), icon=":material/warning:")


def _show_row(row: ModelRow, view: View) -> None:
    st.html(f'<h3 class="small">{escape(row.name)}</h3>')
    prediction = row.prediction
    if prediction is None:
        st.markdown(as_text(row.problem))
        return
    st.markdown(f"{SYMBOLS[prediction.verdict]} **{row.shown_as}**")
    if row.probability is not None:
        note = f" ({prediction.probability_note})" if prediction.probability_note else ""
        st.markdown(f"Probability {percent(row.probability)}{note}")
    pictures = draw_pictures(view.small, prediction)
    shown = view.small if pictures.overlay is None else pictures.overlay.pixels
    st.image(shown, alt=f"The image with the Grad-CAM map of {row.name}")
    for caution in row.cautions:
        st.caption(caution)
