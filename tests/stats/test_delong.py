"""ROC areas with DeLong's covariance: against variances worked out by hand, and by simulation."""

import numpy as np
import pytest
from simulated_tables import evaluate_labels

from xray_core.stats.delong import auc_interval, delong, difference_p_value
from xray_core.stats.intervals import wald_interval


def test_delong_matches_the_hand_worked_variance():
    # Shares of the right order: 1, 1, 1/2 (positives) and 2/3, 5/6, 1 (negatives); area 5/6.
    # S10 = (1/36 + 1/36 + 1/9) / 2 = 1/12, S01 = (1/36 + 0 + 1/36) / 2 = 1/36.
    # Variance: (S10 + S01) / 3 = 1/27.
    areas, covariance = delong(
        np.array([1, 1, 1, 0, 0, 0], bool), np.array([0.9, 0.8, 0.4, 0.7, 0.4, 0.1])
    )

    assert areas[0] == pytest.approx(5 / 6)
    assert covariance[0, 0] == pytest.approx(1 / 27)


def test_equal_images_of_one_patient_count_as_one_image():
    label = np.array([1, 1, 1, 0, 0, 0], bool)
    score = np.array([0.9, 0.8, 0.4, 0.7, 0.4, 0.1])
    patient = np.arange(6)

    areas, covariance = delong(np.tile(label, 5), np.tile(score, 5), np.tile(patient, 5))

    assert areas[0] == pytest.approx(5 / 6)
    assert covariance[0, 0] == pytest.approx(1 / 27)
    assert delong(np.tile(label, 5), np.tile(score, 5))[1][0, 0] < 1 / 27 / 4


def test_delong_and_the_bootstrap_agree_where_images_are_independent():
    rng = np.random.default_rng(0)
    label = np.arange(600) % 2 == 0
    score = 1 / (1 + np.exp(-(np.where(label, 1, -1) + rng.normal(size=600))))
    areas, covariance = delong(label, score)
    low, high = wald_interval(areas[0], covariance[0, 0])

    bootstrapped = evaluate_labels(label, score, np.arange(600), threshold=0.5).roc_auc

    assert bootstrapped.value == pytest.approx(areas[0], abs=1e-12)
    assert bootstrapped.low == pytest.approx(low, abs=0.004)
    assert bootstrapped.high == pytest.approx(high, abs=0.004)


def test_equal_scores_do_not_differ():
    label = np.array([1, 1, 0, 0, 1, 0], bool)
    score = np.array([0.9, 0.2, 0.4, 0.1, 0.8, 0.3])

    assert difference_p_value(*delong(label, np.stack([score, score]))) == 1.0


def test_one_class_has_no_area():
    areas, covariance = delong(np.ones(4, bool), np.arange(4.0))

    assert np.isnan(areas).all()
    assert np.isnan(covariance).all()


def test_auc_of_five_images_by_hand() -> None:
    # Pneumonia 1, 3; normal 2, 3, 4: of six pairs one is in order (3 > 2) and one is tied (3 = 3).
    values = np.array([1.0, 3, 2, 3, 4])
    positive = np.array([True, True, False, False, False])
    auc = auc_interval(positive, values, np.arange(5))
    assert auc.value == 1.5 / 6
    assert auc.low < 0.25 < auc.high


def test_auc_interval_with_one_image_a_patient_is_delongs() -> None:
    # DeLong's variance by hand: placements of the positives (2/3, 1/3, 1, 1), of the negatives
    # (3/4, 1, 1/2); deviations from 3/4 squared and summed: 11/36 and 1/8. Divided by 3 and by 2
    # they are S10 and S01: 11/108 / 4 + 1/16 / 3 = 0.0462963, standard error 0.2151657.
    values = np.array([5.0, 3, 8, 9, 4, 2, 6])
    positive = np.array([True, True, True, True, False, False, False])
    auc = auc_interval(positive, values, np.arange(7))
    assert auc.value == 0.75
    reach = 1.959964 * 0.2151657 / (0.75 * 0.25)
    middle = np.log(3)
    assert auc.low == pytest.approx(1 / (1 + np.exp(-(middle - reach))), abs=1e-5)
    assert auc.high == pytest.approx(1 / (1 + np.exp(-(middle + reach))), abs=1e-5)


def test_copies_of_a_patients_image_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(60) % 2 == 0
    values = rng.normal(size=60) + positive
    once = auc_interval(positive, values, np.arange(60))
    copied = auc_interval(np.repeat(positive, 4), np.repeat(values, 4), np.repeat(np.arange(60), 4))
    assert copied.value == pytest.approx(once.value)
    assert copied.low == pytest.approx(once.low)
    assert copied.high == pytest.approx(once.high)
    naive = auc_interval(np.repeat(positive, 4), np.repeat(values, 4), np.arange(240))
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
        auc = auc_interval(positive, values, patients)
        hits += auc.low <= 0.69146 <= auc.high
    assert 0.91 <= hits / 300 <= 0.985


def test_classes_that_do_not_overlap_have_the_exact_interval() -> None:
    positive = np.arange(20) < 10
    auc = auc_interval(positive, np.where(positive, 2.0, 1.0), np.arange(20))
    # Ten independent pairs, all in the right order: the exact interval of 10 of 10.
    assert (auc.value, auc.low, auc.high) == pytest.approx((1.0, 0.6915, 1.0), abs=5e-5)
    other = auc_interval(positive, np.where(positive, 1.0, 2.0), np.arange(20))
    assert (other.low, other.high) == pytest.approx((0.0, 0.3085), abs=5e-5)


def test_one_patient_in_a_class_gives_the_widest_interval() -> None:
    auc = auc_interval(
        np.array([True, True, False, False]), np.array([3.0, 1, 2, 0]), np.array([*"aabc"])
    )
    assert (auc.value, auc.low, auc.high) == (0.75, 0.0, 1.0)
