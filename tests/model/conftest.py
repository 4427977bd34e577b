"""Copies of bundles that the tests change."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(micro_bundle: Path, tmp_path: Path) -> Path:
    target = tmp_path / "models" / "micro"
    shutil.copytree(micro_bundle, target)
    return target


@pytest.fixture
def outside(copy: Path, tmp_path: Path) -> Path:
    """A folder beside the models, with copies of a bundle's files that are valid."""
    return Path(shutil.copytree(copy, tmp_path / "outside"))


@pytest.fixture
def lungs(micro_lungs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(micro_lungs, tmp_path / "models" / "lungs"))
