"""Images on the server's disk in the viewer: those of a dataset, which belong to no visitor."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from ui.common.text import as_markdown
from ui.viewer.viewer import Shown, pack, reduce_to, show_viewer
from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import read_radiograph

GREYS = {"Grey": np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)}


def show_file(
    path: Path,
    *,
    key: str,
    description: str,
    colours: Mapping[str, NDArray[np.uint8]] = GREYS,
    place: int = 0,
    images: int = 1,
    on_step: Callable[[int], None] = lambda change: None,
) -> None:
    """Draw the image at `path` in the viewer, or the reason why it cannot be read.

    Parameters
    ----------
    path
        A file that the visitor may see.
    key, description, on_step
        As in `show_viewer`.
    colours
        Those of the page's other viewers, with which it shares its settings.
    place, images
        Which image it is, from 0, of how many that the arrow keys open.
    """
    try:
        shown = _shown(str(path), path.stat().st_mtime_ns)
    except (UnreadableImage, OSError) as error:
        reason = str(error) if isinstance(error, UnreadableImage) else "It cannot be read."
        st.warning(as_markdown(reason), icon=":material/broken_image:")
        return
    several = images > 1
    show_viewer(
        shown,
        key=key,
        description=description,
        colours=colours,
        previous=place > 0 if several else None,
        following=place + 1 < images if several else None,
        on_step=on_step,
    )


@st.cache_resource(max_entries=32, show_spinner=False)
def _shown(path: str, modified: int) -> Shown:
    """Return an image, packed once: with the same bytes it keeps its address in the browser."""
    return Shown(pack(reduce_to(np.rint(read_radiograph(path).pixels).astype(np.uint8))))
