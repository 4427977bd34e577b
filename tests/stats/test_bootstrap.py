"""Intervals: Wilson, the bootstrap over patients, DeLong; coverage by simulation."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import expit

from xray_core.errors import XrayError
from xray_core.evaluation.calibration import calibrated_reference
from xray_core.evaluation.curves import decision_curve, roc_band
from xray_core.evaluation.independent import independent_intervals
from xray_core.evaluation.metrics import evaluate, evaluate_scores
from xray_core.evaluation.scores import prepare
from xray_core.stats.bootstrap import (
    _Draws,
    _Kept,
    draw_patients,
    reporting,
    wilson,
)
from xray_core.stats.delong import area_interval, delong, difference_p_value


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (8, 10, 0.490162, 0.943318),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (0.5, 1, 0.054621, 0.945379),  # effective numbers need not be whole
    ],
)
def test_wilson_gives_the_published_limits(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_wilson_equals_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    for successes, trials in [(1, 624), (211, 234), (390, 390), (17, 33)]:
        expected = proportion_confint(successes, trials, method="wilson")
        assert wilson(successes, trials) == pytest.approx(expected, abs=1e-12)


def test_wilson_without_trials_is_not_defined():
    assert np.isnan(wilson(0, 0)).all()


def test_the_interval_is_scipys_bca_interval():
    from scipy.stats import bootstrap

    values = np.random.default_rng(1).exponential(
        size=80
    )  # skewed, so that the acceleration counts
    weights = draw_patients(80, n_bootstrap=20_000, seed=1)
    found = weights.interval(weights.sums(values) / weights.sums(np.ones(80)))
    expected = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval

    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


def test_every_draw_holds_as_many_patients_as_there_are():
    weights = draw_patients(7, n_bootstrap=50, seed=0)

    table = np.concatenate(list(weights.blocks(20)))
    assert table.shape == (weights.rows, weights.patients) == (1 + 50 + 7, 7)
    assert (table[1:51].sum(axis=1) == 7).all()
    assert (table[51:].sum(axis=1) == 6).all()  # one patient left out
    assert (table[51:].sum(axis=0) == 6).all()  # each once


def test_many_patients_are_left_out_in_groups():
    weights = draw_patients(1000, n_bootstrap=10, seed=0)

    table = np.concatenate(list(weights.blocks(64)))
    assert len(table) == weights.rows == 1 + 10 + 400
    assert (table[11:].sum(axis=0) == 399).all()


def test_a_metric_that_few_draws_define_has_no_interval():
    weights = draw_patients(5, n_bootstrap=100, seed=0)
    values = np.full(weights.rows, 0.5)
    values[1:21] = np.nan

    estimate = weights.interval(values)

    assert estimate.value == 0.5
    assert np.isnan(estimate.low)
    assert np.isnan(estimate.high)


def test_draws_that_equal_the_estimate_but_for_rounding_are_ties():
    weights = draw_patients(4, n_bootstrap=200, seed=0)
    values = weights.sums(np.array([0.3, 0.1, 0.2, 0.4])) / 4
    rounded = values.copy()
    rounded[1:201][np.isclose(values[1:201], values[0])] = np.nextafter(values[0], 1)

    assert (rounded == values[0]).sum() < (np.isclose(values, values[0])).sum()
    found, expected = weights.interval(rounded), weights.interval(np.round(values, 14))
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_draws_of_many_patients_are_worked_out_in_little_memory():
    patients = 10_000  # the whole table of weights would be 96 MB, its draws 160 MB
    label = np.arange(patients) % 2 == 0
    score = expit(np.where(label, 1, -1) + np.random.default_rng(0).normal(size=patients))

    tracemalloc.start()
    try:
        images = prepare(label, score, np.arange(patients))
        evaluate(images, threshold=0.5)
        roc_band(images)
        decision_curve(images, 0.1)
        calibrated_reference(images.shifted, images.patient)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 90e6


def test_kept_draws_stay_within_their_limit():
    kept = _Kept(limit=1000)
    for patients in (100, 60, 40):
        draws = kept.make_room(patients, 10)
        kept.put((patients, 10, 0), draws)

    assert kept.get((100, 10, 0)) is not None  # 500 + 300 + 200 bytes
    kept.put((20, 10, 0), kept.make_room(20, 10))
    assert kept.get((60, 10, 0)) is None  # the one that was used least recently
    assert kept.get((40, 10, 0)) is not None
    assert kept.make_room(400, 10) is None


def test_counts_that_need_more_than_four_bits_are_not_packed():
    draws = _Draws(patients=5, bootstrap=2)

    assert draws.pack(0, np.array([[15, 0, 1, 2, 3], [0, 4, 5, 6, 15]]))
    assert draws.unpacked(0, 2).tolist() == [[15, 0, 1, 2, 3], [0, 4, 5, 6, 15]]
    assert not draws.pack(0, np.array([[16, 0, 1, 2, 3]]))


def test_progress_is_told_to_the_end_of_each_pass():
    told = []
    weights = draw_patients(30, n_bootstrap=50, seed=8)

    with reporting(lambda done, total: told.append((done, total))):
        weights.sums(np.ones(30))
    weights.sums(np.ones(30))  # nobody listens any more

    assert told[-1] == (81, 81)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert sum(done == 81 for done, _ in told) == 1


def test_a_failure_in_a_block_reaches_the_caller():
    def fail(block):
        raise ZeroDivisionError("in a thread")

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        draw_patients(30, n_bootstrap=50).each(fail)


def test_no_patient_is_no_evaluation():
    with pytest.raises(XrayError, match="no image"):
        draw_patients(0)


def test_delong_matches_the_hand_worked_variance():
    # Shares of the right order: 1, 1, 1/2 (positives) and 2/3, 5/6, 1 (negatives); area 5/6.
    # S10 = (1/36 + 1/36 + 1/9) / 2 = 1/12, S01 = (1/36 + 0 + 1/36) / 2 = 1/36.
    # Variance: (S10 + S01) / 3 = 1/27.
    areas, covariance = delong(
        np.array([1, 1, 1, 0, 0, 0], bool), np.array([0.9, 0.8, 0.4, 0.7, 0.4, 0.1])
    )

    assert areas[0] == pytest.approx(5 / 6)
    assert covariance[0, 0] == pytest.approx(1 / 27)


def test_images_of_one_patient_that_say_the_same_carry_no_more_than_one_image():
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
    low, high = area_interval(areas[0], covariance[0, 0])

    found = evaluate_scores(label, score, np.arange(600), threshold=0.5).roc_auc

    assert found.value == pytest.approx(areas[0], abs=1e-12)
    assert found.low == pytest.approx(low, abs=0.004)
    assert found.high == pytest.approx(high, abs=0.004)


def test_equal_scores_do_not_differ():
    label = np.array([1, 1, 0, 0, 1, 0], bool)
    score = np.array([0.9, 0.2, 0.4, 0.1, 0.8, 0.3])

    assert difference_p_value(*delong(label, np.stack([score, score]))) == 1.0


def test_one_class_has_no_area():
    areas, covariance = delong(np.ones(4, bool), np.arange(4.0))

    assert np.isnan(areas).all()
    assert np.isnan(covariance).all()


def test_the_textbook_intervals_stand_beside_the_bootstraps():
    images = prepare([1] * 10 + [0] * 10, [0.9] * 8 + [0.1] * 12, range(20))

    found = independent_intervals(images, evaluate(images, threshold=0.5))
    assert found["sensitivity"] == pytest.approx((0.490162, 0.943318), abs=1e-6)  # 8 of 10
    assert found["specificity"] == pytest.approx((0.722467, 1.0), abs=1e-6)  # 10 of 10
    assert found["ppv"][1] == 1.0
    assert found["roc_auc"][0] < 0.9 < found["roc_auc"][1]  # (8 + 2 / 2) / 10
    moved = independent_intervals(images, evaluate(images, threshold=0.5, prevalence=0.1))
    assert "ppv" not in moved
