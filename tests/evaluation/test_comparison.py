"""Two models on the same images."""

import numpy as np
import pandas as pd
import pytest

from xray_core.errors import XrayError
from xray_core.evaluation.comparison import clustered_mcnemar_p_value, compare, mcnemar_p_value


def table(probability, files="abcdef"):
    return pd.DataFrame(
        {
            "file": list(files),
            "label": ["PNEUMONIA"] * 3 + ["NORMAL"] * 3,
            "patient": [f"patient {name}" for name in files],
            "probability": probability,
        }
    )


A = table([0.9, 0.8, 0.4, 0.1, 0.2, 0.7])  # wrong on c and f
B = table([0.9, 0.3, 0.7, 0.1, 0.6, 0.2])  # wrong on b and e


def test_decisions_are_counted_by_who_is_right():
    comparison = compare(A, B, threshold_a=0.5, threshold_b=0.5)

    assert (
        comparison.both_right,
        comparison.only_a_right,
        comparison.only_b_right,
        comparison.neither_right,
    ) == (
        *(2, 2),
        *(2, 0),
    )
    assert comparison.accuracy_difference.value == 0
    assert comparison.mcnemar_p_value == 1.0
    assert comparison.disagreements["file"].tolist() == ["b", "c", "e", "f"]
    assert comparison.disagreements["right"].tolist() == ["A", "B", "A", "B"]


def test_each_model_is_evaluated_at_its_own_threshold():
    comparison = compare(A, B, threshold_a=0.3, threshold_b=0.65)

    assert comparison.sensitivity_difference.value == pytest.approx(1 / 3)  # 3 of 3 against 2 of 3
    assert comparison.specificity_difference.value == pytest.approx(-1 / 3)  # 2 of 3 against 3 of 3


def test_the_difference_of_the_areas_is_a_minus_b():
    # Pairs in order: A 3 + 3 + 2 of 9, B 3 + 2 + 3 of 9; then one more in order for A.
    better = table([0.9, 0.8, 0.75, 0.1, 0.2, 0.7])

    assert compare(A, B, threshold_a=0.5, threshold_b=0.5).auc_difference.value == pytest.approx(0)
    comparison = compare(better, B, threshold_a=0.5, threshold_b=0.5)
    assert comparison.auc_difference.value == pytest.approx(1 / 9)


def test_the_order_of_the_rows_does_not_matter():
    shuffled = B.sample(frac=1, random_state=1)

    comparison = compare(A, shuffled, threshold_a=0.5, threshold_b=0.5)
    expected = compare(A, B, threshold_a=0.5, threshold_b=0.5)
    assert comparison.auc_difference == expected.auc_difference
    assert comparison.disagreements.equals(expected.disagreements)


def test_a_model_does_not_differ_from_itself():
    comparison = compare(A, A, threshold_a=0.5, threshold_b=0.5)

    assert comparison.auc_p_value == 1.0
    assert comparison.disagreements.empty
    assert (comparison.accuracy_difference.low, comparison.accuracy_difference.high) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("b", "words"),
    [
        (table(B["probability"], "abcdez"), "1 images have a prediction of model A only .* f"),
        (B.iloc[:5], "1 images have a prediction of model A only and 0 of model B"),
        (pd.concat([B, B.iloc[:1]]), "Model B has two predictions for a"),
        (
            B.assign(label="NORMAL"),
            "labels of 3 images differ between the two models' tables, for example a",
        ),
    ],
)
def test_different_images_are_refused(b, words):
    with pytest.raises(XrayError, match=words):
        compare(A, b, threshold_a=0.5, threshold_b=0.5)


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [
        (0, 0, 1.0),
        (1, 5, 0.21875),  # 2 * (1 + 6) / 64
        (0, 6, 0.03125),  # 2 / 64
    ],
)
def test_mcnemar_is_exact(only_a, only_b, expected):
    assert mcnemar_p_value(only_a, only_b) == pytest.approx(expected)


def test_mcnemar_by_patient_matches_the_hand_worked_one():
    # Gains by patient 2, -1, 1: their sum is 2, its variance 3/2 * (4 + 1 + 1) = 9; z = 2/3.
    right_a = np.array([1, 1, 0, 1, 1], bool)
    right_b = np.array([0, 0, 1, 0, 1], bool)
    patient = np.array([0, 0, 1, 2, 2])

    assert clustered_mcnemar_p_value(right_a, right_b, patient) == pytest.approx(0.504985, abs=1e-6)
    assert clustered_mcnemar_p_value(right_a, right_a, patient) == 1.0
    assert np.isnan(clustered_mcnemar_p_value(right_a, right_b, patient * 0))


def test_copies_of_a_patients_images_do_not_lower_the_p_value():
    rng = np.random.default_rng(0)
    right_a, right_b = rng.random(60) < 0.9, rng.random(60) < 0.75
    once = clustered_mcnemar_p_value(right_a, right_b, np.arange(60))

    copied = [np.repeat(values, 5) for values in (right_a, right_b, np.arange(60))]
    assert clustered_mcnemar_p_value(*copied) == pytest.approx(once)


def test_mcnemar_equals_statsmodels():
    from statsmodels.stats.contingency_tables import mcnemar

    expected = mcnemar([[100, 17], [8, 20]], exact=True).pvalue
    assert mcnemar_p_value(17, 8) == pytest.approx(expected)


def test_the_better_model_has_a_positive_difference():
    rng = np.random.default_rng(2)
    label = np.arange(500) % 2 == 0
    base = pd.DataFrame(
        {
            "file": [f"{k}.jpeg" for k in range(500)],
            "label": np.where(label, "PNEUMONIA", "NORMAL"),
            "patient": np.arange(500) // 2,
        }
    )
    level = np.where(label, 1.5, -1.5) + rng.normal(size=500)
    good = base.assign(probability=1 / (1 + np.exp(-level)))
    poor = base.assign(probability=1 / (1 + np.exp(-level - 2 * rng.normal(size=500))))

    comparison = compare(good, poor, threshold_a=0.5, threshold_b=0.5)

    assert comparison.auc_difference.low > 0
    assert comparison.accuracy_difference.low > 0
    assert comparison.auc_p_value < 0.001
    assert comparison.mcnemar_p_value < 0.001
