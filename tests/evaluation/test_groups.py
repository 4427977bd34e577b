"""Parts of a set of images: indeterminate band, subtypes, input check, errors."""

import numpy as np
import pandas as pd
import pytest

from xray_core.evaluation.groups import (
    MOST_SUBTYPES,
    accuracy_against_share,
    confident_errors,
    firm_results,
    gate_scores,
    positives,
    subtype_scores,
)
from xray_core.evaluation.metrics import evaluate
from xray_core.evaluation.scores import prepare_scores
from xray_core.evaluation.tables import format_group_metric, format_metric

IMAGES = pd.DataFrame(
    [
        ("PNEUMONIA", "bacteria", 0.95, "passed", "PNEUMONIA"),
        ("PNEUMONIA", "bacteria", 0.55, "passed", "UNCERTAIN"),
        ("PNEUMONIA", "virus", 0.10, "passed", "NORMAL"),
        ("PNEUMONIA", "virus", 0.90, "refused", "REFUSED"),
        ("NORMAL", "none", 0.05, "passed", "NORMAL"),
        ("NORMAL", "none", 0.60, "caution", "UNCERTAIN"),
        ("NORMAL", "none", 0.80, "passed", "PNEUMONIA"),
    ],
    columns=["label", "subtype", "probability", "gate", "verdict"],
).assign(fold="test", patient=list("abcdefg"))


def test_refused_and_uncertain_images_are_not_decided():
    decided = firm_results(IMAGES, (0.4, 0.6), threshold=0.5)

    assert (decided.images, decided.decided, decided.uncertain, decided.refused) == (7, 4, 2, 1)
    assert decided.share_decided == pytest.approx(4 / 7)
    assert decided.metrics is not None
    assert decided.metrics.accuracy.value == 0.5
    assert decided.metrics.sensitivity.value == 0.5
    assert decided.metrics.specificity.value == 0.5


def test_an_image_unlike_the_training_images_is_not_decided():
    unlike = IMAGES.assign(verdict=["UNCERTAIN", *IMAGES["verdict"][1:]])
    decided = firm_results(unlike, (0.4, 0.6), threshold=0.5)

    assert (decided.decided, decided.uncertain, decided.refused) == (3, 3, 1)


def test_a_band_over_everything_decides_nothing():
    decided = firm_results(IMAGES, (0.0, 1.0), threshold=0.5)

    assert decided.decided == 0
    assert decided.metrics is None


def test_subtypes_share_the_normal_images():
    groups = subtype_scores(IMAGES)

    assert list(groups) == ["bacteria", "virus"]
    bacteria = evaluate(groups["bacteria"], threshold=0.5)
    virus = evaluate(groups["virus"], threshold=0.5)
    assert (bacteria.images, bacteria.sensitivity.value) == (5, 1.0)
    assert (virus.images, virus.sensitivity.value) == (5, 0.5)
    assert bacteria.specificity.value == virus.specificity.value == pytest.approx(1 / 3)


def test_a_subtype_counts_its_own_images_and_patients_alone():
    groups = subtype_scores(IMAGES.assign(patient=list("aabcdef")))

    assert positives(groups["bacteria"]) == (2, 1)
    assert positives(groups["virus"]) == (2, 2)


def test_of_many_subtypes_the_most_frequent_are_evaluated():
    names = [f"kind {number:02d}" for number in range(30) for _ in range(1 + number % 2)]
    table = pd.DataFrame({"label": "PNEUMONIA", "subtype": names, "probability": 0.9}).assign(
        patient=range(len(names))
    )

    groups = subtype_scores(table)

    assert len(groups) == MOST_SUBTYPES
    assert all(int(name[-2:]) % 2 for name in groups)  # those with two images


def group(right, wrong, images_of_patient=1):
    """A group of normal images: `right` below the threshold of one half, `wrong` above it."""
    score = [0.1] * right + [0.9] * wrong
    return prepare_scores([0] * len(score), score, np.arange(len(score)) // images_of_patient)


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        # Wilson, 3 of 4: 30.1% to 95.4%; 6 of 8 images of 4 patients: as 3 of 4.
        (group(3, 1), "75.0% (30.1% to 95.4%), n = 4"),
        (group(6, 2, images_of_patient=2), "75.0% (30.1% to 95.4%), n = 8"),
        (group(0, 1), "0.0% (0.0% to 79.3%), n = 1"),
    ],
)
def test_a_rate_of_few_images_comes_with_their_number_and_wilsons_interval(scores, text):
    assert format_group_metric("specificity", scores, evaluate(scores, threshold=0.5)) == text


def test_a_rate_of_twenty_images_needs_no_number_in_its_cell():
    scores = group(15, 5)
    metrics = evaluate(scores, threshold=0.5)

    assert format_group_metric("specificity", scores, metrics) == format_metric(
        "specificity", metrics.specificity
    )
    assert format_group_metric("sensitivity", scores, metrics) == "not defined"


def test_groups_by_input_check_keep_their_order_even_with_one_class():
    groups = gate_scores(IMAGES)

    assert list(groups) == ["passed", "caution", "refused"]
    caution = evaluate(groups["caution"], threshold=0.5)
    assert caution.specificity.value == 0.0
    assert np.isnan(caution.sensitivity.value)


def test_a_table_without_these_columns_has_no_groups():
    bare = IMAGES[["label", "probability", "patient"]]

    assert subtype_scores(bare) == {}
    assert gate_scores(bare) == {}
    assert firm_results(bare, (0.4, 0.6), threshold=0.5).refused == 0


def test_the_most_certain_images_are_decided_first():
    curve = accuracy_against_share(
        np.array([1, 0, 1, 0]), np.array([0.99, 0.02, 0.4, 0.7]), threshold=0.5
    )

    assert curve["share_decided"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve["accuracy"].tolist() == pytest.approx([1.0, 1.0, 2 / 3, 0.5])


def test_the_error_farthest_from_the_threshold_comes_first():
    images = pd.DataFrame(
        {
            "file": [*"abcdef"],
            "label": np.where([1, 0, 1, 1, 0, 0], "PNEUMONIA", "NORMAL"),
            "probability": [0.4, 0.99, 0.9, 0.02, 0.1, 0.5],
        }
    )
    errors = confident_errors(images, threshold=0.5)

    assert errors["file"].tolist() == ["b", "d", "a", "f"]
    assert errors["error"].tolist() == ["wrongly flagged", "missed", "missed", "wrongly flagged"]
