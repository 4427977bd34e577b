"""The Dataset page: what this data is, and what is wrong with it."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.folders import is_local
from ui.common.frame import frame
from ui.common.text import as_text
from ui.common.widgets import csv_button
from ui.dataset import sections
from ui.dataset.download import offer_download
from ui.dataset.gallery import gallery
from ui.dataset.source import Source, choose_source, folder_picker, measure_again


def show(bundle: str | None) -> None:
    st.title("The data, and what is wrong with it")
    source = choose_source(bundle)
    if source is None:
        folder_picker()
        offer_download()
        return
    where_from(source)
    st.header("What it holds", divider="gray")
    sections.overview(source)
    st.header("What is wrong with it", divider="gray")
    sections.findings(source)
    st.header("What gives the class away", divider="gray")
    sections.shortcuts(source)
    st.subheader("One property by class")
    sections.distributions(source)
    st.header("The average image", divider="gray")
    averages = st.container()
    st.header("Gallery", divider="gray")
    gallery(source)
    st.header("The table", divider="gray")
    whole_table(source)
    # Last, since averaging a new folder takes a while and everything else can be read meanwhile.
    with averages:
        sections.averages(source)


def where_from(source: Source) -> None:
    if source.folder is None:
        st.info(
            "There are no images on the computer that runs this app: everything except images "
            f"comes from the stored table of the model {as_text(source.name)}.",
            icon=":material/info:",
        )
    else:
        st.caption(
            "Chest X-rays of children of one to five years, from Guangzhou (Kermany et al., Cell "
            "2018; CC BY 4.0), unless you chose another folder."
            + (f" Read from {as_text(source.folder, 400)}." if is_local() else "")
        )
    with st.expander(
        "Another folder, or the Kaggle download" if source.folder is None else "Another folder",
        expanded=source.folder is None,
        icon=":material/folder_open:",
    ):
        folder_picker()
        if source.folder is None:
            offer_download()
        else:
            st.button(
                "Measure again",
                icon=":material/refresh:",
                on_click=show_errors()(measure_again),
                help="Looks for images that were changed in place; only those are read again.",
            )


def whole_table(source: Source) -> None:
    st.write("One row an image, with all that was measured.")
    csv_button(source.table, "dataset", "Download the table (CSV)")
    opened = st.expander("Show the table", key="dataset_table", on_change="rerun")
    if opened.open:
        opened.dataframe(source.table, hide_index=True)


chosen = frame("Dataset")
with show_errors():
    show(chosen)
