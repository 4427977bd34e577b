"""Shared by the tests of the pages: a page in Streamlit's own test runner."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from page_tools import ROOT, Downloads
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest


@pytest.fixture
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder that the app looks into; tests copy bundles into it."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("XRAY_MODELS", str(folder))
    return folder


@pytest.fixture
def with_model(micro_bundle: Path, models_folder: Path) -> Path:
    """A models folder that holds the bundle `micro`."""
    shutil.copytree(micro_bundle, models_folder / "micro")
    return models_folder


@pytest.fixture
def open_page(
    models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AppTest]:
    """A function that runs `app.py`, or a page by its name, and returns its AppTest.

    No dataset is found, unless the test sets CHEST_XRAY_DIR itself afterwards. Keyword arguments
    are put into the session state before the run.
    """
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "no-dataset-here"))

    def run(page: str = "app", **state: object) -> AppTest:
        script = ROOT / "app.py" if page == "app" else ROOT / "pages" / f"{page}.py"
        at = AppTest.from_file(str(script), default_timeout=60)
        for key, value in state.items():
            at.session_state[key] = value
        return at.run()

    return run


@pytest.fixture
def downloaded(monkeypatch: pytest.MonkeyPatch) -> Downloads:
    """What the download buttons of the page give at its last run."""
    files = Downloads()

    def record(*arguments: object, **_: object) -> None:
        label, data = arguments[-2:]
        files[str(label)] = data

    monkeypatch.setattr(DeltaGenerator, "download_button", record)
    monkeypatch.setattr(st, "download_button", record)
    return files
