"""The Prediction page: upload one chest X-ray or several, and read the result."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.frame import frame
from ui.common.models import load_bundle, load_predictor
from ui.common.streamlit_internals import bound_uploads, closed_tab_seconds
from ui.prediction.analysis import analyse_all, request_analysis
from ui.prediction.cases import DROP_LIMIT, Case, Visit, visit, widget_key
from ui.prediction.details import show_case
from ui.prediction.open import (
    describe_origins,
    open_case,
    open_random,
    open_requested,
    test_images,
)
from ui.prediction.read_first_page import show_read_first
from ui.prediction.result import pre_test
from ui.prediction.style import STYLE
from ui.prediction.table import select_case, table_csv
from ui.prediction.uploads import drop_key, fits, handle_drop, take_dropped
from xray_core.model.bundle import Bundle

TITLE = '<h1 class="page">Chest X-ray</h1>'
WELCOME = f"""
Drop a **frontal chest X-ray** above, several of them, or a ZIP (JPEG, PNG, TIFF or DICOM), or
press an example. One drop may hold up to {DROP_LIMIT}. You get a result, a probability, a heat
map and cautions.

Images are held in the memory of the computer that runs this app until you press Clear, and for
up to {closed_tab_seconds()} seconds after you close the page. Nothing is stored or sent anywhere,
and file names are shown only where you ask for them.
"""


def main() -> None:
    model = frame("Prediction")
    st.html(STYLE)
    if model is None:
        st.html(TITLE)
        return
    bundle, mine = load_bundle(model), visit()
    bound_uploads(fits)
    if show_read_first(bundle):
        return
    open_requested(mine)
    _drop_row(bundle, mine)
    describe_origins(mine, model)
    busy, waiting = (
        st.container(key="busy"),
        request_analysis(mine, f"{bundle.name} {bundle.version}"),
    )
    # An empty place removes an earlier result while new images are analysed. Without new images a
    # plain container keeps the table's scroll position.
    place = st.empty() if waiting else st.container()
    if not mine.cases:
        with place.container():
            _left_out_warning(mine)
            st.markdown(WELCOME)
        return
    with busy:
        predictor = load_predictor(model)
        if waiting:
            analyse_all(mine, predictor)
    with place.container() if waiting else place:
        _left_out_warning(mine)
        case, numbers = (mine.cases[0], [1]) if len(mine.cases) == 1 else _table(mine.cases)
        if case is not None:
            show_case(case, predictor, numbers)


def _drop_row(bundle: Bundle, mine: Visit) -> None:
    """Draw the title, the drop zone and the examples in one row."""
    title, zone, examples = st.columns([2, 5, 8], vertical_alignment="center", gap="small")
    title.html(TITLE)
    key = drop_key(mine)
    with zone, st.container(key="drop"):
        dropped = st.file_uploader(
            "Chest X-rays: JPEG, PNG, TIFF, DICOM or ZIP",
            accept_multiple_files=True,
            key=key,
            on_change=handle_drop,
            args=(mine, key),
            label_visibility="collapsed",
        )
    if take_dropped(mine, dropped):  # where Streamlit did not call `handle_drop`
        st.rerun()
    with examples, st.container(horizontal=True, key="examples"):
        for label, path in bundle.examples().items():
            name = f"Example: {label.lower()}"
            st.button(
                name,
                on_click=open_case,
                args=(mine, path),
                kwargs={"origin": f"{name} (an average of five similar training images)"},
            )
        images = test_images(bundle)
        if images:
            st.button("Random test image", on_click=open_random, args=(mine, images))
        if mine.cases:
            st.button(
                "Clear",
                icon=":material/delete:",
                type="tertiary",
                on_click=mine.clear,
                help="Remove the images and their results from memory now",
            )


def _left_out_warning(mine: Visit) -> None:
    if mine.left_out:
        st.warning(mine.left_out_message(), icon=":material/warning:")


def _table(cases: list[Case]) -> tuple[Case | None, list[int]]:
    """Draw the table of several images; return what `select_case` returns."""
    table, below = st.container(), st.columns([3, 2, 2], vertical_alignment="bottom")
    names = below[1].checkbox(
        "Show file names",
        key=widget_key("prediction_names"),
        help="Shows file names in the table and in the CSV. File names can identify patients.",
    )
    selected, numbers = select_case(cases, table, below[0], names=names)
    below[2].download_button(
        "All results (CSV)",
        table_csv(cases, names=names, pre_test=pre_test()),
        file_name="chest-xray-results.csv",
        mime="text/csv",
        icon=":material/table:",
        on_click="ignore",
    )
    if selected is None:
        st.info("No images match this filter.")
    return selected, numbers


with show_errors():
    main()
