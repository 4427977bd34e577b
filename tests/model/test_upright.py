"""The check for images that are upside down."""

import numpy as np
import pytest

from xray_core.errors import BundleError
from xray_core.model.upright import UprightCheck, fit_upright_check


def features(count: int, shift: float, seed: int) -> np.ndarray:
    """Features of which one, of small scale, tells the orientation."""
    drawn = np.random.default_rng(seed).normal(size=(count, 5)) * [1, 10, 0.01, 1, 1] + 3
    drawn[:, 2] += shift
    return drawn.astype(np.float32)


@pytest.fixture
def check() -> UprightCheck:
    return fit_upright_check(features(200, 0.0, 1), features(150, 0.08, 2))


def test_new_images_are_told_apart(check: UprightCheck) -> None:
    assert check.is_upside_down(features(100, 0.08, 3)).all()
    assert not check.is_upside_down(features(100, 0.0, 4)).any()


def test_features_that_are_not_finite_are_not_upside_down(check: UprightCheck) -> None:
    assert not check.is_upside_down(np.full((1, 5), np.nan)).any()


def test_a_stored_check_decides_as_before(check: UprightCheck, tmp_path) -> None:
    check.save(tmp_path / "upright.npz")
    loaded = UprightCheck.load(tmp_path / "upright.npz")
    images = np.concatenate([features(50, 0.04, 5), features(50, 0.08, 6)])
    assert np.array_equal(loaded.is_upside_down(images), check.is_upside_down(images))


@pytest.mark.parametrize(
    "arrays",
    [
        {"weight": np.ones(3, np.float32)},
        {"weight": np.ones((3, 2), np.float32), "bias": 0.0},
        {"weight": np.array([1, np.nan]), "bias": 0.0},
        {"weight": np.ones(3, np.float32), "bias": np.ones(2)},
        {"weight": np.array(["a"]), "bias": 0.0},
    ],
)
def test_a_file_with_something_else_is_refused(arrays: dict, tmp_path) -> None:
    np.savez(tmp_path / "upright.npz", **arrays)
    with pytest.raises(BundleError, match="check of the orientation"):
        UprightCheck.load(tmp_path / "upright.npz")
