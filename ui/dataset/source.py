"""Where the Dataset page takes its table from: a folder of images, or a model's own dataset.csv."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.errors import show_error, show_errors
from ui.common.folders import NO_CHOICE, choose_folder, is_local, may_choose
from ui.common.models import models_folder
from ui.common.text import as_markdown
from xray_core.dataset.audit import audit
from xray_core.dataset.averages import Averages, read_averages
from xray_core.dataset.cache import read_measured
from xray_core.dataset.finding import Finding
from xray_core.dataset.index import find_dataset
from xray_core.dataset.measure import dataset_table
from xray_core.dataset.statistics import with_derived
from xray_core.errors import DatasetError
from xray_core.labels import LABELS

FOLDER_KEY = "dataset_folder"
_KEPT = 4  # tables held for all visitors; none of them was uploaded by one
_NO_DATASET = "There is no dataset on the computer that runs this app."


@dataclass(frozen=True, eq=False)
class Source:
    """The table that the page shows: `folder` of its images, or None without images on disk."""

    table: pd.DataFrame
    findings: list[Finding]
    folder: Path | None
    name: str
    stored_averages: Averages | None = None


def choose_source(bundle: str | None) -> Source | None:
    """Return the images' table, measuring with a progress bar what is new, and say where it is from.

    Without images on disk the chosen model's own table serves; None where there is neither.
    """
    wanted = st.session_state.get(FOLDER_KEY) or None
    try:
        return _from_folder(find_dataset(choose_folder(wanted) if wanted else None))
    except DatasetError as error:
        if wanted:
            show_error(error)
            return None
        missing = error
    stored = _from_bundle(bundle) if bundle else None
    if stored is None:
        # The sentence names a folder of this computer.
        words = as_markdown(str(missing)) if is_local() else _NO_DATASET
        st.info(words, icon=":material/folder_off:")
    return stored


def folder_picker() -> None:
    """Draw the field for another folder, or say who may name one."""

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
        help="It holds train and test (and perhaps val), each with NORMAL and PNEUMONIA. Leave it "
        "empty for the usual place: CHEST_XRAY_DIR, else data/chest_xray.",
    )


def measure_again() -> None:
    """Forget the tables in memory; only changed files are then read again."""
    _place_for.clear()


def _from_folder(folder: Path) -> Source:
    # Adding or removing an image changes its folder's time. An image changed in place is noticed by
    # "Measure again", and by every new process.
    state = "|".join(
        f"{path}/{path.stat().st_mtime_ns}"
        for path in sorted(folder.glob("*/*"))
        if path.name in LABELS and path.is_dir()
    )
    key = f"{folder.resolve()}|{state}"
    return _kept(key, lambda: _measured(folder))


def _from_bundle(name: str) -> Source | None:
    file = models_folder() / name / "dataset.csv"
    if not file.is_file():
        return None

    def read() -> Source:
        try:
            table = with_derived(read_measured(file))
            findings = audit(table)
        except (ValueError, KeyError) as error:
            raise DatasetError(
                f"The model {name} has no readable table of its dataset: train it again."
            ) from error
        try:
            averages = read_averages(file.with_name("averages.npz"))
        except (OSError, ValueError, KeyError):
            averages = None
        return Source(table, findings, None, name, averages)

    return _kept(f"{file.resolve()}|{file.stat().st_mtime_ns}", read)


def _kept(key: str, make: Callable[[], Source]) -> Source:
    place = _place_for(key)
    if not place:
        place.append(make())
    return place[0]


@st.cache_resource(max_entries=_KEPT, show_spinner=False)
def _place_for(key: str) -> list[Source]:
    # Measuring draws a progress bar, which a cached function would draw again at every hit.
    return []


def _measured(folder: Path) -> Source:
    place = st.empty()

    def show(done: int, total: int) -> None:
        place.progress(done / max(total, 1), f"Measuring the images: {done:,} of {total:,}")

    with st.spinner("Reading the folder …"):
        table = with_derived(dataset_table(folder, progress=show))
        findings = audit(table)
    place.empty()
    return Source(table, findings, folder, str(folder))
