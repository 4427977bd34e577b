"""Where the app is, in a checkout and in an installed package."""

from pathlib import Path

import pytest

from xray_core import places


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("models", "streamlit run app.py"),
        ("/a/b", "streamlit run app.py (with the environment variable XRAY_MODELS=/a/b)"),
    ],
)
def test_a_checkout_opens_app_py(folder: str, command: str) -> None:
    assert places.how_to_open(Path(folder)) == command


def test_a_package_has_a_command_that_is_told_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_app").mkdir()
    monkeypatch.setattr(places, "_CODE", tmp_path)
    assert places.how_to_open(Path("models")) == "chest-xray app --models models"
    assert places.how_to_open(Path("my models")) == "chest-xray app --models 'my models'"
