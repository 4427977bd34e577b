"""The section "Your images": evaluate a folder of labelled images, or a CSV of predictions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui.common.errors import show_errors
from ui.common.folders import NO_CHOICE, choose_folder, may_choose
from ui.common.models import load_bundle, load_predictor
from ui.common.public import is_public
from ui.evaluation.data import OWN, evaluate_table
from ui.evaluation.progress import show_progress
from xray_core.dataset.index import index_labelled
from xray_core.evaluation.predictions import MAX_ROWS, read_predictions

_MAX_CSV_MB = 50


def show_own_images(model: str) -> None:
    """Draw the forms; their result is kept in the session and shown by the whole page."""
    st.subheader("Evaluate your own images")
    st.markdown(
        "Run this page on your own images. Uploads and results are held in the memory of the "
        "computer running this app, for this visit only."
    )
    if is_public():  # a table alone: no field that names a folder
        with show_errors():
            _show_csv_form(model)
        return
    folder_tab, csv_tab = st.tabs(["Folder of images", "CSV of predictions"])
    with folder_tab, show_errors():
        _show_folder_form(model)
    with csv_tab, show_errors():
        _show_csv_form(model)


def _show_folder_form(model: str) -> None:
    if not may_choose():
        st.info(NO_CHOICE, icon=":material/folder_off:")
        return
    with st.form("evaluation-folder", border=False):
        text = st.text_input(
            "Folder on the computer that runs this app",
            placeholder="/path/to/chest_xray",
            help="A folder with NORMAL and PNEUMONIA, each with JPEG or PNG files, or with folders "
            "named test, train or val that contain them. If there is a test split, only its images "
            "are used.",
        ).strip()
        pressed = st.form_submit_button("Evaluate these images", type="primary")
    if not pressed:
        return
    if not text:
        st.warning("Enter the folder first.")
        return
    root, table, notes = _predict(model, choose_folder(text))
    _keep(model, "your folder", table, notes, root)


def _show_csv_form(model: str) -> None:
    upload = st.file_uploader(
        f"CSV with the columns label (NORMAL or PNEUMONIA) and probability: up to {MAX_ROWS:,} "
        f"rows and {_MAX_CSV_MB} MB",
        type="csv",
        max_upload_size=_MAX_CSV_MB,
        help="Optional columns: patient, file, subtype, gate (the input check: passed, caution or "
        "refused). Probabilities of pneumonia are at a prior of 50%. An image named in the column "
        "file is shown if the dataset on the computer running this app contains it.",
    )
    if upload is None or not st.button("Evaluate this table", type="primary"):
        return
    table, notes = read_predictions(upload)
    _keep(model, "your table", table, notes, None)


def _keep(
    model: str, title: str, table: pd.DataFrame, notes: list[str], folder: Path | None
) -> None:
    if table.empty:
        st.error("No image has a probability, so there is nothing to evaluate.")
        return
    with st.spinner("Patient-level bootstrap, 2,000 resamples ..."), show_progress():
        calibration = load_bundle(model).calibration
        st.session_state[OWN] = evaluate_table(
            title, model, table, tuple(notes), calibration, folder=folder
        )
    st.session_state["evaluation_show_own"] = True
    st.rerun()


def _predict(model: str, folder: Path) -> tuple[Path, pd.DataFrame, list[str]]:
    from xray_core.prediction.labelled import predict_labelled  # imports TensorFlow

    root, index = index_labelled(folder)
    predictor = load_predictor(model)
    progress = st.progress(0.0, f"0 of {len(index)} images")
    table = predict_labelled(
        predictor, index, root, progress=lambda done, total: _show_count(progress, done, total)
    )
    progress.empty()
    notes = []
    has_probability = table["probability"].notna()
    if not has_probability.all():
        notes.append(
            f"{(~has_probability).sum()} images could not be read or are not X-rays. They are not "
            "counted."
        )
    refused = int((table["gate"].eq("refused") & has_probability).sum())
    if refused:
        notes.append(
            f"{refused} images did not pass the input check. They count with the network's "
            "probability; see Groups."
        )
    return root, table[has_probability].reset_index(drop=True), notes


def _show_count(progress: DeltaGenerator, done: int, total: int) -> None:
    if done % 8 == 0 or done == total:
        progress.progress(done / total, f"{done} of {total} images")
