"""The chosen model of the Prediction page: its bundle at once, its network when it is needed."""

from pathlib import Path
from typing import TYPE_CHECKING

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


@st.cache_resource(max_entries=8, show_spinner=False)
def _bundle(folder: str, state: str) -> Bundle:
    return open_bundle(folder)


@st.cache_resource(max_entries=2, show_spinner=False)
def _predictor(folder: str, state: str) -> "Predictor":
    from xray_core.prediction.predictor import Predictor

    return Predictor.load(Path(folder))
