"""Small copies of images on disk."""

import io
from pathlib import Path

import streamlit as st
from PIL import Image

from ui.common.text import as_markdown
from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import read_radiograph

_SIDE = 300  # pixels: twice the width on the page, for high-resolution screens


def show_thumbnail(path: Path, caption: str, *, alt: str) -> None:
    """Draw the image at `path` small, or the reason why it cannot be read.

    `caption` is Markdown.
    """
    try:
        data = _thumbnail(str(path), path.stat().st_mtime_ns)
    except (UnreadableImage, OSError) as error:
        reason = str(error) if isinstance(error, UnreadableImage) else "It cannot be read."
        st.caption(f":material/broken_image: {caption}: {as_markdown(reason)}")
        return
    st.image(data, caption=caption, width="stretch", alt=alt)


@st.cache_data(max_entries=2000, show_spinner=False)
def _thumbnail(path: str, modified: int) -> bytes:
    """Return an image as a small JPEG; shared, since images of a dataset belong to no visitor."""
    image = Image.fromarray(read_radiograph(path).pixels.astype("uint8"))
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
