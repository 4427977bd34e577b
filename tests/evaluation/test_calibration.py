"""Prior shift, reliability bins, and the error that chance alone would give."""

import numpy as np
import pytest

from xray_core.evaluation.calibration import (
    bin_index,
    reliability_bins,
    simulated_calibration_errors,
)
from xray_core.evaluation.curves import reliability_diagram
from xray_core.evaluation.scores import prepare_scores
from xray_core.model.calibration import shift_prior


@pytest.mark.parametrize(
    ("probability", "source", "target", "expected"),
    [
        (0.5, 0.5, 0.8, 0.8),
        (0.2, 0.5, 0.8, 0.5),  # odds 1/4, times 4
        (0.5, 0.25, 0.5, 0.75),  # odds 1, times 3
        (0.0, 0.5, 0.8, 0.0),
        (1.0, 0.5, 0.8, 1.0),
        (0.3, 0.5, 0.5, 0.3),
    ],
)
def test_the_shift_multiplies_the_odds(probability, source, target, expected):
    assert shift_prior(np.array([probability]), source=source, target=target) == pytest.approx(
        expected
    )


def test_bins_are_closed_below_and_the_last_one_above_too():
    edges = np.array([0.0, 0.0999, 0.1, 0.3, 0.6, 0.7, 0.9, 1.0])

    assert bin_index(edges).tolist() == [0, 0, 1, 3, 6, 7, 9, 9]


def test_the_error_is_weighted_by_images():
    # Bin 8: three images at .8, two with pneumonia: |.8 - 2/3|. Bin 1: one normal image at .1.
    label = np.array([1, 1, 0, 0])
    probability = np.array([0.8, 0.8, 0.8, 0.1])

    expected = (3 * (0.8 - 2 / 3) + 0.1) / 4
    diagram = reliability_diagram(prepare_scores(label, probability, range(4)))
    assert diagram.error.value == pytest.approx(expected)


def test_a_reliability_bin_counts_images_and_patients():
    bins = reliability_bins([1, 1, 0, 0], [0.8, 0.8, 0.8, 0.1], ["a", "a", "b", "c"])

    assert len(bins) == 10
    eighth = bins[8]
    assert (eighth.images, eighth.patients) == (3, 2)
    assert eighth.predicted == pytest.approx(0.8)
    assert eighth.observed == pytest.approx(2 / 3)
    assert eighth.observed_low < 0.2  # of two patients
    assert bins[5].images == 0
    assert np.isnan(bins[5].observed)


def test_a_calibrated_model_stays_within_its_reference_and_an_overconfident_one_does_not():
    rng = np.random.default_rng(0)
    probability = rng.beta(0.5, 0.5, size=2000)
    label = rng.random(2000) < probability
    overconfident = shift_to_extremes(probability)

    errors = simulated_calibration_errors(probability, np.arange(2000))
    low, high = np.quantile(errors, [0.025, 0.975])
    assert low < calibration_error(label, probability) < high
    assert len(errors) == 2000
    errors = simulated_calibration_errors(overconfident, np.arange(2000))
    assert calibration_error(label, overconfident) > np.quantile(errors, 0.975)


def calibration_error(label, probability):
    """Over ten bins: the share of images times |mean probability - observed share|."""
    bins = reliability_bins(label, probability, np.arange(len(label)))
    excess = [b.images * abs(b.predicted - b.observed) for b in bins if b.images]
    return sum(excess) / len(label)


def shift_to_extremes(probability):
    odds = (probability / (1 - probability)) ** 3
    return odds / (1 + odds)


def test_the_reference_of_certain_probabilities_is_no_error():
    assert not simulated_calibration_errors(np.array([0.0, 1.0, 1.0]), np.arange(3)).any()


def test_with_one_image_a_patient_the_reference_draws_image_by_image():
    probability = np.random.default_rng(4).beta(0.5, 0.5, size=300)

    errors = simulated_calibration_errors(probability, np.arange(300)[::-1], n_draws=50, seed=7)

    drawn = np.random.default_rng(7).random((50, 300)) < probability
    by_hand = [calibration_error(label, probability) for label in drawn]
    assert errors == pytest.approx(by_hand, abs=1e-7)


def test_two_equal_images_of_a_patient_share_their_label():
    # Images of 0.25 in one bin. Drawn apart, two of them are off by |0 - .5|, |1 - .5| or |2 - .5|
    # of 2; as one patient's they are both normal (an error of .25, three times in four) or both
    # pneumonia (.75). The variance of the excess doubles: 2 * 2 * .25 * .75 against 2 * .25 * .75.
    probability = np.array([0.25, 0.25])

    together = simulated_calibration_errors(probability, np.array([8, 8]), n_draws=20_000)
    apart = simulated_calibration_errors(probability, np.array([8, 9]), n_draws=20_000)

    assert set(np.round(together, 9)) == {0.25, 0.75}
    assert (together == 0.75).mean() == pytest.approx(0.25, abs=0.01)
    assert set(np.round(apart, 9)) == {0.25, 0.75}
    squares = [np.mean((2 * errors) ** 2) for errors in (together, apart)]
    assert squares == pytest.approx([0.75, 0.375], abs=0.02)


def test_unlike_images_of_a_patient_each_keep_their_own_probability():
    # Bins 2 and 7. One number u: below .2 both are positive, from .2 to .7 the second alone.
    probability = np.array([0.2, 0.7])

    errors = simulated_calibration_errors(probability, np.array([1, 1]), n_draws=20_000)

    both, second, neither = 0.8 + 0.3, 0.2 + 0.3, 0.2 + 0.7
    shares = {k: np.isclose(errors, k / 2).mean() for k in (both, second, neither)}
    assert shares == pytest.approx({both: 0.2, second: 0.5, neither: 0.3}, abs=0.015)
