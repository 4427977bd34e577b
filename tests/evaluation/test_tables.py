"""A summary that is JSON, and the table for the terminal."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
from simulated_bundle import CALIBRATION, predictions
from simulated_tables import evaluate_labels

from xray_core.errors import XrayError
from xray_core.evaluation.tables import (
    below_exclusion_threshold,
    describe_calibration,
    format_metric,
    metrics_json,
    metrics_table,
    summary,
)
from xray_core.stats.intervals import Estimate


@pytest.fixture(scope="module")
def table():
    return predictions()


def test_a_summary_is_json_and_counts_every_image(table):
    results = summary(table, CALIBRATION)

    assert json.loads(json.dumps(results, allow_nan=False)) == results
    test = table[table["fold"] == "test"]
    assert results["images"] == len(test)
    assert results["patients"] == 403
    assert sum(results["confusion"].values()) == len(test)
    positive = test["probability"] >= 0.5
    right = (positive == (test["label"] == "PNEUMONIA")).mean()
    assert results["metrics"]["accuracy"]["value"] == pytest.approx(right)
    assert results["exclusion_threshold"]["threshold"] == 0.22
    assert set(results["by_subtype"]) == {"bacteria", "virus"}
    for name, part in results["by_subtype"].items():
        own = test[test["subtype"] == name]
        assert (part["images"], part["patients"]) == (len(own), own["patient"].nunique())
    assert set(results["by_gate"]) == {"passed", "caution"}
    assert (
        results["natural_frequencies"]["pneumonia_images"] == (test["label"] == "PNEUMONIA").sum()
    )


def test_the_table_gives_intervals_and_how_calibration_was_measured(table):
    results = summary(table, CALIBRATION)
    text = metrics_table(results)

    value = results["metrics"]["sensitivity"]
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
def test_a_calibration_error_is_described_by_its_reference_range(error, words):
    text = describe_calibration(error, 0.012, 0.035)

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
    results = summary(
        one,
        SimpleNamespace(
            prior=0.5, decision_threshold=0.5, exclusion_threshold=0.2, uncertain=(0.4, 0.6)
        ),
    )

    assert results["metrics"]["specificity"]["value"] == 1.0
    assert results["metrics"]["sensitivity"]["value"] is None
    json.dumps(results, allow_nan=False)
    assert "not defined" in metrics_table(results)


def test_infinity_is_stored_in_json_and_read_back():
    results = metrics_json(
        evaluate_labels([1, 1, 0, 0], [0.9, 0.4, 0.1, 0.2], [*"abcd"], threshold=0.3)
    )

    assert results["metrics"]["positive_likelihood_ratio"]["value"] == "Infinity"
    assert "infinite" in metrics_table(results)


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
    assert format_metric(name, estimate) == text


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
    results = below_exclusion_threshold(table, CALIBRATION, "validation")
    assert results == {"images": 1, "pneumonia": 1}


def test_a_summary_counts_below_the_exclusion_threshold_as_its_confusion_table_does(table):
    results = summary(table, CALIBRATION)
    counts = results["exclusion_threshold"]["confusion"]
    assert results["below_exclusion_threshold"] == {
        "images": counts["false_negative"] + counts["true_negative"],
        "pneumonia": counts["false_negative"],
    }
