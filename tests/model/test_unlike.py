"""The rules for results of images that are unlike the training images."""

import math
from typing import Any

import pytest

from xray_core.model.calibration import Calibration
from xray_core.model.unlike import UnlikeRule

PLAIN = Calibration(2.0, 0.5, 0.5, 0.5, 0.2, (0.4, 0.6))
RULES = [
    UnlikeRule("none"),
    UnlikeRule("never_firm"),
    UnlikeRule("band", high=0.9),
    UnlikeRule("temperature", slope=0.5),
]


def logit_of(probability: float) -> float:
    return 2 * (math.log(probability / (1 - probability)) - 0.5)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
@pytest.mark.parametrize("distance", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.7, 0.99])
def test_no_rule_changes_images_like_the_training_images(
    rule: UnlikeRule, distance: float, probability: float
) -> None:
    result = rule.apply(logit_of(probability), distance, PLAIN)
    assert result == (pytest.approx(probability), PLAIN.verdict(probability))


@pytest.mark.parametrize(
    ("rule", "probability", "expected", "verdict"),
    [
        (RULES[0], 0.95, 0.95, "PNEUMONIA"),
        (RULES[1], 0.999, 0.999, "UNCERTAIN"),
        (RULES[1], 0.001, 0.001, "UNCERTAIN"),
        (RULES[2], 0.89, 0.89, "UNCERTAIN"),
        (RULES[2], 0.11, 0.11, "UNCERTAIN"),
        (RULES[2], 0.91, 0.91, "PNEUMONIA"),
        (RULES[2], 0.09, 0.09, "NORMAL"),
        (RULES[2], 0.5, 0.5, "UNCERTAIN"),
        # At a distance of 1.5 the log-odds are divided by 1.25: 3 becomes 2.4.
        (RULES[3], 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-2.4)), "PNEUMONIA"),
        (RULES[3], 0.61, 0.5885, "UNCERTAIN"),
        # A band within that of the calibration widens nothing.
        (UnlikeRule("band", high=0.55), 0.59, 0.59, "UNCERTAIN"),
    ],
)
def test_the_result_of_an_image_unlike_the_training_images(
    rule: UnlikeRule, probability: float, expected: float, verdict: str
) -> None:
    result = rule.apply(logit_of(probability), 1.5, PLAIN)
    assert result == (pytest.approx(expected, abs=1e-4), verdict)


def test_the_temperature_grows_with_the_distance() -> None:
    rule = UnlikeRule("temperature", slope=1.0)
    probabilities = [rule.apply(logit_of(0.95), distance, PLAIN)[0] for distance in (1, 1.2, 1.8)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[-1] > 0.5


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_a_rule_is_read_as_it_was_written(rule: UnlikeRule) -> None:
    data = rule.to_dict()
    assert data["rule"] == rule.rule
    assert len(data) == 1 + (rule.rule in ("band", "temperature"))
    assert UnlikeRule.from_dict(data) == rule


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"rule": "other"},
        {"rule": ["band"]},
        {"rule": "band"},
        {"rule": "band", "slope": 1.0},
        {"rule": "band", "high": "0.9"},
        {"rule": "band", "high": True},
        {"rule": "band", "high": 1.0},
        {"rule": "band", "high": 0.4},
        {"rule": "temperature", "slope": -0.1},
        {"rule": "temperature", "slope": float("inf")},
        {"rule": "none", "high": 0.9},
        {"rule": "never_firm", "note": 1},
    ],
)
def test_an_invalid_rule_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="unlike the training images"):
        UnlikeRule.from_dict(data)
