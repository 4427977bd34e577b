"""Small folders of made-up films, laid out as the Kaggle set is."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from made_films import write_film

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

    def make(films: Mapping[str, list[str]], name: str = "chest_xray") -> Path:
        root = tmp_path / name
        seed = 0
        for folder, names in films.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for film in names:
                write_film(root / folder / film, seed := seed + 1)
        return root

    return make


@pytest.fixture
def kaggle_like(make_dataset: Callable[..., Path]) -> Path:
    """Twenty patients a class in train, with two films each, two in val and four in test."""
    return make_dataset(
        {
            "train/NORMAL": [f"IM-{n:04d}-{k:04d}.jpeg" for n in range(20) for k in (1, 2)],
            "train/PNEUMONIA": [
                f"person{n}_{kind}_{2 * n + k}.jpeg"
                for n in range(10)
                for kind in ("bacteria", "virus")
                for k in (1, 2)
            ],
            "val/NORMAL": ["NORMAL2-IM-0001-0001.jpeg", "NORMAL2-IM-0002-0001.jpeg"],
            "val/PNEUMONIA": ["person90_bacteria_1.jpeg", "person91_bacteria_2.jpeg"],
            "test/NORMAL": [f"IM-{n:04d}-0001.jpeg" for n in range(500, 504)],
            "test/PNEUMONIA": [f"person{n}_virus_{n}.jpeg" for n in range(500, 504)],
        }
    )
