"""Evaluate your own films: a folder laid out like the dataset, or a CSV of predictions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui.evaluation_data import OWN, bundle_of, evaluated
from ui.evaluation_numbers import shown_progress
from ui.frame import models_folder
from xray_core.errors import XrayError
from xray_core.evaluation.predictions import read_predictions

_MAX_CSV_MB = 50


def own_films(model: str) -> None:
    """The form; what it computed stands in the session as the page's films."""
    st.subheader("Evaluate your own films")
    st.markdown(
        "The same page for films of yours. They stay on this computer, and the results are kept "
        "for this visit only."
    )
    folder_tab, csv_tab = st.tabs(["A folder of films", "A CSV of predictions"])
    with folder_tab:
        _from_folder(model)
    with csv_tab:
        _from_csv(model)


def _from_folder(model: str) -> None:
    with st.form("evaluation-folder", border=False):
        folder = st.text_input(
            "Folder on this computer",
            placeholder="/path/to/chest_xray",
            help="Laid out like the dataset: test/NORMAL and test/PNEUMONIA with JPEG or PNG "
            "files. Where there is a test split, only its films are used.",
        )
        pressed = st.form_submit_button("Evaluate these films", type="primary")
    if not pressed:
        return
    if not folder.strip():
        st.warning("Enter the folder first.")
        return
    try:
        table, notes = _predict(model, Path(folder.strip()).expanduser())
    except XrayError as error:
        st.error(str(error), icon=":material/error:")
        return
    _keep(model, Path(folder.strip()).name or "folder", table, notes)


def _from_csv(model: str) -> None:
    upload = st.file_uploader(
        "CSV with a column label (NORMAL or PNEUMONIA) and a column probability",
        type="csv",
        max_upload_size=_MAX_CSV_MB,
        help="Optional columns: patient, file, subtype, gate. Probabilities of pneumonia at a "
        "prior of 50%.",
    )
    if upload is None or not st.button("Evaluate this table", type="primary"):
        return
    try:
        table, notes = read_predictions(upload)
        _keep(model, "your table", table, notes)
    except XrayError as error:
        st.error(str(error), icon=":material/error:")


def _keep(model: str, title: str, table: pd.DataFrame, notes: list[str]) -> None:
    if table.empty:
        st.error("No film of it got a probability, so there is nothing to evaluate.")
        return
    with st.spinner("Patient-level bootstrap, 2,000 resamples..."), shown_progress():
        calibration = bundle_of(model).calibration
        st.session_state[OWN] = evaluated(title, model, table, tuple(notes), calibration)
    st.session_state["evaluation_show_own"] = True
    st.rerun()


def _predict(model: str, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    from xray_core.dataset.index import build_index

    progress = st.progress(0.0, "Looking for films...")
    index = build_index(folder)
    if (index["fold"] == "test").any():
        index = index[index["fold"] == "test"]
    index = index.reset_index(drop=True)
    progress.progress(0.0, f"Loading the model for {len(index)} films...")

    from xray_core import Predictor  # three seconds, for TensorFlow: only whoever asks pays
    from xray_core.prediction.labelled import predict_labelled

    predictor = Predictor.load(models_folder() / model)
    table = predict_labelled(
        predictor,
        index,
        folder,
        progress=lambda done, of: _show(progress, done, of),
    )
    progress.empty()
    table["file"] = [str((folder / file).resolve()) for file in table["file"]]
    notes = []
    unread = int(table["probability"].isna().sum())
    if unread:
        notes.append(
            f"{unread} films could not be read, or are no X-ray films; they count nowhere."
        )
    refused = int(((table["gate"] == "refused") & table["probability"].notna()).sum())
    if refused:
        notes.append(
            f"{refused} films were refused as foreign. In the numbers they count with the "
            "probability that the network would have given; see Groups."
        )
    return table[table["probability"].notna()].reset_index(drop=True), notes


def _show(progress: DeltaGenerator, done: int, of: int) -> None:
    if done % 8 == 0 or done == of:
        progress.progress(done / of, f"{done} of {of} films")
