"""The trained models that visitors choose from, and the one cache of opened models.

A changed file of a bundle opens the bundle again.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from xray_core.model.bundle import Bundle, list_bundles, open_bundle

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor

DEFAULT_MODEL = "resnet50"
ROOT = Path(__file__).resolve().parents[2]


def models_folder() -> Path:
    """Return the folder of the trained bundles: XRAY_MODELS, or `models/` beside the app."""
    return Path(os.environ.get("XRAY_MODELS") or ROOT / "models")


def list_models() -> list[tuple[str, str | None]]:
    """Return (name, problem or None) of every bundle in the models folder.

    The check hashes all files of the bundles, so it runs again only after a file has changed.
    """
    folder = models_folder()
    if not folder.is_dir():
        return []
    bundles = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    state = "|".join(_bundle_state(path) for path in sorted(bundles))
    return _checked_bundles(str(folder), state)


def load_bundle(name: str) -> Bundle:
    """Return the opened bundle `name`; raises BundleError."""
    folder = models_folder() / name
    return _bundle(str(folder), _bundle_state(folder))


def load_predictor(name: str) -> "Predictor":
    """Return the bundle's Predictor, shared by all visitors; raises BundleError.

    The first call imports TensorFlow and takes some seconds, under a spinner; for the default model
    the server makes it when it starts.
    """
    with st.spinner("Loading the model: a few seconds, once …"):
        return find_predictor(name)


def find_predictor(name: str) -> "Predictor":
    """Return what `load_predictor` returns, without the spinner."""
    folder = models_folder() / name
    return _predictor(str(folder), _bundle_state(folder))


def _bundle_state(folder: Path) -> str:
    """Return a text that changes when a file of the bundle does: names, sizes and times."""
    files = sorted(path for path in folder.glob("**/*") if path.is_file())
    stats = [(path.name, path.stat()) for path in files]
    return f"{folder.name}:" + ",".join(
        f"{name}/{stat.st_size}/{stat.st_mtime_ns}" for name, stat in stats
    )


@st.cache_data(max_entries=4, show_spinner="Checking the models …")
def _checked_bundles(folder: str, state: str) -> list[tuple[str, str | None]]:
    return list_bundles(folder)


@st.cache_resource(max_entries=8, show_spinner=False)
def _bundle(folder: str, state: str) -> Bundle:
    return open_bundle(folder)


# As many as a comparison of the models on one image is likely to need.
@st.cache_resource(max_entries=8, show_spinner=False)
def _predictor(folder: str, state: str) -> "Predictor":
    from xray_core.prediction.predictor import Predictor

    return Predictor.load(folder)
