"""Counts, distributions and class separation against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from xray_core.dataset.shortcuts import property_table
from xray_core.dataset.statistics import (
    count_images,
    describe,
    histogram,
    property_auc,
    with_derived,
)


def test_an_auc_below_a_half_is_strong_in_the_other_direction() -> None:
    table = pd.DataFrame(
        {
            "label": ["NORMAL"] * 3 + ["PNEUMONIA"] * 3,
            "patient": list("abcdef"),
            "mean": [7.0, 8, 5, 4, 6, 3],
        }
    )
    auc = property_auc(table, "mean")
    assert auc.value == pytest.approx(1 / 9)
    assert auc.strength.value == pytest.approx(8 / 9)
    assert auc.strength.low < 8 / 9 < auc.strength.high
    assert property_auc(table.assign(mean=1.0), "mean") is None
    assert property_auc(table.iloc[:3], "mean") is None


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
