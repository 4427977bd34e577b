"""Robustness: each change does what its name says, and the numbers count what they claim."""

import numpy as np
import pandas as pd
import pytest

from xray_core.model.calibration import Calibration
from xray_core.training.data import ImageSet
from xray_core.training.robustness import CHANGES, HIDDEN, change_images, measure_robustness

CALIBRATION = Calibration(
    temperature=1.0,
    shift=0.0,
    prior=0.5,
    decision_threshold=0.5,
    exclusion_threshold=0.1,
    uncertain=(0.4, 0.6),
)


@pytest.fixture
def images() -> ImageSet:
    random = np.random.default_rng(0)
    pixels = random.integers(60, 160, size=(6, 224, 224, 1)).astype(np.uint8)
    label = np.array([0, 0, 0, 1, 1, 1], np.float32)
    return ImageSet(pd.DataFrame({"patient": list("abcdef")}), pixels, label)


@pytest.mark.parametrize("name", [*CHANGES, *HIDDEN])
def test_every_change_gives_images_of_the_models_size(name: str, images: ImageSet) -> None:
    varied = change_images(images, {**CHANGES, **HIDDEN}[name])
    assert varied.pixels.shape == images.pixels.shape
    assert varied.pixels.dtype == np.uint8
    assert np.abs(varied.pixels.astype(int) - images.pixels).max() > 0


def test_hiding_the_lungs_leaves_the_border_and_the_other_way_round(images: ImageSet) -> None:
    without_lungs, without_border = (change_images(images, change) for change in HIDDEN.values())
    assert np.ptp(without_lungs.pixels[:, 80:140, 80:140], axis=(1, 2)).max() == 0
    assert (without_lungs.pixels[:, :20] == images.pixels[:, :20]).all()
    assert np.ptp(without_border.pixels[:, :30], axis=(1, 2)).max() == 0
    assert (without_border.pixels[:, 60:160, 60:160] == images.pixels[:, 60:160, 60:160]).all()


def test_brightness_is_a_factor(images: ImageSet) -> None:
    brighter = change_images(images, CHANGES["brightness +20%"])
    assert np.abs(brighter.pixels - 1.2 * images.pixels).max() <= 0.5


def test_the_rows_count_verdicts_and_crossings(images: ImageSet) -> None:
    # Before: all six rightly and surely called. Each change turns the first image into a sure
    # pneumonia and makes the last one uncertain without crossing the decision threshold.
    before = np.array([-3.0, -3, -3, 3, 3, 3])
    after = np.array([3.5, -3, -3, 3, 3, 0.1])
    found = measure_robustness(images, before, lambda _: after, CALIBRATION)
    assert [row["name"] for row in found["changed"]] == ["as they are", *CHANGES]
    assert [row["name"] for row in found["hidden"]] == ["as they are", *HIDDEN]
    plain, changed = found["changed"][:2]
    assert plain["other_verdict"] == plain["crossed"] == 0
    assert plain["roc_auc"]["value"] == plain["sensitivity"] == plain["specificity"] == 1
    assert changed["other_verdict"] == pytest.approx(2 / 6)
    assert changed["crossed"] == pytest.approx(1 / 6)
    assert changed["specificity"] == pytest.approx(2 / 3)
    assert changed["sensitivity"] == 1
    assert changed["roc_auc"]["value"] == pytest.approx(6 / 9)
