"""Calibration: probabilities, verdicts, and the fit to validation images."""

import math
from dataclasses import replace

import numpy as np
import pytest

from xray_core.model.calibration import Calibration, fit_calibration

PLAIN = Calibration(2.0, 0.5, 0.5, 0.5, 0.2, (0.4, 0.6))


@pytest.mark.parametrize(
    ("logit", "probability"),
    [
        (-1.0, 0.5),  # -1 / 2 + 0.5 = 0
        (math.log(9) * 2 - 1, 0.9),
        (-1000.0, 0.0),
        (1000.0, 1.0),
    ],
)
def test_probability_is_the_sigmoid_of_the_scaled_logit(logit: float, probability: float) -> None:
    assert PLAIN.probability(logit) == pytest.approx(probability, abs=1e-12)


@pytest.mark.parametrize(
    ("probability", "verdict"),
    [
        (0.0, "NORMAL"),
        (0.399, "NORMAL"),
        (0.4, "UNCERTAIN"),
        (0.6, "UNCERTAIN"),
        (0.601, "PNEUMONIA"),
        (1.0, "PNEUMONIA"),
    ],
)
def test_the_band_includes_its_ends(probability: float, verdict: str) -> None:
    assert PLAIN.verdict(probability) == verdict


def _images(correct_of_four: int = 3, repeats: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of 2 and -2, of which three in four have the sign of the label."""
    signs = np.array([1] * correct_of_four + [-1] * (4 - correct_of_four))
    logit = np.concatenate([2.0 * signs, -2.0 * signs])
    label = np.array([1] * 4 + [0] * 4)
    return np.tile(logit, repeats), np.tile(label, repeats)


def test_temperature_makes_the_probability_the_accuracy() -> None:
    # sigmoid(2 / T) = 3/4 where T = 2 / ln 3.
    fitted = fit_calibration(*_images())
    assert fitted.temperature == pytest.approx(2 / math.log(3), rel=1e-3)
    assert fitted.probability(2.0) == pytest.approx(0.75, abs=1e-3)


def test_the_temperature_is_at_least_1() -> None:
    # All images are classified correctly, so a temperature below 1 would fit better.
    logit, label = np.repeat([1.0, -1.0], 50), np.repeat([1, 0], 50)
    assert fit_calibration(logit, label).temperature == pytest.approx(1, abs=1e-3)


def test_the_prior_of_training_is_subtracted() -> None:
    # With a prior of 3 : 1 in training, a logit of ln 3 is the prior itself.
    logit, label = _images()
    fitted = fit_calibration(logit + math.log(3), label, trained_prior=0.75)
    assert fitted.probability(math.log(3)) == pytest.approx(0.5, abs=1e-6)
    assert fitted.prior == 0.5


def test_both_classes_have_equal_weight() -> None:
    logit, label = _images()
    more = np.concatenate([logit, np.repeat(logit[label == 1], 9)])
    fitted = fit_calibration(more, np.concatenate([label, np.ones(len(more) - len(label))]))
    assert fitted.temperature == pytest.approx(2 / math.log(3), rel=1e-3)


def test_the_exclusion_threshold_has_a_sensitivity_of_99_percent() -> None:
    # Of 100 images with pneumonia, one may be below the threshold: the one at -4, not at -3.
    pneumonia = np.concatenate([[-4.0, -3.0], np.full(98, 4.0)])
    normal = np.full(100, -4.5)
    logit = np.concatenate([pneumonia, normal])
    fitted = fit_calibration(logit, np.repeat([1, 0], 100))
    assert fitted.exclusion_threshold == pytest.approx(float(fitted.probability(-3.0)))
    assert fitted.exclusion_threshold < fitted.decision_threshold == 0.5


def test_the_band_has_a_minimum_width() -> None:
    logit = np.repeat([5.0, -5.0], 50)
    assert fit_calibration(logit, np.repeat([1, 0], 50)).uncertain == (0.4, 0.6)


def test_the_band_widens_until_96_percent_outside_are_correct() -> None:
    # All images with a logit of 6 or -6 are correct; of those with 1 or -1, three in four are.
    logit = np.concatenate([np.full(300, 6.0), np.full(300, -6.0), [1.0] * 100, [-1.0] * 100])
    label = np.concatenate([np.ones(300), np.zeros(300)])
    near = np.concatenate([[1] * 75 + [0] * 25, [0] * 75 + [1] * 25])
    fitted = fit_calibration(logit, np.concatenate([label, near]))
    assert fitted.verdict(float(fitted.probability(1.0))) == "UNCERTAIN"
    assert fitted.verdict(float(fitted.probability(6.0))) == "PNEUMONIA"
    assert fitted.uncertain[0] == pytest.approx(1 - fitted.uncertain[1])


def test_one_class_alone_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="both classes"):
        fit_calibration(np.array([1.0, 2.0]), np.array([1, 1]))


def test_a_calibration_is_read_back_from_json() -> None:
    assert Calibration.from_dict({**PLAIN.to_dict(), "uncertain": [0.4, 0.6]}) == PLAIN


@pytest.mark.parametrize("probability", [math.nan, math.inf, -math.inf, -0.1, 1.1])
def test_an_invalid_probability_has_no_verdict(probability: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        PLAIN.verdict(probability)


@pytest.mark.parametrize(
    "field",
    ["temperature", "shift", "prior", "decision_threshold", "exclusion_threshold", "uncertain"],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_calibration_has_finite_numbers(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        replace(PLAIN, **{field: (0.4, value) if field == "uncertain" else value})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    logit, label = _images()
    logit[3] = value
    with pytest.raises(ValueError, match="not finite"):
        fit_calibration(logit, label)
