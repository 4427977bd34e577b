"""The images themselves: thumbnails, the gallery with its filters, and one image enlarged."""

import io
import math
from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.frame import open_in_prediction, sentences
from ui.common.text import as_markdown, as_text
from ui.dataset.source import Source
from xray_core.errors import UnreadableImage

_PER_PAGE = 18
_THUMBNAIL = 150  # pixels
_ANY = "any"


@st.fragment
def gallery(source: Source) -> None:
    """All images by filters and pages; one opens in a larger view."""
    with sentences():
        if source.folder is None:
            st.info(
                "The gallery needs the images on the computer that runs this app.",
                icon=":material/info:",
            )
            return
        images = _filtered(source)
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
            else "No image fits these filters."
        )
        with st.container(horizontal=True, key="gallery_images"):
            for number, image in enumerate(shown.to_dict("records"), first + 1):
                _tile(source.folder, image, number)


def thumbnails(folder: Path, images: pd.DataFrame) -> None:
    """Draw small pictures of some images, with their class and split."""
    with st.container(horizontal=True):
        for image in images.to_dict("records"):
            with st.container(width=116, gap=None):
                _picture(folder, image)


def _filtered(source: Source) -> pd.DataFrame:
    table = source.table
    behind = {f.key: f for f in source.findings if "path" in f.rows and f.severity != "checked"}
    with st.container(horizontal=True, key="gallery_filters"):
        splits = [s for s in ("train", "val", "test") if (table["split"] == s).any()]
        split = st.selectbox("Split", [_ANY, *splits], key="gallery_split", width=130)
        label = st.selectbox(
            "Class", [_ANY, *sorted(table["label"].unique())], key="gallery_label", width=150
        )
        subtype = st.selectbox(
            "Subtype", [_ANY, *sorted(table["subtype"].unique())], key="gallery_subtype", width=140
        )
        suspicion = st.selectbox(
            "Suspicious",
            [_ANY, *behind],
            format_func=lambda key: key if key == _ANY else behind[key].title,
            key="gallery_finding",
            width=320,
            help="Only the images behind one of the findings above.",
        )
        patient = st.text_input(
            "Patient or file name", key="gallery_patient", placeholder="bacteria-23", width=190
        ).strip()
    chosen = pd.Series(True, index=table.index)
    for column, value in (("split", split), ("label", label), ("subtype", subtype)):
        if value != _ANY:
            chosen &= table[column] == value
    if suspicion != _ANY:
        chosen &= table["path"].isin(behind[suspicion].rows["path"])
    if patient:
        name = table["path"].str.contains(patient, case=False, regex=False)
        chosen &= name | (table["patient"].str.lower() == patient.lower())
    images = table[chosen]
    # In the order of names the first pages would show one class only; hashes mix them.
    return images.sort_values("sha256") if not patient and "sha256" in images else images


def _tile(folder: Path, image: dict, number: int) -> None:
    with st.container(width=_THUMBNAIL, gap="xsmall"):
        _picture(folder, image)
        name = Path(image["path"]).name
        if st.button(
            f"Open {number}", key=f"open {image['path']}", width="stretch", help=as_text(name)
        ):
            _enlarged(folder, image)


def _picture(folder: Path, image: dict) -> None:
    subtype = image.get("subtype", "none")
    kind = image["label"] if subtype == "none" else subtype
    words = f"{as_text(kind).capitalize()} · {as_text(image['split'])}"
    small_picture(folder / image["path"], words, alt=f"Image {image['path']}")


def small_picture(path: Path, caption: str, *, alt: str) -> None:
    """Draw the image at `path` small, or say why it cannot be read; `caption` is Markdown."""
    try:
        data = _thumbnail(str(path), path.stat().st_mtime_ns)
    except (UnreadableImage, OSError) as error:
        reason = str(error) if isinstance(error, UnreadableImage) else "It cannot be read."
        st.caption(f":material/broken_image: {caption}: {as_markdown(reason)}")
        return
    st.image(data, caption=caption, width="stretch", alt=alt)


@st.dialog("An image of the dataset", width="large")
def _enlarged(folder: Path, image: dict) -> None:
    from xray_core.imaging.radiograph import read_radiograph

    with sentences():
        path = folder / image["path"]
        if st.button("Send to prediction", type="primary", icon=":material/radiology:"):
            open_in_prediction(path.resolve())
        left, right = st.columns([1, 1])
        image_pixels = read_radiograph(path).pixels.astype("uint8")
        left.image(image_pixels, width=560, alt=f"Image {image['path']}")
        hidden = ("sha256", "perceptual_hash", "problem", "aspect", "colour")
        facts = {
            name: f"{value:.4g}" if isinstance(value, float) else as_text(value)
            for name, value in image.items()
            if name not in hidden
        }
        right.table(pd.Series(facts, name="Value").rename_axis("Property"))


@st.cache_data(max_entries=2000, show_spinner=False)
def _thumbnail(path: str, modified: int) -> bytes:
    """Return an image as a small JPEG; the images of a dataset belong to no visitor."""
    from PIL import Image

    from xray_core.imaging.radiograph import read_radiograph

    picture = Image.fromarray(read_radiograph(path).pixels.astype("uint8"))
    picture.thumbnail((2 * _THUMBNAIL, 2 * _THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
