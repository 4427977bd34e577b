"""Counts, areas under the curve and intervals against numbers worked out by hand or elsewhere."""

import numpy as np
import pandas as pd
import pytest

from xray_core.dataset.shortcuts import property_table
from xray_core.dataset.statistics import (
    auc_interval,
    count_images,
    describe,
    histogram,
    property_auc,
    proportion_interval,
    with_derived,
)


def test_auc_of_five_images_by_hand() -> None:
    # Pneumonia 1, 3; normal 2, 3, 4: of six pairs one is won (3 > 2) and one drawn (3 = 3).
    values = np.array([1.0, 3, 2, 3, 4])
    positive = np.array([True, True, False, False, False])
    auc = auc_interval(values, positive, np.arange(5))
    assert auc.value == 1.5 / 6
    assert auc.strength == 0.75
    assert auc.low < 0.25 < auc.high
    assert auc.images == 5


def test_auc_interval_with_one_image_a_patient_is_delongs() -> None:
    # DeLong's variance by hand: placements of the positives (2/3, 1/3, 1, 1), of the negatives
    # (3/4, 1, 1/2); deviations from 3/4 squared and summed: 11/36 and 1/8. Here both sums are
    # divided by the squares of 4 and 3 and multiplied by 7/6:
    # (11/36/16 + 1/8/9) * 7/6 = 0.0384838, error 0.1961729.
    values = np.array([5.0, 3, 8, 9, 4, 2, 6])
    positive = np.array([True, True, True, True, False, False, False])
    auc = auc_interval(values, positive, np.arange(7))
    assert auc.value == 0.75
    reach = 1.959964 * 0.1961729 / (0.75 * 0.25)
    middle = np.log(3)
    assert auc.low == pytest.approx(1 / (1 + np.exp(-(middle - reach))), abs=1e-5)
    assert auc.high == pytest.approx(1 / (1 + np.exp(-(middle + reach))), abs=1e-5)


def test_copies_of_a_patients_image_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(60) % 2 == 0
    values = rng.normal(size=60) + positive
    once = auc_interval(values, positive, np.arange(60))
    copied = auc_interval(np.repeat(values, 4), np.repeat(positive, 4), np.repeat(np.arange(60), 4))
    assert copied.value == pytest.approx(once.value)
    assert copied.low == pytest.approx(once.low)
    assert copied.high == pytest.approx(once.high)
    naive = auc_interval(np.repeat(values, 4), np.repeat(positive, 4), np.arange(240))
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        positive = np.arange(120) % 2 == 0
        patients = np.arange(120) // 4 * 2 + positive  # two images of one class a patient
        effect = rng.normal(size=60)[np.unique(patients, return_inverse=True)[1]]
        values = effect + rng.normal(size=120) + positive * 1.0
        # Two normals of variance 2, one apart: the area is Phi(1 / 2) = 0.69146.
        auc = auc_interval(values, positive, patients)
        hits += auc.low <= 0.69146 <= auc.high
    assert 0.91 <= hits / 300 <= 0.985


def test_auc_below_a_half_is_strong_the_other_way() -> None:
    table = pd.DataFrame(
        {
            "label": ["NORMAL"] * 3 + ["PNEUMONIA"] * 3,
            "patient": list("abcdef"),
            "mean": [7.0, 8, 5, 4, 6, 3],
        }
    )
    auc = property_auc(table, "mean")
    assert auc.value == pytest.approx(1 / 9)
    low, high = auc.strength_interval
    assert auc.strength == pytest.approx(8 / 9)
    assert low < 8 / 9 < high
    assert property_auc(table.assign(mean=1.0), "mean") is None
    assert property_auc(table.iloc[:3], "mean") is None


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        (15, 16, 0.6977, 0.9984),  # R: binom.test(15, 16)$conf.int
        (0, 10, 0.0, 0.3085),
        (10, 10, 0.6915, 1.0),
        (50, 100, 0.3983, 0.6017),
    ],
)
def test_exact_interval_of_a_proportion(
    successes: int, total: int, low: float, high: float
) -> None:
    assert proportion_interval(successes, total) == pytest.approx((low, high), abs=5e-5)


def test_counts_histogram_and_quantiles() -> None:
    table = pd.DataFrame(
        {
            "path": list("abcdef"),
            "split": ["test", "train", "train", "train", "val", "train"],
            "label": ["NORMAL", "NORMAL", "PNEUMONIA", "PNEUMONIA", "PNEUMONIA", "NORMAL"],
            "subtype": ["none", "none", "virus", "virus", "bacteria", "none"],
            "patient": ["1", "2", "3", "3", "4", "5"],
            "mean": [0.0, 10, 20, 30, 40, np.nan],
        }
    )
    counts = count_images(table)
    assert counts.to_numpy().tolist() == [
        ["train", "NORMAL", "none", 2, 2],
        ["train", "PNEUMONIA", "virus", 2, 1],
        ["val", "PNEUMONIA", "bacteria", 1, 1],
        ["test", "NORMAL", "none", 1, 1],
    ]
    bins = histogram(table, "mean", bins=2)
    assert bins["images"].tolist() == [2, 0, 0, 3]
    assert bins["share"].tolist() == [1, 0, 0, 1]
    assert describe(table, "mean")[["images", "median"]].to_numpy().tolist() == [[2, 5], [3, 30]]


def test_aspect_and_colour_are_derived() -> None:
    table = pd.DataFrame({"width": [200, 100, pd.NA], "height": [100, 100, pd.NA]}, dtype="Int64")
    derived = with_derived(table.assign(mode=["L", "RGB", ""]))
    assert derived["aspect"].tolist()[:2] == [2.0, 1.0]
    assert derived["colour"].tolist()[:2] == [0.0, 1.0]
    assert derived[["aspect", "colour"]].iloc[2].isna().all()


def test_classes_that_do_not_overlap_have_an_interval_all_the_same() -> None:
    positive = np.arange(20) < 10
    auc = auc_interval(np.where(positive, 2.0, 1.0), positive, np.arange(20))
    # Ten independent pairs, all in the right order: the exact interval of 10 of 10.
    assert (auc.value, auc.low, auc.high) == pytest.approx((1.0, 0.6915, 1.0), abs=5e-5)
    other = auc_interval(np.where(positive, 1.0, 2.0), positive, np.arange(20))
    assert (other.low, other.high) == pytest.approx((0.0, 0.3085), abs=5e-5)
    assert other.strength_interval == pytest.approx((0.6915, 1.0), abs=5e-5)


def test_one_patient_of_a_class_says_nothing_of_the_others() -> None:
    auc = auc_interval(
        np.array([3.0, 1, 2, 0]), np.array([True, True, False, False]), np.array([*"aabc"])
    )
    assert (auc.value, auc.low, auc.high) == (0.75, 0.0, 1.0)


def test_a_propertys_direction_is_that_of_the_training_images_everywhere() -> None:
    # In training width is lower in pneumonia (8 of 9 pairs), in test higher (all but one).
    table = pd.DataFrame(
        {
            "split": ["train"] * 6 + ["test"] * 6,
            "label": (["NORMAL"] * 3 + ["PNEUMONIA"] * 3) * 2,
            "patient": list("abcdefghijkl"),
            "mean": [7.0, 8, 5, 4, 6, 3, 4, 6, 3, 7, 8, 5],
        }
    )
    found = property_table(table).set_index("images")
    assert found["in_pneumonia"].tolist() == ["lower", "lower"]
    assert found["auc"].tolist() == pytest.approx([8 / 9, 1 / 9])
    assert (found["low"] <= found["auc"]).all()
    assert (found["auc"] <= found["high"]).all()
