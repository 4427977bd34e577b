"""The bootstrap over patients: weights, BCa intervals, memory and progress."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import expit

from xray_core.errors import XrayError
from xray_core.evaluation.curves import decision_curve, reliability_diagram, roc_curve
from xray_core.evaluation.metrics import evaluate
from xray_core.evaluation.scores import prepare_scores
from xray_core.stats.bootstrap import PatientWeights, _DrawCache, _PackedDraws, reporting


def test_the_interval_is_scipys_bca_interval():
    from scipy.stats import bootstrap

    # Skewed, so that the acceleration counts.
    values = np.random.default_rng(1).exponential(size=80)
    weights = PatientWeights(80, bootstrap=20_000, seed=1)
    result = weights.interval(weights.sums(values) / weights.sums(np.ones(80)))
    expected = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval

    assert result.low == pytest.approx(expected.low, abs=0.01)
    assert result.high == pytest.approx(expected.high, abs=0.01)


def test_every_draw_holds_as_many_patients_as_there_are():
    weights = PatientWeights(7, bootstrap=50, seed=0)

    table = np.concatenate(list(weights.blocks(20)))
    assert table.shape == (weights.rows, weights.patients) == (1 + 50 + 7, 7)
    assert (table[1:51].sum(axis=1) == 7).all()
    assert (table[51:].sum(axis=1) == 6).all()  # one patient left out
    assert (table[51:].sum(axis=0) == 6).all()  # each once


def test_many_patients_are_left_out_in_groups():
    weights = PatientWeights(1000, bootstrap=10, seed=0)

    table = np.concatenate(list(weights.blocks(64)))
    assert len(table) == weights.rows == 1 + 10 + 400
    assert (table[11:].sum(axis=0) == 399).all()


def test_a_metric_that_few_draws_define_has_no_interval():
    weights = PatientWeights(5, bootstrap=100, seed=0)
    values = np.full(weights.rows, 0.5)
    values[1:21] = np.nan

    estimate = weights.interval(values)

    assert estimate.value == 0.5
    assert np.isnan(estimate.low)
    assert np.isnan(estimate.high)


def test_draws_that_equal_the_estimate_but_for_rounding_are_ties():
    weights = PatientWeights(4, bootstrap=200, seed=0)
    values = weights.sums(np.array([0.3, 0.1, 0.2, 0.4])) / 4
    rounded = values.copy()
    rounded[1:201][np.isclose(values[1:201], values[0])] = np.nextafter(values[0], 1)

    assert (rounded == values[0]).sum() < (np.isclose(values, values[0])).sum()
    result, expected = weights.interval(rounded), weights.interval(np.round(values, 14))
    assert result.low == pytest.approx(expected.low, abs=1e-12)
    assert result.high == pytest.approx(expected.high, abs=1e-12)


def test_draws_of_many_patients_need_little_memory():
    patients = 10_000  # the whole table of weights would be 96 MB, its draws 160 MB
    label = np.arange(patients) % 2 == 0
    score = expit(np.where(label, 1, -1) + np.random.default_rng(0).normal(size=patients))

    tracemalloc.start()
    try:
        scores = prepare_scores(label, score, np.arange(patients))
        evaluate(scores, threshold=0.5)
        roc_curve(scores)
        decision_curve(scores, 0.1)
        reliability_diagram(scores)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 90e6


def test_kept_draws_stay_within_their_limit():
    kept = _DrawCache(limit=1000)
    for patients in (100, 60, 40):
        draws = kept.make_room(patients, 10)
        kept.put((patients, 10, 0), draws)

    assert kept.get((100, 10, 0)) is not None  # 500 + 300 + 200 bytes
    kept.put((20, 10, 0), kept.make_room(20, 10))
    assert kept.get((60, 10, 0)) is None  # the one that was used least recently
    assert kept.get((40, 10, 0)) is not None
    assert kept.make_room(400, 10) is None


def test_counts_that_need_more_than_four_bits_are_not_packed():
    draws = _PackedDraws(patients=5, bootstrap=2)

    assert draws.pack(0, np.array([[15, 0, 1, 2, 3], [0, 4, 5, 6, 15]]))
    assert draws.unpacked(0, 2).tolist() == [[15, 0, 1, 2, 3], [0, 4, 5, 6, 15]]
    assert not draws.pack(0, np.array([[16, 0, 1, 2, 3]]))


def test_progress_is_reported_to_the_end_of_each_pass():
    reports = []
    weights = PatientWeights(30, bootstrap=50, seed=8)

    with reporting(lambda done, total: reports.append((done, total))):
        weights.sums(np.ones(30))
    weights.sums(np.ones(30))  # outside the context: not reported

    assert reports[-1] == (81, 81)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert sum(done == 81 for done, _ in reports) == 1


def test_an_error_in_a_block_reaches_the_caller():
    def fail(block):
        raise ZeroDivisionError("in a thread")

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        PatientWeights(30, bootstrap=50).apply(fail)


def test_a_bootstrap_without_patients_is_refused():
    with pytest.raises(XrayError, match="no image"):
        PatientWeights(0)
