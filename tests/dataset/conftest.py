"""Small folders of made-up images, laid out as the Kaggle set is."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from drawn_images import KAGGLE_LIKE, write_dataset

REAL = os.environ.get("CHEST_XRAY_DIR")  # before the tests hide it from the code


@pytest.fixture
def real_dataset() -> Path:
    """The real set, for tests marked `data`."""
    if not REAL or not Path(REAL).is_dir():
        pytest.skip("CHEST_XRAY_DIR names no dataset")
    return Path(REAL)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and no dataset in the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XRAY_CACHE", str(folder))
    monkeypatch.delenv("CHEST_XRAY_DIR", raising=False)
    return folder


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a dataset: `make_dataset({"train/NORMAL": ["IM-1-1.jpeg"], ...})`."""

    def make(images: Mapping[str, list[str]], name: str = "chest_xray") -> Path:
        return write_dataset(tmp_path / name, images)

    return make


@pytest.fixture
def kaggle_like(make_dataset: Callable[..., Path]) -> Path:
    """92 images: twenty patients a class in train, two in val and four in test."""
    return make_dataset(KAGGLE_LIKE)
