"""Closed-form intervals against published limits, and estimates as text."""

import math

import numpy as np
import pytest

from xray_core.stats.intervals import (
    Estimate,
    exact_interval,
    format_estimate,
    format_interval,
    paired_interval,
    wilson_interval,
)


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
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_wilson_equals_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    for successes, trials in [(1, 624), (211, 234), (390, 390), (17, 33)]:
        expected = proportion_confint(successes, trials, method="wilson")
        assert wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-12)


def test_wilson_without_trials_is_not_defined():
    assert np.isnan(wilson_interval(0, 0)).all()


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (15, 16, 0.6977, 0.9984),  # R: binom.test(15, 16)$conf.int
        (0, 10, 0.0, 0.3085),
        (10, 10, 0.6915, 1.0),
        (50, 100, 0.3983, 0.6017),
    ],
)
def test_exact_interval_of_a_proportion(
    successes: int, trials: int, low: float, high: float
) -> None:
    assert exact_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("gained", "lost", "trials", "low", "high"),
    [
        (1, 7, 21, -0.517, -0.026),  # Fagerland, Lydersen and Laake 2014: hyper-responsiveness
        (0, 0, 10, -0.2775, 0.2775),  # z^2 / (10 + z^2)
        (0, 0, 100, -0.0370, 0.0370),  # z^2 / (100 + z^2)
        (10, 0, 10, 0.4449, 1.0),
    ],
)
def test_paired_interval_of_a_difference(
    gained: int, lost: int, trials: int, low: float, high: float
) -> None:
    assert paired_interval(gained, lost, trials) == pytest.approx((low, high), abs=5e-4)
    swapped = paired_interval(lost, gained, trials)
    assert swapped == pytest.approx((-high, -low), abs=5e-4)


@pytest.mark.parametrize("trials", [0.5, 1, 2, 7.5, 400])
@pytest.mark.parametrize("gained_share", [0, 0.1, 0.5, 1])
@pytest.mark.parametrize("lost_share", [0, 0.1, 0.5])
def test_a_paired_interval_holds_its_estimate(trials, gained_share, lost_share):
    lost_share = min(lost_share, 1 - gained_share)
    low, high = paired_interval(gained_share * trials, lost_share * trials, trials)
    assert -1 <= low <= gained_share - lost_share <= high <= 1
    assert high - low > 0.001


@pytest.mark.parametrize(
    ("estimate", "spec", "text"),
    [
        (Estimate(0.93, 0.9051, 0.955), ".1%", "93.0% (90.5% to 95.5%)"),
        (Estimate(0.9751, 0.96, 0.98), ".3f", "0.975 (0.960 to 0.980)"),
        (Estimate(math.inf, 7.5, math.inf), ".2f", "infinite (7.50 to infinite)"),
        (Estimate(0.5, math.nan, math.nan), ".1%", "50.0% (no interval)"),
        (Estimate(math.nan, math.nan, math.nan), ".3f", "not defined"),
    ],
)
def test_an_estimate_is_written_with_its_interval(estimate, spec, text):
    assert format_estimate(estimate, spec) == text


def test_an_interval_alone_is_written_without_its_estimate():
    assert format_interval(0.9051, 0.955) == "90.5% to 95.5%"
    assert format_interval(math.nan, math.nan) == "no interval"
