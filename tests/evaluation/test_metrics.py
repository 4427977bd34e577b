"""Metrics against tables worked out by hand, and against scikit-learn."""

import math
import time

import numpy as np
import pytest
from simulated_tables import evaluate_labels

from xray_core.errors import XrayError
from xray_core.evaluation.metrics import evaluate, independent_intervals
from xray_core.evaluation.scores import patient_codes, prepare_scores

# 20 images: 8 of 10 with pneumonia detected, 1 of 10 normal ones wrongly flagged.
LABEL = [1] * 10 + [0] * 10
SCORE = [0.9] * 8 + [0.1] * 2 + [0.9] * 1 + [0.1] * 9
HALF = {"threshold": 0.5}
# Six images with one tie between the classes; pairs in order: 3 + 3 + 1.5 of 9.
SIX_LABEL = [1, 1, 1, 0, 0, 0]
SIX_SCORE = [0.9, 0.8, 0.4, 0.7, 0.4, 0.1]


def each_its_own(label):
    return np.arange(len(label))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 0.85),
        ("sensitivity", 0.8),
        ("specificity", 0.9),
        ("ppv", 0.888889),  # 8 / 9
        ("npv", 0.818182),  # 9 / 11
        ("f1", 0.842105),  # 16 / 19
        ("balanced_accuracy", 0.85),
        ("mcc", 0.703526),  # (72 - 2) / sqrt(9 * 10 * 10 * 11)
        ("positive_likelihood_ratio", 8.0),
        ("negative_likelihood_ratio", 0.222222),
    ],
)
def test_decisions_match_the_hand_worked_table(name, expected):
    metrics = evaluate_labels(LABEL, SCORE, each_its_own(LABEL), threshold=0.5)

    assert getattr(metrics, name).value == pytest.approx(expected, abs=1e-6)
    assert getattr(metrics, name).low < expected < getattr(metrics, name).high


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("roc_auc", 0.833333),  # 7.5 / 9
        ("average_precision", 0.866667),  # (1 + 1 + 3/5) / 3
        ("brier", 0.178333),  # (.01 + .04 + .36 + .49 + .16 + .01) / 6
        ("log_loss", 0.510826),  # -(2 ln .9 + ln .8 + ln .4 + ln .3 + ln .6) / 6
        ("calibration_error", 0.216667),  # (.1 + .2 + .7 + |.8 - 1| + .1) / 6
    ],
)
def test_scores_match_the_hand_worked_table(name, expected):
    metrics = evaluate_labels(SIX_LABEL, SIX_SCORE, each_its_own(SIX_LABEL), threshold=0.5)

    assert getattr(metrics, name).value == pytest.approx(expected, abs=1e-6)


def test_predictive_values_follow_the_stated_prevalence():
    metrics = evaluate_labels(LABEL, SCORE, each_its_own(LABEL), threshold=0.5, prevalence=0.1)

    assert metrics.ppv.value == pytest.approx(0.470588, abs=1e-6)  # .08 / (.08 + .09)
    assert metrics.npv.value == pytest.approx(0.975904, abs=1e-6)  # .81 / (.81 + .02)
    assert metrics.stated_prevalence == 0.1
    assert metrics.prevalence == 0.5
    assert metrics.sensitivity.value == 0.8


def test_an_image_at_the_threshold_is_positive():
    metrics = evaluate_labels([1, 0], [0.5, 0.49], [0, 1], threshold=0.5)

    assert (metrics.confusion.true_positive, metrics.confusion.true_negative) == (1, 1)


def test_calibration_is_measured_at_the_prevalence_of_the_images():
    # Four of five have pneumonia: odds of 1 become odds of 4, so 0.5 is stated, 0.8 measured.
    metrics = evaluate_labels([1, 1, 1, 1, 0], [0.5] * 5, range(5), threshold=0.5)

    assert metrics.calibration_error.value == pytest.approx(0.0, abs=1e-12)
    assert metrics.brier.value == pytest.approx(0.16)  # (4 * .2^2 + .8^2) / 5


def simulated(seed=3, patients=300):
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 4, patients)
    patient = np.repeat(np.arange(patients), images)
    label = (np.arange(patients) % 2 == 0)[patient]
    score = 1 / (1 + np.exp(-(np.where(label, 1.5, -1.5) + rng.normal(size=len(label)) * 1.5)))
    return label, np.round(score, 2), patient  # rounding makes ties


def test_values_equal_scikit_learns():
    import sklearn.metrics as sklearn_metrics

    label, score, patient = simulated()
    scores = prepare_scores(label, score, patient)
    metrics = evaluate(scores, threshold=0.4)
    positive = score >= 0.4

    expected = {
        "accuracy": sklearn_metrics.accuracy_score(label, positive),
        "sensitivity": sklearn_metrics.recall_score(label, positive),
        "specificity": sklearn_metrics.recall_score(~label, ~positive),
        "ppv": sklearn_metrics.precision_score(label, positive),
        "npv": sklearn_metrics.precision_score(~label, ~positive),
        "f1": sklearn_metrics.f1_score(label, positive),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(label, positive),
        "mcc": sklearn_metrics.matthews_corrcoef(label, positive),
        "roc_auc": sklearn_metrics.roc_auc_score(label, score),
        "average_precision": sklearn_metrics.average_precision_score(label, score),
        "brier": sklearn_metrics.brier_score_loss(label, scores.shifted),
        "log_loss": sklearn_metrics.log_loss(label, scores.shifted),
    }
    ratios = sklearn_metrics.class_likelihood_ratios(label, positive)
    expected["positive_likelihood_ratio"], expected["negative_likelihood_ratio"] = ratios
    for name, value in expected.items():
        assert getattr(metrics, name).value == pytest.approx(value, abs=1e-10), name


def test_patients_with_many_images_widen_the_intervals():
    rng = np.random.default_rng(0)
    label = np.repeat([True, False], 200)
    right = rng.random(40) < 0.8  # ten images a patient, all alike
    score = np.where(np.repeat(right, 10) == label, 0.9, 0.1)

    alone = evaluate_labels(label, score, np.arange(400), threshold=0.5).accuracy
    grouped = evaluate_labels(label, score, np.repeat(np.arange(40), 10), threshold=0.5).accuracy

    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_no_error_does_not_come_with_an_interval_of_no_width():
    label = [1] * 30 + [0] * 20
    score = [0.9] * 30 + [0.1] * 20
    metrics = evaluate_labels(label, score, range(50), threshold=0.5)

    assert metrics.sensitivity.low == pytest.approx(
        0.886487, abs=1e-6
    )  # Wilson: 30 / (30 + 1.96^2)
    assert metrics.specificity.low == pytest.approx(
        0.838875, abs=1e-6
    )  # Wilson: 20 / (20 + 1.96^2)
    assert metrics.roc_auc.low == pytest.approx(0.838875, abs=1e-6)  # 20 independent pairs
    for name in ("accuracy", "ppv", "npv", "f1", "mcc", "balanced_accuracy"):
        assert 0.6 < getattr(metrics, name).low < getattr(metrics, name).high == 1.0, name
    assert metrics.negative_likelihood_ratio.value == 0
    assert metrics.negative_likelihood_ratio.high > 0.05
    assert metrics.positive_likelihood_ratio.value == math.inf


@pytest.mark.parametrize("side", [0, 1])
def test_one_class_alone_leaves_undefined_what_needs_both(side):
    metrics = evaluate_labels([side] * 6, [0.2, 0.4, 0.6, 0.7, 0.8, 0.9], range(6), threshold=0.5)

    assert metrics.accuracy.value == pytest.approx([2 / 6, 4 / 6][side])
    undefined = ["roc_auc", "average_precision", "brier", "calibration_error", "log_loss", "mcc"]
    undefined += [["sensitivity", "specificity"][side], "balanced_accuracy"]
    for name in undefined:
        estimate = getattr(metrics, name)
        assert math.isnan(estimate.value), name
        assert math.isnan(estimate.low), name


def test_equal_scores_rank_nothing():
    metrics = evaluate_labels([1, 1, 1, 0, 0, 0], [0.5] * 6, range(6), threshold=0.5)

    assert metrics.roc_auc.value == 0.5
    assert metrics.average_precision.value == 0.5
    assert metrics.sensitivity.value == 1.0
    assert metrics.specificity.value == 0.0
    assert math.isnan(metrics.npv.value)


def test_one_image_has_a_wide_interval_and_not_none():
    metrics = evaluate_labels([1], [0.9], ["a"], threshold=0.5)

    assert metrics.sensitivity.value == 1.0
    assert metrics.sensitivity.low == pytest.approx(0.206549, abs=1e-6)  # Wilson, 1 of 1
    assert math.isnan(metrics.roc_auc.value)


@pytest.mark.parametrize(("threshold", "sensitivity"), [(0.0, 1.0), (1.0, 0.1)])
def test_thresholds_at_the_ends_are_defined(threshold, sensitivity):
    score = [1.0, *SCORE[1:]]
    metrics = evaluate_labels(LABEL, score, each_its_own(LABEL), threshold=threshold)

    assert metrics.sensitivity.value == sensitivity
    assert metrics.specificity.value == threshold
    assert math.isnan(metrics.mcc.value) == (threshold == 0.0)


@pytest.mark.parametrize(
    ("label", "score", "patient", "words"),
    [
        ([1, 0], [0.5, math.nan], [0, 1], "1 of 2 images have no probability"),
        ([1, 0], [0.5, 1.2], [0, 1], "image 2"),
        ([1, 0], [0.5], [0, 1], "2 labels, 1 probabilities, 2 patients"),
        ([], [], [], "no image"),
        (["PNEUMONIA", "COVID"], [0.5, 0.5], [0, 1], "'COVID'"),
    ],
)
def test_invalid_scores_are_refused(label, score, patient, words):
    with pytest.raises(XrayError, match=words):
        evaluate_labels(label, score, patient, threshold=0.5)


@pytest.mark.parametrize(
    "options", [{"threshold": 1.5}, {"threshold": math.nan}, {"threshold": 0.5, "prevalence": 0.0}]
)
def test_a_threshold_or_prevalence_outside_its_range_is_refused(options):
    with pytest.raises(XrayError, match="lies between 0 and 1"):
        evaluate_labels([1, 0], [0.9, 0.1], [0, 1], **options)


def test_labels_may_be_words():
    metrics = evaluate_labels(["PNEUMONIA", "NORMAL"], [0.9, 0.8], ["a", "b"], threshold=0.5)

    assert (metrics.confusion.true_positive, metrics.confusion.false_positive) == (1, 1)


def test_equal_seeds_give_equal_intervals():
    first = evaluate_labels(*simulated(), threshold=0.5, seed=4)

    assert first == evaluate_labels(*simulated(), threshold=0.5, seed=4)
    assert first != evaluate_labels(*simulated(), threshold=0.5, seed=5)


def test_a_moved_threshold_costs_under_150_milliseconds():
    scores = prepare_scores(*simulated(patients=312))  # 624 images
    evaluate(scores, threshold=0.5)
    took = []
    for threshold in (0.3, 0.4, 0.6):
        start = time.perf_counter()
        evaluate(scores, threshold=threshold, prevalence=0.1)
        took.append(time.perf_counter() - start)

    assert min(took) < 0.15


@pytest.mark.parametrize("blank", ["", "  ", "\t", None, math.nan])
def test_an_image_without_a_patient_is_a_patient_of_its_own(blank):
    metrics = evaluate_labels(
        [1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1], ["a", *[blank] * 4], **HALF
    )

    assert metrics.patients == 5
    named = evaluate_labels([1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1], "abcde", **HALF)
    assert repr(metrics) == repr(named)  # a limit that does not exist, NaN, equals no other


def test_space_around_a_patient_key_does_not_count():
    keys = ["nan", "nan", " 7", "7 ", 7, "None"]

    assert patient_codes(keys).tolist() == [2, 2, 0, 0, 0, 1]


def test_a_long_key_costs_its_own_length_alone():
    codes = patient_codes(["x" * 10_000_000, *map(str, range(2000))])

    assert len(np.unique(codes)) == 2001


def test_the_textbook_intervals_take_all_images_as_independent():
    scores = prepare_scores([1] * 10 + [0] * 10, [0.9] * 8 + [0.1] * 12, range(20))

    intervals = independent_intervals(scores, evaluate(scores, threshold=0.5))
    assert intervals["sensitivity"] == pytest.approx((0.490162, 0.943318), abs=1e-6)  # 8 of 10
    assert intervals["specificity"] == pytest.approx((0.722467, 1.0), abs=1e-6)  # 10 of 10
    assert intervals["ppv"][1] == 1.0
    assert intervals["roc_auc"][0] < 0.9 < intervals["roc_auc"][1]  # (8 + 2 / 2) / 10
    moved = independent_intervals(scores, evaluate(scores, threshold=0.5, prevalence=0.1))
    assert "ppv" not in moved
