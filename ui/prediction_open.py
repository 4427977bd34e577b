"""Opening a film on this computer's disk: an example, one of the test split, another page's."""

import random
from pathlib import Path

import streamlit as st

from ui.folders import may_show
from ui.prediction_films import take_path
from xray_core.dataset.index import find_dataset
from xray_core.errors import DatasetError, UnreadableImage
from xray_core.model.bundle import Bundle


def open_film(path: Path, origin: str) -> None:
    """Open a film on disk, or say in a passing message why that cannot be done."""
    try:
        take_path(path, origin)
    except UnreadableImage as error:
        st.toast(str(error), icon=":material/error:")


def open_asked_for() -> None:
    """Open the film that another page asked for."""
    path = st.session_state.pop("open_path", None)
    if path and may_show(Path(path)):
        open_film(Path(path), "The film you opened")
    elif path:
        st.toast("This image cannot be opened here.", icon=":material/error:")


def tested_films(chosen: Bundle) -> list[tuple[str, str]]:
    """Return (path, label) of the test split's films where the dataset is on this disk."""
    try:
        folder = find_dataset(None)
    except DatasetError:
        return []
    table = chosen.predictions()
    table = table[table["fold"] == "test"]
    return [
        (str(folder / file), label)
        for file, label in zip(table["file"], table["label"], strict=True)
        if (folder / file).is_file()
    ]


def open_random(tests: list[tuple[str, str]]) -> None:
    """Open one of these (path, label) by chance."""
    path, label = random.choice(tests)
    open_film(Path(path), f"A film of the test split, labelled {label.lower()} there")
