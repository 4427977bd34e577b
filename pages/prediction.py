"""The Prediction page: drop one X-ray, or a stack of them, and read the answer."""

import streamlit as st

from ui.common.frame import frame, sentences
from ui.common.models import bundle, predictor
from ui.common.streamlit_internals import bound_uploads, closed_tab_seconds
from ui.prediction.analysis import analyse_all, work_to_do
from ui.prediction.cases import LIMIT_WORDS, Case, Visit, visit, widget_key
from ui.prediction.details import show
from ui.prediction.open import name_origin, open_asked_for, open_case, open_random, tested_cases
from ui.prediction.result import STYLE as ANSWER_STYLE
from ui.prediction.result import pre_test
from ui.prediction.style import STYLE
from ui.prediction.table import choose_case, table_csv
from ui.prediction.uploads import drop_key, fits, on_drop, take_dropped
from xray_core.model.bundle import Bundle

WELCOME = f"""
Drop a **frontal chest X-ray** above, several of them, or a ZIP (JPEG, PNG, TIFF or DICOM), or
press an example. One drop may hold up to {LIMIT_WORDS}. You get a result, a probability, a heat
map and cautions.

Images are held in the memory of the computer that runs this app until you press Clear, and for
up to {closed_tab_seconds()} seconds after you close the page. Nothing is stored or sent anywhere,
and file names are shown only where you ask for them.
"""


def main() -> None:
    model = frame("Prediction")
    st.html(ANSWER_STYLE + STYLE)
    st.html('<h1 class="page">Pneumonia on a chest X-ray</h1>')
    if model is None:
        return
    chosen, mine = bundle(model), visit()
    bound_uploads(fits)
    open_asked_for(mine)
    _drop_row(chosen, mine)
    name_origin(mine, model)
    analysed_by = f"{chosen.name} {chosen.version}"
    busy, waiting = st.container(key="busy"), work_to_do(mine, analysed_by)
    # Emptied first where images wait, so that no answer to an earlier image is left standing while
    # the next is judged; else kept, so that the table keeps its place.
    place = st.empty() if waiting else st.container()
    if not mine.cases:
        with place.container():
            _say_what_was_left_out(mine)
            st.markdown(WELCOME)
        return
    with busy:
        asked = predictor(model)
        if waiting:
            analyse_all(mine, asked, analysed_by)
    with place.container() if waiting else place:
        _say_what_was_left_out(mine)
        shown = mine.cases[0] if len(mine.cases) == 1 else _several(mine.cases)
        if shown is not None:
            show(shown, asked, analysed_by)


def _drop_row(chosen: Bundle, mine: Visit) -> None:
    """Draw the drop zone with the examples beside it, in one low row."""
    zone, others = st.columns([1, 1], vertical_alignment="center")
    key = drop_key(mine)
    with zone, st.container(key="drop"):
        dropped = st.file_uploader(
            "Chest X-rays: JPEG, PNG, TIFF, DICOM or ZIP",
            accept_multiple_files=True,
            key=key,
            on_change=on_drop,
            args=(mine, key),
            label_visibility="collapsed",
        )
    if take_dropped(mine, dropped):  # where Streamlit did not call `on_drop`
        st.rerun()
    with others, st.container(horizontal=True, key="examples"):
        for label, path in chosen.examples().items():
            name = f"Example: {label.lower()}"
            st.button(
                name,
                on_click=open_case,
                args=(mine, path),
                kwargs={"origin": f"{name} (an average of five similar training images)"},
            )
        tests = tested_cases(chosen)
        if tests:
            st.button("Random test image", on_click=open_random, args=(mine, tests))
        if mine.cases:
            st.button(
                "Clear",
                icon=":material/delete:",
                type="tertiary",
                on_click=mine.clear,
                help="Remove the images and their results from memory now",
            )


def _say_what_was_left_out(mine: Visit) -> None:
    if mine.left_out:
        st.warning(mine.left_out_words(), icon=":material/warning:")


def _several(every: list[Case]) -> Case | None:
    """Draw the table of several images and return the one to show below it."""
    table, below = st.container(), st.columns([3, 2, 2], vertical_alignment="bottom")
    names = below[1].checkbox(
        "Show file names",
        key=widget_key("prediction_names"),
        help="File names can identify patients; they then stand in the table and the CSV.",
    )
    shown = choose_case(every, table, below[0], names=names)
    below[2].download_button(
        "All results (CSV)",
        table_csv(every, names=names, pre_test=pre_test()),
        file_name="chest-xray-results.csv",
        mime="text/csv",
        icon=":material/table:",
        on_click="ignore",
    )
    if shown is None:
        st.info("No images match this filter.")
    return shown


with sentences():
    main()
