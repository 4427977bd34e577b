"""Robustness: each change does what its name says, and the numbers count what they claim."""

import numpy as np
import pandas as pd
import pytest

from xray_core.model.calibration import Calibration
from xray_core.training.data import Films
from xray_core.training.robustness import CHANGES, HIDDEN, changed_films, measure_robustness

CALIBRATION = Calibration(
    temperature=1.0, shift=0.0, prior=0.5, main=0.5, rule_out=0.1, uncertain=(0.4, 0.6)
)


@pytest.fixture
def films() -> Films:
    random = np.random.default_rng(0)
    pixels = random.integers(60, 160, size=(6, 224, 224, 1)).astype(np.uint8)
    label = np.array([0, 0, 0, 1, 1, 1], np.float32)
    return Films(pd.DataFrame({"patient": list("abcdef")}), pixels, label)


@pytest.mark.parametrize("name", [*CHANGES, *HIDDEN])
def test_every_change_gives_films_of_the_models_size(name: str, films: Films) -> None:
    varied = changed_films(films, {**CHANGES, **HIDDEN}[name])
    assert varied.pixels.shape == films.pixels.shape
    assert varied.pixels.dtype == np.uint8
    assert np.abs(varied.pixels.astype(int) - films.pixels).max() > 0


def test_hiding_the_lungs_leaves_the_border_and_the_other_way_round(films: Films) -> None:
    without_lungs, without_border = (changed_films(films, change) for change in HIDDEN.values())
    assert np.ptp(without_lungs.pixels[:, 80:140, 80:140], axis=(1, 2)).max() == 0
    assert (without_lungs.pixels[:, :20] == films.pixels[:, :20]).all()
    assert np.ptp(without_border.pixels[:, :30], axis=(1, 2)).max() == 0
    assert (without_border.pixels[:, 60:160, 60:160] == films.pixels[:, 60:160, 60:160]).all()


def test_brightness_is_a_factor(films: Films) -> None:
    brighter = changed_films(films, CHANGES["brightness +20%"])
    assert np.abs(brighter.pixels - 1.2 * films.pixels).max() <= 0.5


def test_the_rows_count_verdicts_and_crossings(films: Films) -> None:
    # Before: all six rightly and surely called. Each change turns the first film into a sure
    # pneumonia and makes the last one uncertain without crossing the main point.
    before = np.array([-3.0, -3, -3, 3, 3, 3])
    after = np.array([3.5, -3, -3, 3, 3, 0.1])
    found = measure_robustness(films, before, lambda _: after, CALIBRATION)
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
