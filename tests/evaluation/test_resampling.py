"""Intervals: Wilson, the bootstrap over patients, DeLong; coverage by simulation."""

import numpy as np
import pytest

from xray_core.errors import XrayError
from xray_core.evaluation.delong import area_interval, delong, difference_p_value
from xray_core.evaluation.films import prepare
from xray_core.evaluation.independent import film_intervals
from xray_core.evaluation.metrics import evaluate, evaluate_scores
from xray_core.evaluation.resampling import draw_patients, wilson


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

    assert weights.table.shape == (1 + 50 + 7, 7)
    assert (weights.table[1:51].sum(axis=1) == 7).all()
    assert (weights.table[51:].sum(axis=1) == 6).all()  # one patient left out
    assert (weights.table[51:].sum(axis=0) == 6).all()  # each once


def test_many_patients_are_left_out_in_groups():
    weights = draw_patients(1000, n_bootstrap=10, seed=0)

    assert len(weights.table) == 1 + 10 + 400
    assert (weights.table[11:].sum(axis=0) == 399).all()


def test_a_metric_that_few_draws_define_has_no_interval():
    weights = draw_patients(5, n_bootstrap=100, seed=0)
    values = np.full(len(weights.table), 0.5)
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


def test_no_patient_is_no_evaluation():
    with pytest.raises(XrayError, match="no film"):
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


def test_films_of_one_patient_that_say_the_same_carry_no_more_than_one_film():
    label = np.array([1, 1, 1, 0, 0, 0], bool)
    score = np.array([0.9, 0.8, 0.4, 0.7, 0.4, 0.1])
    patient = np.arange(6)

    areas, covariance = delong(np.tile(label, 5), np.tile(score, 5), np.tile(patient, 5))

    assert areas[0] == pytest.approx(5 / 6)
    assert covariance[0, 0] == pytest.approx(1 / 27)
    assert delong(np.tile(label, 5), np.tile(score, 5))[1][0, 0] < 1 / 27 / 4


def test_delong_and_the_bootstrap_agree_where_films_are_independent():
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
    films = prepare([1] * 10 + [0] * 10, [0.9] * 8 + [0.1] * 12, range(20))

    found = film_intervals(films, evaluate(films, threshold=0.5))
    assert found["sensitivity"] == pytest.approx((0.490162, 0.943318), abs=1e-6)  # 8 of 10
    assert found["specificity"] == pytest.approx((0.722467, 1.0), abs=1e-6)  # 10 of 10
    assert found["ppv"][1] == 1.0
    assert found["roc_auc"][0] < 0.9 < found["roc_auc"][1]  # (8 + 2 / 2) / 10
    moved = film_intervals(films, evaluate(films, threshold=0.5, prevalence=0.1))
    assert "ppv" not in moved
