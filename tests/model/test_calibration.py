"""Calibration: probabilities, verdicts, and what is fitted to validation images."""

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


def _images(right_of_four: int = 3, repeats: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Logits of 2 and -2, of which three in four point to the label."""
    signs = np.array([1] * right_of_four + [-1] * (4 - right_of_four))
    logit = np.concatenate([2.0 * signs, -2.0 * signs])
    label = np.array([1] * 4 + [0] * 4)
    return np.tile(logit, repeats), np.tile(label, repeats)


def test_temperature_makes_the_probability_the_share_that_is_right() -> None:
    # sigmoid(2 / T) = 3/4 where T = 2 / ln 3.
    fitted = fit_calibration(*_images())
    assert fitted.temperature == pytest.approx(2 / math.log(3), rel=1e-3)
    assert fitted.probability(2.0) == pytest.approx(0.75, abs=1e-3)


def test_validation_never_makes_a_model_bolder() -> None:
    # All images are rightly told apart by a logit of 1: any temperature below 1 would fit better.
    logit, label = np.repeat([1.0, -1.0], 50), np.repeat([1, 0], 50)
    assert fit_calibration(logit, label).temperature == pytest.approx(1, abs=1e-3)


def test_the_prior_of_training_is_taken_off() -> None:
    # Trained at 3 : 1, a logit of ln 3 says no more than the prior did.
    logit, label = _images()
    fitted = fit_calibration(logit + math.log(3), label, trained_prior=0.75)
    assert fitted.probability(math.log(3)) == pytest.approx(0.5, abs=1e-6)
    assert fitted.prior == 0.5


def test_classes_weigh_the_same_however_many_images_each_has() -> None:
    logit, label = _images()
    more = np.concatenate([logit, np.repeat(logit[label == 1], 9)])
    fitted = fit_calibration(more, np.concatenate([label, np.ones(len(more) - len(label))]))
    assert fitted.temperature == pytest.approx(2 / math.log(3), rel=1e-3)


def test_rule_out_finds_99_percent_of_pneumonia() -> None:
    # Of 100 images with pneumonia one scores -4, the next -3: that one has to be found.
    pneumonia = np.concatenate([[-4.0, -3.0], np.full(98, 4.0)])
    normal = np.full(100, -4.5)
    logit = np.concatenate([pneumonia, normal])
    fitted = fit_calibration(logit, np.repeat([1, 0], 100))
    assert fitted.exclusion_threshold == pytest.approx(float(fitted.probability(-3.0)))
    assert fitted.exclusion_threshold < fitted.decision_threshold == 0.5


def test_the_band_is_no_narrower_than_its_floor_where_all_is_easy() -> None:
    logit = np.repeat([5.0, -5.0], 50)
    assert fit_calibration(logit, np.repeat([1, 0], 50)).uncertain == (0.4, 0.6)


def test_the_band_widens_until_98_percent_outside_are_right() -> None:
    # Far images are right; near ones, a fifth of all, are right three times in four.
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


def test_it_survives_json() -> None:
    assert Calibration.from_dict({**PLAIN.to_dict(), "uncertain": [0.4, 0.6]}) == PLAIN


@pytest.mark.parametrize("probability", [math.nan, math.inf, -math.inf, -0.1, 1.1])
def test_what_is_no_probability_has_no_verdict(probability: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        PLAIN.verdict(probability)


@pytest.mark.parametrize(
    "field",
    ["temperature", "shift", "prior", "decision_threshold", "exclusion_threshold", "uncertain"],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_calibration_is_of_finite_numbers(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        replace(PLAIN, **{field: (0.4, value) if field == "uncertain" else value})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nothing_is_fitted_to_logits_that_are_not_finite(value: float) -> None:
    logit, label = _images()
    logit[3] = value
    with pytest.raises(ValueError, match="not finite"):
        fit_calibration(logit, label)
