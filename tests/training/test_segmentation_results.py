"""The results of a segmentation: weighted quantiles, intervals over patients, and the card."""

import numpy as np
import pandas as pd
import pytest
from segmentation_bundle import segmentation_table

from xray_core.training.segmentation_card import results_table
from xray_core.training.segmentation_results import summarise, weighted_quantile


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([1, 1, 1], 0.5, 2.0),
        ([1, 1, 1], 0.25, 1.5),  # position 0.5, between 1 and 2
        ([2, 0, 1], 0.5, 1.0),  # 1, 1, 4
        ([2, 0, 1], 0.75, 2.5),  # position 1.5, between 1 and 4
        ([0, 3, 0], 0.05, 2.0),
        ([1, 1, 1], 0.0, 1.0),
        ([1, 1, 1], 1.0, 4.0),
    ],
)
def test_a_weighted_quantile_by_hand(counts: list[int], share: float, expected: float) -> None:
    values = np.array([1.0, 2.0, 4.0])
    assert weighted_quantile(values, np.array(counts, np.float32), share) == expected


def test_a_weighted_quantile_is_numpy_s_of_repeated_values() -> None:
    rng = np.random.default_rng(0)
    values = np.sort(rng.random(40))
    counts = rng.integers(0, 4, 40)
    for share in (0.05, 0.31, 0.5, 0.99):
        expected = np.quantile(np.repeat(values, counts), share)
        assert weighted_quantile(values, counts, share) == pytest.approx(expected)


def test_results_are_those_worked_out_by_hand() -> None:
    table = segmentation_table()
    metrics = summarise(table[table["fold"] == "test"])
    assert list(metrics) == ["all", "NORMAL", "bacteria", "virus"]
    everything = metrics["all"]
    assert (everything["images"], everything["patients"]) == (3, 3)
    assert everything["dice"]["value"] == pytest.approx((0.96 + 0.92 + 0.90) / 3)
    assert everything["dice_median"]["value"] == pytest.approx(0.92)
    assert everything["dice_p5"]["value"] == pytest.approx(0.90 + 0.1 * 0.02)
    # 0.96 / 1.04, 0.92 / 1.08 and 0.90 / 1.10
    assert everything["iou"]["value"] == pytest.approx((0.92308 + 0.85185 + 0.81818) / 3, abs=1e-5)
    for name in ("dice", "dice_median", "dice_p5", "iou"):
        assert everything[name]["low"] < everything[name]["value"] <= everything[name]["high"]
    assert metrics["NORMAL"]["dice"]["value"] == 0.96
    assert np.isnan(metrics["NORMAL"]["dice"]["low"])  # one patient has no interval


def test_the_intervals_draw_patients_and_not_images() -> None:
    # 20 images: ten patients with two equal images each. Counted as 20 independent images, the
    # interval would be narrower by the square root of two.
    rng = np.random.default_rng(0)
    of_patient = rng.normal(0.9, 0.02, 10)
    rows = {"label": "NORMAL", "subtype": "none", "dice": np.repeat(of_patient, 2)}
    table = pd.DataFrame(rows).assign(iou=0.8, patient=np.repeat(np.arange(10), 2).astype(str))
    clustered = summarise(table)["all"]["dice"]
    single = summarise(table.iloc[::2])["all"]["dice"]
    independent = summarise(table.assign(patient=np.arange(20).astype(str)))["all"]["dice"]
    assert clustered == pytest.approx(single)
    width, narrow = (one["high"] - one["low"] for one in (clustered, independent))
    assert 1.2 < width / narrow < 1.7


def test_a_class_without_images_is_left_out() -> None:
    table = segmentation_table().query("fold == 'test' and subtype != 'virus'")
    assert list(summarise(table)) == ["all", "NORMAL", "bacteria"]


def test_the_terminal_shows_one_line_a_group() -> None:
    metrics = summarise(segmentation_table().query("fold == 'test'"))
    lines = results_table(metrics).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("all (3 images): mean Dice 0.927 (")
    assert lines[1].startswith("normal (1 image): mean Dice 0.960 (no interval), median Dice 0.960")
