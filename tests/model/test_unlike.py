"""The rule for results of images that are unlike the training images."""

from typing import Any

import numpy as np
import pytest

from xray_core.model.calibration import Calibration
from xray_core.model.unlike import SENSITIVITY, UnlikeRule, fit_unlike_rule

PLAIN = Calibration(2.0, 0.5, 0.5, 0.5, 0.2, (0.4, 0.6))
RULE = UnlikeRule(beyond=0.3, low=0.1, high=0.8)


@pytest.mark.parametrize("distance", [0.0, 0.2, 0.3])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.7, 0.99])
def test_the_rule_does_not_change_images_like_the_training_images(
    distance: float, probability: float
) -> None:
    assert RULE.verdict(probability, distance, PLAIN) == PLAIN.verdict(probability)


@pytest.mark.parametrize(
    ("rule", "probability", "verdict"),
    [
        (RULE, 0.09, "NORMAL"),
        (RULE, 0.1, "UNCERTAIN"),
        (RULE, 0.3, "UNCERTAIN"),
        (RULE, 0.7, "UNCERTAIN"),
        (RULE, 0.8, "UNCERTAIN"),
        (RULE, 0.81, "PNEUMONIA"),
        (UnlikeRule(0.3, 0.0, 1.0), 0.0, "UNCERTAIN"),
        (UnlikeRule(0.3, 0.0, 1.0), 1.0, "UNCERTAIN"),
        # Limits within the indeterminate band of the calibration widen nothing.
        (UnlikeRule(0.3, 0.45, 0.55), 0.59, "UNCERTAIN"),
        (UnlikeRule(0.3, 0.45, 0.55), 0.39, "NORMAL"),
    ],
)
def test_the_result_of_an_image_unlike_the_training_images(
    rule: UnlikeRule, probability: float, verdict: str
) -> None:
    assert rule.verdict(probability, 0.5, PLAIN) == verdict


def test_a_rule_is_read_as_it_was_written() -> None:
    assert UnlikeRule.from_dict(RULE.to_dict()) == RULE


def test_the_limits_are_quantiles_of_the_validation_images() -> None:
    pneumonia, normal = np.linspace(0.0, 1.0, 1001), np.linspace(0.0, 0.5, 1001)
    label = np.repeat([1, 0], 1001)
    distance = np.linspace(0.0, 1.0, 101)
    rule = fit_unlike_rule(np.concatenate([pneumonia, normal]), label, distance)
    assert (pneumonia >= rule.low).mean() == pytest.approx(SENSITIVITY, abs=1e-3)
    assert (normal <= rule.high).mean() == pytest.approx(0.985, abs=1e-3)
    assert rule.beyond == pytest.approx(0.9)


def test_the_limits_of_a_network_that_separates_the_classes_are_in_order() -> None:
    rule = fit_unlike_rule(np.array([0.9, 0.8, 0.1, 0.2]), np.array([1, 1, 0, 0]), np.array([2.0]))
    assert rule.beyond == 1.0
    assert rule.low <= rule.high


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"beyond": 0.3, "low": 0.1},
        {"beyond": 0.3, "low": 0.1, "high": "0.9"},
        {"beyond": 0.3, "low": 0.1, "high": True},
        {"beyond": 0.3, "low": 0.1, "high": 1.1},
        {"beyond": 0.3, "low": 0.9, "high": 0.1},
        {"beyond": 0.3, "low": -0.1, "high": 0.9},
        {"beyond": 1.1, "low": 0.1, "high": 0.9},
        {"beyond": float("nan"), "low": 0.1, "high": 0.9},
        {"beyond": 0.3, "low": 0.1, "high": 0.9, "note": 1},
    ],
)
def test_an_invalid_rule_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="unlike the training images"):
        UnlikeRule.from_dict(data)
