"""The section "Gallery": all images by filters and pages, and one image enlarged."""

import math
from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.errors import show_errors
from ui.common.frame import open_in_prediction
from ui.common.text import as_text
from ui.common.thumbnails import show_thumbnail
from ui.dataset.source import SPLITS, Source
from ui.viewer.on_disk import show_file
from xray_core.dataset.finding import SEVERITIES

_PER_PAGE = 18
_WIDTH = 150  # pixels
_ANY = "any"
_OPEN = "gallery_open"  # session state: the number of the enlarged image
_HIDDEN = ("sha256", "perceptual_hash", "problem", "aspect", "colour")


@st.fragment
def show_gallery(source: Source) -> None:
    """Draw the filters and one page of the images that match them."""
    with show_errors():
        if source.folder is None:
            st.info(
                "The gallery needs the images on the computer that runs this app.",
                icon=":material/info:",
            )
            return
        images = _filter(source)
        pages = max(1, math.ceil(len(images) / _PER_PAGE))
        # A number kept from a longer list would be out of the new list's range.
        if st.session_state.get("gallery_page", 1) > pages:
            st.session_state["gallery_page"] = 1
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        page = right.number_input(f"Page (of {pages:,})", 1, pages, key="gallery_page")
        first = (page - 1) * _PER_PAGE
        shown = images.iloc[first : first + _PER_PAGE]
        left.caption(
            f"Images {first + 1:,} to {first + len(shown):,} of {len(images):,}."
            if len(images)
            else "No images match these filters."
        )
        with st.container(horizontal=True, key="gallery_images"):
            for number, image in enumerate(shown.to_dict("records"), first + 1):
                _show_tile(source.folder, images, image, number)


def show_thumbnails(folder: Path, images: pd.DataFrame) -> None:
    """Draw images small, with their class and split."""
    with st.container(horizontal=True):
        for image in images.to_dict("records"):
            with st.container(width=116, gap=None):
                _show_image(folder, image)


def _filter(source: Source) -> pd.DataFrame:
    table = source.table
    findings = {
        f.key: f for f in source.findings if "path" in f.rows and f.severity != SEVERITIES[-1]
    }
    with st.container(horizontal=True, key="gallery_filters"):
        splits = [split for split in SPLITS if (table["split"] == split).any()]
        split = st.selectbox("Split", [_ANY, *splits], key="gallery_split", width=130)
        label = st.selectbox(
            "Class", [_ANY, *sorted(table["label"].unique())], key="gallery_label", width=150
        )
        subtype = st.selectbox(
            "Subtype", [_ANY, *sorted(table["subtype"].unique())], key="gallery_subtype", width=140
        )
        finding = st.selectbox(
            "Flagged by",
            [_ANY, *findings],
            format_func=lambda key: key if key == _ANY else findings[key].title,
            key="gallery_finding",
            width=320,
            help="Only the images of one of the findings above.",
        )
        patient = st.text_input(
            "Patient or file name", key="gallery_patient", placeholder="bacteria-23", width=190
        ).strip()
    matches = pd.Series(True, index=table.index)
    for column, value in (("split", split), ("label", label), ("subtype", subtype)):
        if value != _ANY:
            matches &= table[column] == value
    if finding != _ANY:
        matches &= table["path"].isin(findings[finding].rows["path"])
    if patient:
        in_name = table["path"].str.contains(patient, case=False, regex=False)
        matches &= in_name | (table["patient"].str.lower() == patient.lower())
    images = table[matches]
    # Sorted by name, the first pages would show one class only; sorted by hash they are mixed.
    return images.sort_values("sha256") if not patient and "sha256" in images else images


def _show_tile(folder: Path, images: pd.DataFrame, image: dict, number: int) -> None:
    """Draw an image small, with the button that opens it: the one with this number of `images`."""
    with st.container(width=_WIDTH, gap="xsmall"):
        _show_image(folder, image)
        name = Path(image["path"]).name
        if st.button(
            f"Open {number}", key=f"open {image['path']}", width="stretch", help=as_text(name)
        ):
            st.session_state[_OPEN] = number
            _show_enlarged(folder, images)


def _show_image(folder: Path, image: dict) -> None:
    subtype = image.get("subtype", "none")
    name = image["label"] if subtype == "none" else subtype
    caption = f"{as_text(name).capitalize()} · {as_text(image['split'])}"
    show_thumbnail(folder / image["path"], caption, alt=f"Image {image['path']}")


@st.dialog("Image of the dataset", width="large")
def _show_enlarged(folder: Path, images: pd.DataFrame) -> None:
    """Draw one of `images` in the viewer, whose arrow keys open the others."""
    with show_errors():
        number = st.session_state[_OPEN]
        image = images.iloc[number - 1].to_dict()
        path = folder / image["path"]

        def step(change: int) -> None:
            st.session_state[_OPEN] = number + change

        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Open in Prediction", type="primary", icon=":material/radiology:"):
                open_in_prediction(path.resolve())
            st.caption(f"Image {number:,} of {len(images):,}")
        left, right = st.columns([5, 2])
        with left:
            show_file(
                path,
                key="gallery-viewer",
                description=f"Image {image['path']}.",
                place=number - 1,
                images=len(images),
                on_step=step,
            )
        properties = {
            name: f"{value:.4g}" if isinstance(value, float) else as_text(value)
            for name, value in image.items()
            if name not in _HIDDEN
        }
        right.table(pd.Series(properties, name="Value").rename_axis("Property"))
