"""The Prediction page: upload one chest X-ray or several, and read the result."""

from typing import TYPE_CHECKING

import streamlit as st

from ui.common.errors import show_errors
from ui.common.frame import frame
from ui.common.models import load_bundle, load_predictor
from ui.common.streamlit_internals import bound_uploads
from ui.prediction.analysis import analyse_all, request_analysis
from ui.prediction.cases import Visit, visit
from ui.prediction.details import prepare_next, show_case
from ui.prediction.dicom_results import send_all
from ui.prediction.downloads import downloads_of_all
from ui.prediction.home import PRIVACY, describe_model, example_buttons, example_cards
from ui.prediction.open import describe_origins, open_requested
from ui.prediction.pacs_tab import (
    ABOUT_PACS,
    PacsOffer,
    fetch_images,
    files_beside_pacs,
    is_fetching,
    pacs_in_bar,
    pacs_offer,
)
from ui.prediction.read_first_page import show_read_first
from ui.prediction.several import choose_case
from ui.prediction.style import STYLE
from ui.prediction.uploads import drop_key, fits, handle_drop, take_dropped
from xray_core.model.bundle import Bundle

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

TITLE = '<h1 class="page">Chest X-ray</h1>'


def main() -> None:
    model = frame("Prediction")
    st.html(STYLE)
    if model is None:
        st.html(TITLE)
        return
    bundle, mine, offer = load_bundle(model), visit(), pacs_offer()
    bound_uploads(fits)
    if show_read_first(bundle):
        return
    open_requested(mine)
    if offer is not None and is_fetching(offer):
        st.html(TITLE)
        fetch_images(mine, offer)
    if not mine.cases:
        _home(bundle, mine, offer)
        return
    _bar(bundle, mine, offer)
    describe_origins(mine, model)
    busy, waiting = (
        st.container(key="busy"),
        request_analysis(mine, f"{bundle.name} {bundle.version}"),
    )
    # An empty place removes an earlier result while new images are analysed. Without new images a
    # plain container keeps the list's scroll position.
    place = st.empty() if waiting else st.container()
    with busy:
        predictor = load_predictor(model)
        if waiting:
            analyse_all(mine, predictor)
    with place.container() if waiting else place:
        _reading(mine, predictor)


def _home(bundle: Bundle, mine: Visit, offer: PacsOffer | None) -> None:
    """Draw the page without images: drop zone, examples, what the model can do, privacy."""
    st.html(TITLE)
    with st.container(key="home"):
        with st.container() if offer is None else files_beside_pacs(mine, offer):
            _sources(mine)
        _left_out_warning(mine)
        example_cards(mine, bundle)
        st.markdown(describe_model(bundle))
        st.caption(PRIVACY if offer is None else PRIVACY + ABOUT_PACS)


def _bar(bundle: Bundle, mine: Visit, offer: PacsOffer | None) -> None:
    """Draw the title, the sources of images and what concerns all images in one row."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="bar"):
        st.html(TITLE, width="content")
        _sources(mine)
        if offer is not None:
            pacs_in_bar(mine, offer)
        with st.popover("Examples", icon=":material/imagesmode:"):
            example_buttons(mine, bundle)
        st.button(
            "Clear",
            icon=":material/delete:",
            type="tertiary",
            on_click=mine.clear,
            help="Remove the images and their results from memory now",
        )


def _sources(mine: Visit) -> None:
    """Draw the drop zone."""
    key = drop_key(mine)
    with st.container(key="drop"):
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


def _reading(mine: Visit, predictor: "Predictor") -> None:
    """Draw the list of several images, and the selected image with its result."""
    _left_out_warning(mine)
    case, numbers = mine.cases[0], [1]
    with st.container(key="reading"), st.container(key="case"):
        if len(mine.cases) > 1:
            with st.container(key="several", gap="xsmall"):
                case, numbers = choose_case(mine.cases)
            with st.container(key="all-images", gap="xsmall"):
                downloads_of_all(mine, predictor)
                send_all(mine.cases, predictor)
        show_case(case, predictor, numbers)
    prepare_next(case, predictor, numbers)


def _left_out_warning(mine: Visit) -> None:
    if mine.left_out:
        st.warning(mine.left_out_message(), icon=":material/warning:")


with show_errors():
    main()
