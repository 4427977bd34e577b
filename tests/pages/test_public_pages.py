"""The pages of a public host show no folder, no path, and no image of the dataset."""

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn_images import KAGGLE_LIKE, write_dataset
from page_tools import page_text
from streamlit.testing.v1 import AppTest


@pytest.fixture
def open_public(
    open_page: Callable[..., AppTest],
    with_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], AppTest]:
    """A function that opens a page of a public host whose disk holds the dataset."""
    folder = write_dataset(tmp_path / "secret-folder", KAGGLE_LIKE)

    def open_it(page: str) -> AppTest:
        monkeypatch.setenv("CHEST_XRAY_DIR", str(folder))
        monkeypatch.setenv("XRAY_FOLDERS", str(folder))
        return open_page(page)

    monkeypatch.setenv("XRAY_PUBLIC", "1")
    return open_it


@pytest.mark.parametrize("page", ["dataset", "evaluation", "prediction", "training"])
def test_no_folder_is_named_or_asked_for(open_public: Callable[[str], AppTest], page: str) -> None:
    at = open_public(page)
    assert not at.exception
    assert "secret-folder" not in page_text(at)
    labels = [field.label for field in at.text_input] + [one.label for one in at.expander]
    assert not [label for label in labels if "folder" in label.lower()]


def test_the_dataset_page_shows_no_image(open_public: Callable[[str], AppTest]) -> None:
    at = open_public("dataset")
    assert "This server does not show the images of the dataset" in page_text(at)
    assert not [button for button in at.button if button.label.startswith("Open ")]


def test_the_switch_allows_the_dataset(
    open_public: Callable[[str], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_PUBLIC_DATASET", "1")
    at = open_public("dataset")
    assert [button for button in at.button if button.label.startswith("Open ")]
    assert "secret-folder" not in page_text(at)


def test_pages_stay_closed_where_sign_in_is_required_and_not_configured(
    open_page: Callable[..., AppTest], with_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_SIGN_IN", "1")
    at = open_page("app")
    assert [error.value for error in at.error if "not configured" in error.value]
    assert not at.selectbox
    assert "Drop a" not in page_text(at)
