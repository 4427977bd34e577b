"""Metrics against tables worked out by hand, and against scikit-learn."""

import math
import time

import numpy as np
import pytest

from xray_core.errors import XrayError
from xray_core.evaluation.metrics import evaluate, evaluate_scores
from xray_core.evaluation.scores import patient_codes, prepare

# 20 images: 8 of 10 with pneumonia found, 1 of 10 normal ones flagged.
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
    found = evaluate_scores(LABEL, SCORE, each_its_own(LABEL), threshold=0.5)

    assert getattr(found, name).value == pytest.approx(expected, abs=1e-6)
    assert getattr(found, name).low < expected < getattr(found, name).high


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
    found = evaluate_scores(SIX_LABEL, SIX_SCORE, each_its_own(SIX_LABEL), threshold=0.5)

    assert getattr(found, name).value == pytest.approx(expected, abs=1e-6)


def test_predictive_values_follow_the_stated_prevalence():
    found = evaluate_scores(LABEL, SCORE, each_its_own(LABEL), threshold=0.5, prevalence=0.1)

    assert found.ppv.value == pytest.approx(0.470588, abs=1e-6)  # .08 / (.08 + .09)
    assert found.npv.value == pytest.approx(0.975904, abs=1e-6)  # .81 / (.81 + .02)
    assert found.stated_prevalence == 0.1
    assert found.prevalence == 0.5
    assert found.sensitivity.value == 0.8


def test_a_image_at_the_threshold_is_called_pneumonia():
    found = evaluate_scores([1, 0], [0.5, 0.49], [0, 1], threshold=0.5)

    assert (found.confusion.true_positive, found.confusion.true_negative) == (1, 1)


def test_calibration_is_measured_at_the_prevalence_of_the_images():
    # Four of five have pneumonia: odds of 1 become odds of 4, so 0.5 is stated, 0.8 measured.
    found = evaluate_scores([1, 1, 1, 1, 0], [0.5] * 5, range(5), threshold=0.5)

    assert found.calibration_error.value == pytest.approx(0.0, abs=1e-12)
    assert found.brier.value == pytest.approx(0.16)  # (4 * .2^2 + .8^2) / 5


def simulated(seed=3, patients=300):
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 4, patients)
    patient = np.repeat(np.arange(patients), images)
    label = (np.arange(patients) % 2 == 0)[patient]
    score = 1 / (1 + np.exp(-(np.where(label, 1.5, -1.5) + rng.normal(size=len(label)) * 1.5)))
    return label, np.round(score, 2), patient  # rounding makes ties


def test_values_equal_scikit_learns():
    from sklearn import metrics

    label, score, patient = simulated()
    images = prepare(label, score, patient)
    found = evaluate(images, threshold=0.4)
    called = score >= 0.4

    expected = {
        "accuracy": metrics.accuracy_score(label, called),
        "sensitivity": metrics.recall_score(label, called),
        "specificity": metrics.recall_score(~label, ~called),
        "ppv": metrics.precision_score(label, called),
        "npv": metrics.precision_score(~label, ~called),
        "f1": metrics.f1_score(label, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(label, called),
        "mcc": metrics.matthews_corrcoef(label, called),
        "roc_auc": metrics.roc_auc_score(label, score),
        "average_precision": metrics.average_precision_score(label, score),
        "brier": metrics.brier_score_loss(label, images.shifted),
        "log_loss": metrics.log_loss(label, images.shifted),
    }
    ratios = metrics.class_likelihood_ratios(label, called)
    expected["positive_likelihood_ratio"], expected["negative_likelihood_ratio"] = ratios
    for name, value in expected.items():
        assert getattr(found, name).value == pytest.approx(value, abs=1e-10), name


def test_patients_with_many_images_widen_the_intervals():
    rng = np.random.default_rng(0)
    label = np.repeat([True, False], 200)
    right = rng.random(40) < 0.8  # ten images a patient, all alike
    score = np.where(np.repeat(right, 10) == label, 0.9, 0.1)

    alone = evaluate_scores(label, score, np.arange(400), threshold=0.5).accuracy
    grouped = evaluate_scores(label, score, np.repeat(np.arange(40), 10), threshold=0.5).accuracy

    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_no_error_does_not_come_with_an_interval_of_no_width():
    label = [1] * 30 + [0] * 20
    score = [0.9] * 30 + [0.1] * 20
    found = evaluate_scores(label, score, range(50), threshold=0.5)

    assert found.sensitivity.low == pytest.approx(0.886487, abs=1e-6)  # Wilson: 30 / (30 + 1.96^2)
    assert found.specificity.low == pytest.approx(0.838875, abs=1e-6)  # Wilson: 20 / (20 + 1.96^2)
    assert found.roc_auc.low == pytest.approx(0.838875, abs=1e-6)  # 20 independent pairs
    for name in ("accuracy", "ppv", "npv", "f1", "mcc", "balanced_accuracy"):
        assert 0.6 < getattr(found, name).low < getattr(found, name).high == 1.0, name
    assert found.negative_likelihood_ratio.value == 0
    assert found.negative_likelihood_ratio.high > 0.05
    assert found.positive_likelihood_ratio.value == math.inf


@pytest.mark.parametrize("side", [0, 1])
def test_one_class_alone_leaves_undefined_what_needs_both(side):
    found = evaluate_scores([side] * 6, [0.2, 0.4, 0.6, 0.7, 0.8, 0.9], range(6), threshold=0.5)

    assert found.accuracy.value == pytest.approx([2 / 6, 4 / 6][side])
    undefined = ["roc_auc", "average_precision", "brier", "calibration_error", "log_loss", "mcc"]
    undefined += [["sensitivity", "specificity"][side], "balanced_accuracy"]
    for name in undefined:
        estimate = getattr(found, name)
        assert math.isnan(estimate.value), name
        assert math.isnan(estimate.low), name


def test_equal_scores_rank_nothing():
    found = evaluate_scores([1, 1, 1, 0, 0, 0], [0.5] * 6, range(6), threshold=0.5)

    assert found.roc_auc.value == 0.5
    assert found.average_precision.value == 0.5
    assert found.sensitivity.value == 1.0
    assert found.specificity.value == 0.0
    assert math.isnan(found.npv.value)


def test_one_image_has_a_wide_interval_and_not_none():
    found = evaluate_scores([1], [0.9], ["a"], threshold=0.5)

    assert found.sensitivity.value == 1.0
    assert found.sensitivity.low == pytest.approx(0.206549, abs=1e-6)  # Wilson, 1 of 1
    assert math.isnan(found.roc_auc.value)


@pytest.mark.parametrize(("threshold", "sensitivity"), [(0.0, 1.0), (1.0, 0.1)])
def test_thresholds_at_the_ends_are_defined(threshold, sensitivity):
    score = [1.0, *SCORE[1:]]
    found = evaluate_scores(LABEL, score, each_its_own(LABEL), threshold=threshold)

    assert found.sensitivity.value == sensitivity
    assert found.specificity.value == threshold
    assert math.isnan(found.mcc.value) == (threshold == 0.0)


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
def test_what_cannot_be_measured_is_refused_with_a_sentence(label, score, patient, words):
    with pytest.raises(XrayError, match=words):
        evaluate_scores(label, score, patient, threshold=0.5)


@pytest.mark.parametrize(
    "options", [{"threshold": 1.5}, {"threshold": math.nan}, {"threshold": 0.5, "prevalence": 0.0}]
)
def test_a_threshold_or_prevalence_outside_its_range_is_refused(options):
    with pytest.raises(XrayError, match="lies between 0 and 1"):
        evaluate_scores([1, 0], [0.9, 0.1], [0, 1], **options)


def test_labels_may_be_words():
    found = evaluate_scores(["PNEUMONIA", "NORMAL"], [0.9, 0.8], ["a", "b"], threshold=0.5)

    assert (found.confusion.true_positive, found.confusion.false_positive) == (1, 1)


def test_equal_seeds_give_equal_intervals():
    first = evaluate_scores(*simulated(), threshold=0.5, seed=4)

    assert first == evaluate_scores(*simulated(), threshold=0.5, seed=4)
    assert first != evaluate_scores(*simulated(), threshold=0.5, seed=5)


def test_a_moved_threshold_costs_under_150_milliseconds():
    images = prepare(*simulated(patients=312))  # 624 images
    evaluate(images, threshold=0.5)
    took = []
    for threshold in (0.3, 0.4, 0.6):
        start = time.perf_counter()
        evaluate(images, threshold=threshold, prevalence=0.1)
        took.append(time.perf_counter() - start)

    assert min(took) < 0.15


@pytest.mark.parametrize("blank", ["", "  ", "\t", None, math.nan])
def test_a_image_without_a_patient_is_a_patient_of_its_own(blank):
    found = evaluate_scores([1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1], ["a", *[blank] * 4], **HALF)

    assert found.patients == 5
    assert found == evaluate_scores([1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1], "abcde", **HALF)


def test_patients_are_told_apart_by_their_keys_without_the_space_around_them():
    keys = ["nan", "nan", " 7", "7 ", 7, "None"]

    assert patient_codes(keys).tolist() == [2, 2, 0, 0, 0, 1]


def test_a_long_key_costs_its_own_length_alone():
    codes = patient_codes(["x" * 10_000_000, *map(str, range(2000))])

    assert len(np.unique(codes)) == 2001
