"""Results on images of other hospitals: each share counts what its name says."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from xray_core.evaluation.external import summarize_external
from xray_core.model.calibration import Calibration
from xray_core.stats.intervals import wilson_interval

NORMAL, PNEUMONIA, UNCERTAIN, REFUSED = "NORMAL", "PNEUMONIA", "UNCERTAIN", "REFUSED"
CALIBRATION = Calibration(
    temperature=1.0,
    shift=0.0,
    prior=0.5,
    decision_threshold=0.5,
    exclusion_threshold=0.1,
    uncertain=(0.4, 0.6),
)
COLUMNS = ["label", "verdict", "probability", "patient", "view", "sex", "age"]


def table(rows: list[tuple], name: str = "clinic") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"age": float, "probability": float})
    return frame.assign(set=name, logit=logit(frame["probability"]))


ROWS = [
    (NORMAL, NORMAL, 0.1, "a", "PA", "F", 3),
    (NORMAL, NORMAL, 0.2, "b", "PA", "M", 6),
    (NORMAL, PNEUMONIA, 0.8, "c", "AP", "F", 17),
    (NORMAL, UNCERTAIN, 0.5, "d", "AP", "", 18),
    (NORMAL, UNCERTAIN, 0.9, "e", "AP", "M", np.nan),
    (NORMAL, REFUSED, 0.9, "f", "AP", "M", 64),
    (PNEUMONIA, PNEUMONIA, 0.95, "g", "AP", "F", 65),
    (PNEUMONIA, NORMAL, 0.3, "h", "AP", "F", 90),
    ("", PNEUMONIA, 0.9, "i", "AP", "F", 50),
    ("", UNCERTAIN, 0.1, "j", "PA", "F", 50),
]


def row(summary: dict, label: str, by: str = "", group: str = "") -> dict:
    found = [
        one
        for one in summary["rows"]
        if (one["label"], one["by"], one["group"]) == (label, by, group)
    ]
    assert len(found) == 1
    return found[0]


def test_the_shares_of_a_class() -> None:
    (summary,) = summarize_external(table(ROWS), CALIBRATION)
    assert (summary["set"], summary["images"], summary["patients"]) == ("clinic", 10, 10)
    normal = row(summary, NORMAL)
    assert (normal["images"], normal["firm_images"]) == (6, 3)
    values = {name: normal[name]["value"] for name in ("refused", "indeterminate", "unlike")}
    # Two are indeterminate. The probability of one of them, .9, is outside the band of .4 to .6.
    assert values == pytest.approx({"refused": 1 / 6, "indeterminate": 2 / 6, "unlike": 1 / 6})
    assert normal["firm"]["value"] == pytest.approx(3 / 6)
    assert normal["pneumonia"]["value"] == pytest.approx(1 / 6)
    assert normal["right"]["value"] == pytest.approx(2 / 3)
    low, high = wilson_interval(2, 3)
    assert (normal["right"]["low"], normal["right"]["high"]) == pytest.approx((low, high))
    assert row(summary, PNEUMONIA)["right"]["value"] == pytest.approx(1 / 2)


def test_images_without_a_label_are_not_scored_and_only_divided_by_view() -> None:
    (summary,) = summarize_external(table(ROWS), CALIBRATION)
    rest = row(summary, "")
    assert rest["right"] is None
    assert rest["pneumonia"]["value"] == 0.5
    assert rest["unlike"]["value"] == 0.5
    assert {one["by"] for one in summary["rows"] if one["label"] == ""} == {"", "view"}
    assert row(summary, "", "view", "AP")["pneumonia"]["value"] == 1


def test_the_groups_by_view_sex_and_age_add_up() -> None:
    (summary,) = summarize_external(table(ROWS), CALIBRATION)
    groups = {
        by: {
            one["group"]: one["images"]
            for one in summary["rows"]
            if one["label"] == NORMAL and one["by"] == by
        }
        for by in ("view", "sex", "age")
    }
    assert groups == {
        "view": {"AP": 4, "PA": 2},
        "sex": {"F": 2, "M": 3, "unknown": 1},
        "age": {
            "under 6": 1,
            "6 to 17": 2,
            "18 to 39": 1,
            "40 to 64": 1,
            "unknown": 1,
        },
    }
    assert row(summary, PNEUMONIA, "age", "65 or older")["images"] == 2


def test_the_area_is_of_analysed_images_with_a_label() -> None:
    (summary,) = summarize_external(table(ROWS), CALIBRATION)
    # .95 is above .1, .2, .8, .5 and .9; .3 is above .1 and .2: 7 of 10 pairs. The refused image
    # would be an eighth wrong pair.
    assert summary["roc_auc"]["value"] == pytest.approx(7 / 10)
    assert summary["roc_auc"]["images"] == 7
    assert 0 <= summary["roc_auc"]["low"] < 0.7 < summary["roc_auc"]["high"] <= 1


def test_a_set_with_one_class_has_no_area_and_no_unknown_groups() -> None:
    rows = [(NORMAL, NORMAL, 0.1, "", "", "", np.nan) for _ in range(4)]
    (summary,) = summarize_external(table(rows), CALIBRATION)
    assert summary["roc_auc"] is None
    assert summary["patients"] == 4  # an image without a patient is a patient of its own
    assert [one["by"] for one in summary["rows"]] == [""]


def test_images_of_one_patient_widen_the_intervals() -> None:
    def width(patients: list[str]) -> float:
        rows = [
            (NORMAL, PNEUMONIA if i < 20 else NORMAL, 0.9, patient, "", "", np.nan)
            for i, patient in enumerate(patients)
        ]
        (summary,) = summarize_external(table(rows), CALIBRATION)
        right = summary["rows"][0]["right"]
        assert right["value"] == pytest.approx(0.8)
        return right["high"] - right["low"]

    alone = width([f"p{i}" for i in range(100)])
    assert width([f"p{i // 4}" for i in range(100)]) > 1.6 * alone


def test_unreadable_images_count_nowhere_else() -> None:
    rows = [*ROWS, (NORMAL, "UNREADABLE", np.nan, "z", "PA", "F", 3)]
    (summary,) = summarize_external(table(rows), CALIBRATION)
    assert summary["unreadable"] == 1
    assert summary["images"] == 10
    assert row(summary, NORMAL)["images"] == 6


def test_sets_are_apart_and_in_the_order_of_the_table() -> None:
    both = pd.concat([table(ROWS, "north"), table(ROWS[:2], "east")], ignore_index=True)
    north, east = summarize_external(both, CALIBRATION)
    assert (north["set"], east["set"]) == ("north", "east")
    assert row(east, NORMAL)["right"]["value"] == 1


def test_a_class_without_firm_results_has_no_share_of_right_ones() -> None:
    rows = [(NORMAL, UNCERTAIN, 0.5, str(i), "", "", np.nan) for i in range(3)]
    (summary,) = summarize_external(table(rows), CALIBRATION)
    assert row(summary, NORMAL)["firm_images"] == 0
    assert np.isnan(row(summary, NORMAL)["right"]["value"])
