"""A summary that is JSON, and the table for the terminal."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
from simulated_bundle import CALIBRATION, predictions

from xray_core.errors import XrayError
from xray_core.evaluation.metrics import evaluate_scores
from xray_core.evaluation.tables import (
    as_text,
    below_exclusion_threshold,
    calibration_in_words,
    metrics_json,
    metrics_table,
    summary,
)
from xray_core.stats.bootstrap import Estimate


@pytest.fixture(scope="module")
def table():
    return predictions()


def test_a_summary_is_json_and_counts_every_image(table):
    found = summary(table, CALIBRATION)

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    test = table[table["fold"] == "test"]
    assert found["images"] == len(test)
    assert found["patients"] == 403
    assert sum(found["confusion"].values()) == len(test)
    called = test["probability"] >= 0.5
    right = (called == (test["label"] == "PNEUMONIA")).mean()
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(right)
    assert found["exclusion_threshold"]["threshold"] == 0.22
    assert set(found["by_subtype"]) == {"bacteria", "virus"}
    for name, part in found["by_subtype"].items():
        own = test[test["subtype"] == name]
        assert (part["images"], part["patients"]) == (len(own), own["patient"].nunique())
    assert set(found["by_gate"]) == {"passed", "caution"}
    assert found["natural_frequencies"]["pneumonia_images"] == (test["label"] == "PNEUMONIA").sum()


def test_the_table_says_numbers_intervals_and_how_calibration_was_measured(table):
    found = summary(table, CALIBRATION)
    text = metrics_table(found)

    value = found["metrics"]["sensitivity"]
    line = f"{value['value']:.1%} ({value['low']:.1%} to {value['high']:.1%})"
    assert any(row.startswith("Sensitivity") and row.endswith(line) for row in text.splitlines()), (
        text
    )
    assert "shifting" in text
    assert "A perfectly calibrated model with these scores would show" in text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (0.032, "The measured error of 0.032 is within this range: miscalibration is not"),
        (0.036, "The measured error of 0.036 is above this range: the probabilities are misc"),
        (0.010, "The measured error of 0.010 is below this range: no miscalibration"),
    ],
)
def test_what_is_said_of_a_calibration_error_follows_from_the_reference(error, words):
    text = calibration_in_words(error, 0.012, 0.035)

    assert "an error of 0.012 to 0.035" in text
    assert words in text


def test_a_fold_without_images_is_refused(table):
    with pytest.raises(XrayError, match="no image of the train fold"):
        summary(table, CALIBRATION, "train")


def test_one_class_and_one_image_still_give_a_summary():
    one = pd.DataFrame(
        {
            "fold": ["test"],
            "label": ["NORMAL"],
            "subtype": ["none"],
            "patient": ["a"],
            "probability": [0.1],
            "verdict": ["NORMAL"],
            "gate": ["passed"],
        }
    )
    found = summary(
        one,
        SimpleNamespace(
            prior=0.5, decision_threshold=0.5, exclusion_threshold=0.2, uncertain=(0.4, 0.6)
        ),
    )

    assert found["metrics"]["specificity"]["value"] == 1.0
    assert found["metrics"]["sensitivity"]["value"] is None
    json.dumps(found, allow_nan=False)
    assert "not defined" in metrics_table(found)


def test_infinity_survives_the_way_through_json():
    found = metrics_json(
        evaluate_scores([1, 1, 0, 0], [0.9, 0.4, 0.1, 0.2], [*"abcd"], threshold=0.3)
    )

    assert found["metrics"]["positive_likelihood_ratio"]["value"] == "Infinity"
    assert "infinite" in metrics_table(found)


@pytest.mark.parametrize(
    ("name", "estimate", "text"),
    [
        ("sensitivity", Estimate(0.93, 0.9051, 0.955), "93.0% (90.5% to 95.5%)"),
        ("roc_auc", Estimate(0.9751, 0.96, 0.98), "0.975 (0.960 to 0.980)"),
        (
            "positive_likelihood_ratio",
            Estimate(math.inf, 7.5, math.inf),
            "infinite (7.50 to infinite)",
        ),
        ("accuracy", Estimate(0.5, math.nan, math.nan), "50.0% (no interval)"),
        ("mcc", Estimate(math.nan, math.nan, math.nan), "not defined"),
    ],
)
def test_numbers_are_written_in_their_own_unit(name, estimate, text):
    assert as_text(name, estimate) == text


def test_images_below_the_exclusion_threshold_are_counted_with_their_pneumonias():
    # The threshold is .22: three of the test images lie below it, one at it, one above it.
    table = pd.DataFrame(
        {
            "fold": ["test"] * 5 + ["validation"],
            "label": ["NORMAL", "PNEUMONIA", "NORMAL", "PNEUMONIA", "PNEUMONIA", "PNEUMONIA"],
            "probability": [0.01, 0.2, 0.21, 0.22, 0.9, 0.1],
        }
    )
    assert below_exclusion_threshold(table, CALIBRATION) == {"images": 3, "pneumonia": 1}
    found = below_exclusion_threshold(table, CALIBRATION, "validation")
    assert found == {"images": 1, "pneumonia": 1}


def test_a_summary_counts_below_the_exclusion_threshold_as_its_confusion_table_does(table):
    found = summary(table, CALIBRATION)
    counts = found["exclusion_threshold"]["confusion"]
    assert found["below_exclusion_threshold"] == {
        "images": counts["false_negative"] + counts["true_negative"],
        "pneumonia": counts["false_negative"],
    }
