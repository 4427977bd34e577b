"""The chosen model of the Prediction page: its bundle at once, its network when it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from ui.frame import bundle_state, models_folder
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
    """Return what the bundle `name` knows of an image, by its path in the dataset's folder.

    That is its part in the making of the model, and its label. Raises BundleError.
    """
    folder = models_folder() / name
    origins = _origins(str(folder), bundle_state(folder))
    return origins.get(file, "Dataset image that the model was neither trained nor tested on")


@st.cache_resource(max_entries=8, show_spinner=False)
def _origins(folder: str, state: str) -> dict[str, str]:
    """Return the words on every image of the bundle's dataset by its path."""
    opened = _bundle(folder, state)
    predicted = opened.predictions().rename(columns={"file": "path"})
    rows = [*opened.dataset().to_dict("records"), *predicted.to_dict("records")]
    return {row["path"]: _origin(row) for row in rows}


def _origin(row: dict[str, Any]) -> str:
    subtype = {"bacteria": ", bacterial", "virus": ", viral"}.get(str(row.get("subtype")), "")
    return f"{_FOLDS[str(row.get('fold', 'train'))]}, label: {str(row['label']).lower()}{subtype}"


_FOLDS = {
    "train": "Training image (the model was trained on it)",
    "validation": "Validation image (the thresholds of the model were chosen on it)",
    "test": "Test image",
}


@st.cache_resource(max_entries=8, show_spinner=False)
def _bundle(folder: str, state: str) -> Bundle:
    return open_bundle(folder)


@st.cache_resource(max_entries=2, show_spinner=False)
def _predictor(folder: str, state: str) -> "Predictor":
    from xray_core.prediction.predictor import Predictor

    return Predictor.load(Path(folder))
