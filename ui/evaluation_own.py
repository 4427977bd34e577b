"""Evaluate your own films: a folder laid out like the dataset, or a CSV of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from ui.evaluation_data import OWN, Evaluated, bundle_of, evaluated
from ui.frame import models_folder
from xray_core.errors import XrayError
from xray_core.evaluation.predictions import read_predictions

_MAX_CSV_MB = 50


def own_films(model: str) -> None:
    """The form; what it computed stands in the session as the page's films."""
    st.subheader("Evaluate your own films")
    st.markdown(
        "The same page for films of yours. They stay on this computer, and what is computed from "
        "them in this visit."
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
    with st.spinner("Drawing the patients anew, 2,000 times..."):
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

    predictor = Predictor.load(models_folder() / model)
    rows: list[tuple[float | None, str]] = []
    films = [folder / path for path in index["path"]]
    for count, prediction in enumerate(predictor.predict_many(films), start=1):
        rows.append((prediction.probability, prediction.verdict))
        if count % 8 == 0 or count == len(films):
            progress.progress(count / len(films), f"{count} of {len(films)} films")
    progress.empty()
    table = index.assign(
        file=[str(film) for film in films],
        probability=np.array([probability for probability, _ in rows], dtype=float),
        verdict=[verdict for _, verdict in rows],
    )
    notes = [
        f"{count} films were {word} and are left out of all numbers."
        for verdict, word in (("REFUSED", "refused as foreign"), ("UNREADABLE", "unreadable"))
        if (count := int((table["verdict"] == verdict).sum()))
    ]
    return table[table["probability"].notna()].reset_index(drop=True), notes


def own() -> Evaluated | None:
    """What the visitor evaluated in this visit, or None."""
    return st.session_state.get(OWN)
