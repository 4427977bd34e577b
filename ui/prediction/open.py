"""Opening an image on this computer's disk: an example, one of the test split, another page's."""

import random
from pathlib import Path

import streamlit as st

from ui.common.folders import may_show
from ui.common.models import origin_of
from ui.prediction.cases import Visit
from xray_core.dataset.index import find_dataset
from xray_core.errors import DatasetError
from xray_core.model.bundle import Bundle


def open_case(visit: Visit, path: Path, *, origin: str = "", file: str | None = None) -> None:
    """Open an image on disk, or say in a passing message why that cannot be done.

    `file` is its path inside the dataset's folder, if it is of the dataset.
    """
    try:
        data = path.read_bytes()
    except OSError:
        st.toast(
            "The image is no longer where it was; is the dataset still there?",
            icon=":material/error:",
        )
        return
    visit.open(data, origin=origin, file=file)


def open_asked_for(visit: Visit) -> None:
    """Open the image that another page asked for."""
    path = st.session_state.get("open_path")
    if path:
        if may_show(Path(path)):
            open_case(visit, Path(path), origin="Opened image", file=_file_in_dataset(Path(path)))
        else:
            st.toast("This image cannot be opened here.", icon=":material/error:")
        del st.session_state["open_path"]


def name_origin(visit: Visit, model: str) -> None:
    """Say of an image of the dataset what it was to the chosen model, a bundle's name."""
    for case in visit.cases:
        if case.file is not None:
            case.origin = origin_of(model, case.file)


def tested_cases(chosen: Bundle) -> list[tuple[Path, str]]:
    """Return the test split's images where the dataset is on this disk.

    Each as its path and its path inside the dataset's folder.
    """
    try:
        folder = find_dataset(None)
    except DatasetError:
        return []
    table = chosen.predictions()
    files = table["file"][table["fold"] == "test"]
    return [(folder / file, file) for file in files if (folder / file).is_file()]


def open_random(visit: Visit, tests: list[tuple[Path, str]]) -> None:
    """Open one of `tested_images` by chance."""
    path, file = random.choice(tests)
    open_case(visit, path, file=file)


def _file_in_dataset(path: Path) -> str | None:
    """Return a file's path inside the dataset's folder, None for a file elsewhere."""
    try:
        return path.resolve().relative_to(find_dataset(None).resolve()).as_posix()
    except (DatasetError, ValueError):
        return None
