"""The training images that are most similar to an image: small, and one of them beside it."""

from pathlib import Path

import streamlit as st

from ui.common.folders import find_shown_dataset, image_below
from ui.prediction.cases import widget_key
from ui.viewer.on_disk import show_file
from xray_core.errors import DatasetError
from xray_core.labels import SUBTYPES
from xray_core.prediction.overlay import COLOUR_MAPS, colours

SHOWN = 8
STYLE = """
<style>
.st-key-case.st-key-case.st-key-case.st-key-case.st-key-case:has(.st-key-similar-viewer) {
  display: flex;
}
.st-key-case:has(.st-key-similar-viewer) > :has(.st-key-case-viewer) { order: -1; }
@media (min-width: 900px) {
  .st-key-case-viewer:has(.st-key-similar-viewer) {
    display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); align-items: start;
  }
}
</style>
"""


def choose_similar(paths: tuple[str, ...]) -> None:
    """Draw the most similar images, and the choice of one that `show_similar` opens.

    Nothing is drawn if the dataset is not on the disk of the server.
    """
    present = _present(paths)
    if not present:
        return
    kinds = [_kind(path) for path in present]
    with st.expander(f"Show the {len(present)} most similar"):
        st.image(
            [str(path) for path in present],
            caption=[f"{n}. {kind}" for n, kind in enumerate(kinds, 1)],
            width=110,
            alt=[f"Similar training image {n}: {kind}" for n, kind in enumerate(kinds, 1)],
        )
        st.segmented_control(
            "Open beside the image", range(1, len(present) + 1), key=widget_key("similar")
        )


def show_similar(paths: tuple[str, ...]) -> None:
    """Draw the chosen similar image in a viewer of its own, if one is chosen.

    Called after `choose_similar`, in the container of the image's own viewer.
    """
    present, key = _present(paths), widget_key("similar")
    number = st.session_state.get(key)
    if number is None or number > len(present):
        return

    def step(change: int) -> None:
        if 1 <= number + change <= len(present):
            st.session_state[key] = number + change

    def close() -> None:
        st.session_state[key] = None

    name = f"Similar training image {number} of {len(present)}: {_kind(present[number - 1])}"
    with st.container(key="similar-viewer", gap="small"):
        st.html(STYLE)
        show_file(
            present[number - 1],
            key="similar",
            description=f"{name}.",
            colours={name: colours(name) for name in COLOUR_MAPS},
            place=number - 1,
            images=len(present),
            on_step=step,
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(name)
            st.button("Close the similar image", icon=":material/close:", on_click=close)


def _present(paths: tuple[str, ...]) -> list[Path]:
    try:
        folder = find_shown_dataset()
    except DatasetError:
        return []
    files = [image_below(folder, path) for path in paths]
    return [file for file in files if file is not None][:SHOWN]


def _kind(path: Path) -> str:
    """The label of a training image, with its subtype, by its place in the dataset."""
    if path.parent.name == "NORMAL":
        return "normal"
    return next((shown for name, shown in SUBTYPES.items() if name in path.name), "pneumonia")
