"""The Dataset page: contents and quality of the dataset."""

import streamlit as st

from ui.common.errors import show_errors
from ui.common.folders import is_local
from ui.common.frame import frame
from ui.common.public import is_public, shows_dataset
from ui.common.text import as_text
from ui.common.widgets import csv_button
from ui.dataset.averages import show_averages
from ui.dataset.contents import show_contents
from ui.dataset.download import offer_download
from ui.dataset.features import show_one_feature, show_shortcuts
from ui.dataset.findings import show_findings
from ui.dataset.gallery import show_gallery
from ui.dataset.source import Source, load_source, rescan, show_folder_picker


def show_page(model: str | None) -> None:
    """Draw everything below the frame."""
    st.title("Dataset quality")
    source = load_source(model)
    if source is None:
        show_folder_picker()
        offer_download()
        return
    show_origin(source)
    st.header("Contents", divider="gray")
    show_contents(source)
    st.header("Findings", divider="gray")
    show_findings(source)
    st.header("Shortcut features", divider="gray")
    show_shortcuts(source)
    st.subheader("One feature by class")
    show_one_feature(source)
    st.header("Average images", divider="gray")
    averages = st.container()
    st.header("Gallery", divider="gray")
    show_gallery(source)
    st.header("Table", divider="gray")
    show_table(source)
    # Last: averaging the images of a new folder takes time, and the rest can be read meanwhile.
    with averages:
        show_averages(source)


def show_origin(source: Source) -> None:
    if source.folder is None:
        reason = (
            "There are no images on the computer that runs this app"
            if shows_dataset()
            else "This server does not show the images of the dataset"
        )
        st.info(
            f"{reason}: everything except images comes from the stored table of the model "
            f"{as_text(source.name)}.",
            icon=":material/info:",
        )
    else:
        folder = f" Folder: {as_text(source.folder, 400)}." if is_local() else ""
        st.caption(
            "The default dataset: chest X-rays of children aged 1 to 5 from Guangzhou (Kermany et "
            f"al., Cell 2018; CC BY 4.0).{folder}"
        )
    if is_public():
        return
    with st.expander(
        "Another folder, or the Kaggle download" if source.folder is None else "Another folder",
        expanded=source.folder is None,
        icon=":material/folder_open:",
    ):
        show_folder_picker()
        if source.folder is None:
            offer_download()
        else:
            st.button(
                "Rescan",
                icon=":material/refresh:",
                on_click=show_errors()(rescan),
                help="Finds images that were changed in place. Only those are read again.",
            )


def show_table(source: Source) -> None:
    st.write("One row per image, with all measured features.")
    csv_button(source.table, "dataset", "Download the table (CSV)")
    expander = st.expander("Show the table", key="dataset_table", on_change="rerun")
    if expander.open:
        expander.dataframe(source.table, hide_index=True)


chosen_model = frame("Dataset")
with show_errors():
    show_page(chosen_model)
