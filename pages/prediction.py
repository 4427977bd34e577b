"""The Prediction page: drop one X-ray, or a stack of them, and read the answer."""

import streamlit as st

from ui.frame import frame, sentences
from ui.prediction_answer import STYLE as ANSWER_STYLE
from ui.prediction_answer import pre_test
from ui.prediction_detail import show
from ui.prediction_films import (
    Film,
    drop_key,
    films,
    forget,
    incoming,
    left_out,
    on_drop,
)
from ui.prediction_model import bundle, predictor
from ui.prediction_open import open_asked_for, open_film, open_random, tested_films
from ui.prediction_run import judge_all, work_to_do
from ui.prediction_style import STYLE
from ui.prediction_table import choose_film, table_csv
from ui.prediction_uploads import LIMIT_WORDS, bound_uploads
from xray_core.model.bundle import Bundle

WELCOME = f"""
Drop a **frontal chest X-ray** above, several of them, or a ZIP (JPEG, PNG, TIFF or DICOM), or
press an example. One drop may hold up to {LIMIT_WORDS}. The answer says what the network
finds, how sure it is, where it looked, and what to be careful about.

Images are held in the memory of the computer that runs this app until you close the page. Nothing
is stored or sent anywhere, and file names are shown only where you ask for them.
"""


def main() -> None:
    model = frame("Prediction")
    st.html(ANSWER_STYLE + STYLE)
    st.html('<h1 class="page">Pneumonia on a chest X-ray</h1>')
    if model is None:
        return
    chosen = bundle(model)
    bound_uploads()
    open_asked_for()
    _drop_row(chosen)
    judged_by = f"{chosen.name} {chosen.version}"
    busy, waiting = st.container(key="busy"), work_to_do(judged_by)
    # Emptied first where films wait, so that no answer to an earlier film is left standing while
    # the next is judged; else kept, so that the table keeps its place.
    place = st.empty() if waiting else st.container()
    if not films() and not waiting:
        place.markdown(WELCOME)
        return
    with busy:
        asked = predictor(model)
        if waiting:
            judge_all(asked, judged_by)
    with place.container() if waiting else place:
        if left_out():
            st.warning(left_out(), icon=":material/warning:")
        shown = films()[0] if len(films()) == 1 else _several()
        if shown is not None:
            show(shown, asked, judged_by)


def _drop_row(chosen: Bundle) -> None:
    """Draw the drop zone with the examples beside it, in one low row."""
    zone, others = st.columns([1, 1], vertical_alignment="center")
    with zone, st.empty().container(key="drop"):
        st.file_uploader(
            "Chest X-rays: JPEG, PNG, TIFF, DICOM or ZIP",
            accept_multiple_files=True,
            key=drop_key(),
            on_change=on_drop,
            args=(drop_key(),),
            label_visibility="collapsed",
        )
    with others, st.container(horizontal=True, key="examples"):
        for label, path in chosen.examples().items():
            kind = label.lower()
            st.button(
                f"Example: {kind}",
                on_click=open_film,
                args=(path, f"Example: {kind} (an average of five similar training films)"),
            )
        tests = tested_films(chosen)
        if tests:
            st.button("Random film", on_click=open_random, args=(tests,))
        if films() or incoming():
            st.button(
                "Forget",
                icon=":material/delete:",
                type="tertiary",
                on_click=forget,
                help="Remove the films and their answers from memory now",
            )


def _several() -> Film | None:
    """Draw the table of several films and return the one to show below it."""
    every = films()
    table, below = st.container(), st.columns([3, 2, 2], vertical_alignment="bottom")
    names = below[1].checkbox(
        "Show file names",
        key="prediction_names",
        help="File names can identify patients; they then stand in the table and the CSV.",
    )
    shown = choose_film(every, table, below[0], names=names)
    below[2].download_button(
        "All answers (CSV)",
        table_csv(every, names=names, pre_test=pre_test()),
        file_name="chest-xray-answers.csv",
        mime="text/csv",
        icon=":material/table:",
        on_click="ignore",
    )
    if shown is None:
        st.info("No film has one of these verdicts.")
    return shown


with sentences():
    main()
