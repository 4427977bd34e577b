"""The Prediction page: drop one X-ray, or a stack of them, and read the answer."""

import random
from pathlib import Path

import streamlit as st

from ui.frame import frame, sentences
from ui.prediction_answer import STYLE as ANSWER_STYLE
from ui.prediction_detail import show
from ui.prediction_films import (
    Film,
    drop_key,
    films,
    forget,
    incoming,
    left_out,
    on_drop,
    take_path,
)
from ui.prediction_model import bundle, predictor
from ui.prediction_run import judge_all, work_to_do
from ui.prediction_style import STYLE
from ui.prediction_table import choose_film, table_csv
from xray_core.dataset.index import find_dataset
from xray_core.errors import DatasetError, UnreadableImage
from xray_core.model.bundle import Bundle

WELCOME = """
Drop a **frontal chest X-ray** above, several of them, or a ZIP (JPEG, PNG, TIFF or DICOM), or
press an example. The answer says what the network finds, how sure it is, where it looked, and
what to be careful about.

Your films stay in this computer's memory until you close the page. Nothing is stored or sent
anywhere, and file names are shown only where you ask for them.
"""


def main() -> None:
    model = frame("Prediction")
    st.html(ANSWER_STYLE + STYLE)
    st.html('<h1 class="page">Pneumonia on a chest X-ray</h1>')
    if model is None:
        return
    chosen = bundle(model)
    _opened_elsewhere()
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
            label_visibility="collapsed",
        )
    with others, st.container(horizontal=True, key="examples"):
        for label, path in chosen.examples().items():
            kind = label.lower()
            st.button(
                f"Example: {kind}",
                on_click=_take,
                args=(path, f"Example: {kind} (an average of five similar training films)"),
            )
        tests = _test_films(chosen)
        if tests:
            st.button("Random film", on_click=_random_film, args=(tests,))
        if films() or incoming():
            st.button(
                "Forget",
                icon=":material/delete:",
                type="tertiary",
                on_click=forget,
                help="Remove the films and their answers from memory now",
            )


def _test_films(chosen: Bundle) -> list[tuple[str, str]]:
    """Return (path, label) of the test split's films where the dataset is on this disk."""
    try:
        folder = find_dataset(None)
    except DatasetError:
        return []
    table = chosen.predictions()
    table = table[table["fold"] == "test"]
    return [
        (str(folder / file), label)
        for file, label in zip(table["file"], table["label"], strict=True)
        if (folder / file).is_file()
    ]


def _random_film(tests: list[tuple[str, str]]) -> None:
    path, label = random.choice(tests)
    _take(Path(path), f"A film of the test split, labelled {label.lower()} there")


def _opened_elsewhere() -> None:
    """Open the film that another page asked for."""
    path = st.session_state.pop("open_path", None)
    if path:
        _take(Path(path), "The film you opened")


def _take(path: Path, origin: str) -> None:
    """Open a film on disk, or say in a passing message why that cannot be done."""
    try:
        take_path(path, origin)
    except UnreadableImage as error:
        st.toast(str(error), icon=":material/error:")


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
        table_csv(every, names=names),
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
