"""Results of images that are unlike the training images.

The calibration is fitted to images of the hospital of the training images. An image that the input
check marks as unlike them (a caution) may therefore get its result by another rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from scipy import special

from xray_core.labels import Verdict
from xray_core.model.calibration import Calibration

Rule = Literal["none", "never_firm", "band", "temperature"]

_PARAMETER: dict[Rule, str | None] = {
    "none": None,
    "never_firm": None,
    "band": "high",
    "temperature": "slope",
}


@dataclass(frozen=True)
class UnlikeRule:
    """Rule for the result of an image that is unlike the training images.

    Attributes
    ----------
    rule : str
        "none": as for all other images. "never_firm": always UNCERTAIN. "band": UNCERTAIN also from
        1 - `high` to `high`. "temperature": the calibrated log-odds are divided by
        1 + `slope` * (relative distance - 1).
    high : float
        For the rule "band": upper end of the band, in [0.5, 1).
    slope : float
        For the rule "temperature": growth of the temperature with the distance, at least 0.

    Raises
    ------
    ValueError
        The rule is unknown, or a parameter is out of range.
    """

    rule: Rule = "none"
    high: float = 0.5
    slope: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise ValueError("its rule for images unlike the training images is unknown")
        if not 0.5 <= self.high < 1 or not (math.isfinite(self.slope) and self.slope >= 0):
            raise ValueError(
                "its rule for images unlike the training images has a number out of range"
            )

    def apply(
        self, logit: float, relative_distance: float, calibration: Calibration
    ) -> tuple[float, Verdict]:
        """Return the probability and the verdict of an image.

        Parameters
        ----------
        logit : float
            The network's log-odds of pneumonia.
        relative_distance : float
            Squared distance to the training images, divided by that at which cautions begin. Up to
            1 the rule changes nothing.
        calibration : Calibration
            Calibration of the network.

        Returns
        -------
        probability : float
            Probability of pneumonia in [0, 1], at the prior of the calibration.
        verdict : {"NORMAL", "PNEUMONIA", "UNCERTAIN"}
        """
        probability = float(calibration.probability(logit))
        excess = max(0.0, relative_distance - 1.0)
        if self.rule == "temperature" and excess > 0:
            log_odds = logit / calibration.temperature + calibration.shift
            probability = float(special.expit(log_odds / (1.0 + self.slope * excess)))
        if excess > 0 and (
            self.rule == "never_firm"
            or (self.rule == "band" and 1 - self.high <= probability <= self.high)
        ):
            return probability, "UNCERTAIN"
        return probability, calibration.verdict(probability)

    def to_dict(self) -> dict[str, Any]:
        """Return the rule and its own parameter as plain data for `config.json`."""
        name = _PARAMETER[self.rule]
        return {"rule": self.rule, **({name: getattr(self, name)} if name else {})}

    @classmethod
    def from_dict(cls, data: Any) -> UnlikeRule:
        """Read what `to_dict` returned.

        Raises
        ------
        ValueError
            The rule is unknown, or its parameter is missing, of another rule or out of range.
        """
        rule = data.get("rule") if isinstance(data, dict) else None
        if not isinstance(rule, str) or rule not in _PARAMETER:
            raise ValueError("its rule for images unlike the training images is unknown")
        name = _PARAMETER[rule]
        if set(data) != {"rule", name} - {None} or (name and type(data[name]) not in (int, float)):
            raise ValueError(
                "its rule for images unlike the training images does not have its number"
            )
        return cls(**data)
