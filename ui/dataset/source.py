"""The table that the Dataset page shows: from a folder of images, or from a model's dataset.csv."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.errors import show_error, show_errors
from ui.common.folders import NO_CHOICE, choose_folder, find_shown_dataset, is_local, may_choose
from ui.common.models import models_folder
from ui.common.shared_work import forget, share
from ui.common.text import as_markdown
from xray_core.dataset.audit import audit
from xray_core.dataset.averages import Averages, read_averages
from xray_core.dataset.cache import read_measured
from xray_core.dataset.finding import Finding
from xray_core.dataset.measure import dataset_table
from xray_core.dataset.shortcuts import property_table
from xray_core.dataset.statistics import with_derived
from xray_core.errors import DatasetError
from xray_core.labels import LABELS

SPLITS = ["train", "val", "test"]
FOLDER_KEY = "dataset_folder"
_NO_DATASET = "There is no dataset on the computer that runs this app."


@dataclass(frozen=True, eq=False)
class Source:
    """A table of images and its audit; `folder` is None without the images on disk.

    `key` changes whenever the images or the stored table do.
    """

    key: str
    table: pd.DataFrame
    findings: list[Finding]
    folder: Path | None
    name: str
    stored_averages: Averages | None = None

    @cached_property
    def aucs(self) -> pd.DataFrame:
        """The AUC of each image feature alone, as `property_table` returns it."""
        return property_table(self.table)


def load_source(model: str | None) -> Source | None:
    """Return the table of the chosen folder, measuring new images with a progress bar.

    Without images on disk, the table stored with `model` is returned; without either,
    None, and the page says so.
    """
    wanted = st.session_state.get(FOLDER_KEY) or None
    try:
        return _from_folder(find_shown_dataset(choose_folder(wanted) if wanted else None))
    except DatasetError as error:
        if wanted:
            show_error(error)
            return None
        missing = error
    stored = _from_bundle(model) if model else None
    if stored is None:
        # The message names a folder of this computer.
        message = as_markdown(str(missing)) if is_local() else _NO_DATASET
        st.info(message, icon=":material/folder_off:")
    return stored


def show_folder_picker() -> None:
    """Draw the field for another folder, or the sentence on who may choose one."""

    @show_errors()
    def choose() -> None:
        st.session_state[FOLDER_KEY] = st.session_state["dataset_folder_field"].strip()

    if not may_choose():
        st.caption(NO_CHOICE)
        return
    st.text_input(
        "Another folder on the computer this app runs on",
        value=st.session_state.get(FOLDER_KEY, ""),
        key="dataset_folder_field",
        on_change=choose,
        placeholder="/path/to/chest_xray",
        help="A folder with train and test (val is optional), each with NORMAL and PNEUMONIA. If "
        "empty: the folder in CHEST_XRAY_DIR, else data/chest_xray.",
    )


def rescan() -> None:
    """Clear the tables in memory; only changed files are then read again."""
    forget()


def _from_folder(folder: Path) -> Source:
    # Adding or removing an image changes the time of its folder. An image that was changed in
    # place is detected by "Rescan" and by a new process.
    state = "|".join(
        f"{path}/{path.stat().st_mtime_ns}"
        for path in sorted(folder.glob("*/*"))
        if path.name in LABELS and path.is_dir()
    )
    key = f"{folder.resolve()}|{state}"

    def measure(progress: Callable[[int, int], None]) -> Source:
        table = with_derived(dataset_table(folder, progress=progress))
        return Source(key, table, audit(table), folder, str(folder))

    return share(f"table|{key}", measure, "Measuring the images")


def _from_bundle(name: str) -> Source | None:
    file = models_folder() / name / "dataset.csv"
    if not file.is_file():
        return None
    key = f"{file.resolve()}|{file.stat().st_mtime_ns}"

    def read(_: Callable[[int, int], None]) -> Source:
        try:
            table = with_derived(read_measured(file))
            findings = audit(table)
        except (ValueError, KeyError) as error:
            raise DatasetError(
                f"The dataset table of the model {name} cannot be read: train it again."
            ) from error
        try:
            averages = read_averages(file.with_name("averages.npz"))
        except (OSError, ValueError, KeyError):
            averages = None
        return Source(key, table, findings, None, name, averages)

    return share(f"table|{key}", read, "Reading the table")
