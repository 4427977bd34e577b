"""The chosen model of the Prediction page: its bundle at once, its network when it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ui.common.frame import bundle_state, models_folder
from xray_core.dataset.index import subtype_of
from xray_core.labels import LABELS, PNEUMONIA, SUBTYPES
from xray_core.model.bundle import Bundle, open_bundle

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor


def bundle(name: str) -> Bundle:
    """Return the opened bundle `name`; raises BundleError."""
    return _bundle(str(models_folder() / name), bundle_state(models_folder() / name))


def predictor(name: str) -> "Predictor":
    """Return the bundle's Predictor, shared by all visitors; raises BundleError.

    The first call imports TensorFlow and takes some seconds, under a spinner.
    """
    folder = models_folder() / name
    with st.spinner("Loading the model: a few seconds, once …"):
        return _predictor(str(folder), bundle_state(folder))


def origin_of(name: str, file: str) -> str:
    """Return what an image of the dataset was to the bundle `name`, and its label.

    `file` is its path in the dataset's folder. Raises BundleError.
    """
    folder = models_folder() / name
    fold = _folds(str(folder), bundle_state(folder)).get(file, "")
    part = _FOLDS.get(fold, _FOLDS[""])
    label = Path(file).parent.name
    if label not in LABELS:
        return part
    subtype = SUBTYPES.get(subtype_of(file)) if label == PNEUMONIA else None
    return f"{part}, label: {label.lower()}" + (f", {subtype}" if subtype else "")


@st.cache_resource(max_entries=8, show_spinner=False)
def _folds(folder: str, state: str) -> dict[str, str]:
    """Return the fold of every image that the bundle was trained or tested on, by its path."""
    opened = _bundle(folder, state)
    predicted = opened.predictions().rename(columns={"file": "path"})
    rows = [*opened.dataset().to_dict("records"), *predicted.to_dict("records")]
    return {row["path"]: str(row.get("fold", "train")) for row in rows}


_FOLDS = {
    "train": "Training image (the model was trained on it)",
    "validation": "Validation image (the thresholds of the model were chosen on it)",
    "test": "Test image",
    "": "Dataset image that the model was neither trained nor tested on",
}


@st.cache_resource(max_entries=8, show_spinner=False)
def _bundle(folder: str, state: str) -> Bundle:
    return open_bundle(folder)


@st.cache_resource(max_entries=2, show_spinner=False)
def _predictor(folder: str, state: str) -> "Predictor":
    from xray_core.prediction.predictor import Predictor

    return Predictor.load(Path(folder))
