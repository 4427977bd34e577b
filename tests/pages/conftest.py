"""Shared by the tests of the pages: a page in Streamlit's own test runner."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder that the app looks into; tests copy bundles into it."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("XRAY_MODELS", str(folder))
    return folder


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


def page_text(at: AppTest) -> str:
    """Return all that a page says, as one string, for assertions on its words."""
    parts: list[str] = []
    for element in at.main:
        parts += _words(element)
    for element in at.sidebar:
        parts += _words(element)
    return "\n".join(parts)


def _words(element: object) -> list[str]:
    words = [
        str(value)
        for name in ("label", "value", "body", "icon")
        if isinstance(value := getattr(element, name, None), str)
    ]
    proto = getattr(element, "proto", None)
    if isinstance(html := getattr(proto, "body", None), str):
        words.append(html)
    return words
