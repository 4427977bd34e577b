"""Evaluate your own images: a folder of labelled images, or a CSV of predictions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui.common.folders import NO_CHOICE, choose_folder, may_choose
from ui.common.frame import sentences
from ui.common.models import predictor
from ui.evaluation.data import OWN, bundle_of, evaluated
from ui.evaluation.numbers import shown_progress
from xray_core.dataset.index import index_labelled
from xray_core.evaluation.predictions import MAX_ROWS, read_predictions

_MAX_CSV_MB = 50


def own_images(model: str) -> None:
    """The form; what it computed stands in the session as the page's images."""
    st.subheader("Evaluate your own images")
    st.markdown(
        "Run this page on your own images. What you upload and the results are held in the memory "
        "of the computer running this app, for this visit only."
    )
    folder_tab, csv_tab = st.tabs(["A folder of images", "A CSV of predictions"])
    with folder_tab, sentences():
        _from_folder(model)
    with csv_tab, sentences():
        _from_csv(model)


def _from_folder(model: str) -> None:
    if not may_choose():
        st.info(NO_CHOICE, icon=":material/folder_off:")
        return
    with st.form("evaluation-folder", border=False):
        text = st.text_input(
            "Folder on the computer that runs this app",
            placeholder="/path/to/chest_xray",
            help="It holds NORMAL and PNEUMONIA with JPEG or PNG files, or folders named test, "
            "train or val that hold them. Where there is a test split, only its images are used.",
        ).strip()
        pressed = st.form_submit_button("Evaluate these images", type="primary")
    if not pressed:
        return
    if not text:
        st.warning("Enter the folder first.")
        return
    root, table, notes = _predict(model, choose_folder(text))
    _keep(model, "your folder", table, notes, root)


def _from_csv(model: str) -> None:
    upload = st.file_uploader(
        f"CSV with a column label (NORMAL or PNEUMONIA) and a column probability: up to "
        f"{MAX_ROWS:,} rows and {_MAX_CSV_MB} MB",
        type="csv",
        max_upload_size=_MAX_CSV_MB,
        help="Optional columns: patient, file, subtype, gate. Probabilities of pneumonia at a "
        "prior of 50%. Images named in the column file are shown where the dataset on the computer "
        "running this app holds them.",
    )
    if upload is None or not st.button("Evaluate this table", type="primary"):
        return
    table, notes = read_predictions(upload)
    _keep(model, "your table", table, notes, None)


def _keep(
    model: str, title: str, table: pd.DataFrame, notes: list[str], folder: Path | None
) -> None:
    if table.empty:
        st.error("No image of it got a probability, so there is nothing to evaluate.")
        return
    with st.spinner("Patient-level bootstrap, 2,000 resamples ..."), shown_progress():
        calibration = bundle_of(model).calibration
        st.session_state[OWN] = evaluated(
            title, model, table, tuple(notes), calibration, folder=folder
        )
    st.session_state["evaluation_show_own"] = True
    st.rerun()


def _predict(model: str, folder: Path) -> tuple[Path, pd.DataFrame, list[str]]:
    from xray_core.prediction.labelled import predict_labelled

    root, index = index_labelled(folder)
    asked = predictor(model)  # TensorFlow takes seconds to load: only whoever asks waits
    progress = st.progress(0.0, f"0 of {len(index)} images")
    table = predict_labelled(
        asked, index, root, progress=lambda done, of: _show(progress, done, of)
    )
    progress.empty()
    notes = []
    unread = int(table["probability"].isna().sum())
    if unread:
        notes.append(f"{unread} images could not be read, or are no X-rays; they are not counted.")
    refused = int(((table["gate"] == "refused") & table["probability"].notna()).sum())
    if refused:
        notes.append(
            f"{refused} images did not pass the input check. They count with the probability that "
            "the network would have given; see Groups."
        )
    return root, table[table["probability"].notna()].reset_index(drop=True), notes


def _show(progress: DeltaGenerator, done: int, of: int) -> None:
    if done % 8 == 0 or done == of:
        progress.progress(done / of, f"{done} of {of} images")
