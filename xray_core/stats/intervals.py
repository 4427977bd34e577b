"""A number with its 95% interval: the closed-form intervals, and how both are written as text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaincinv, expit, logit

Z_95 = 1.959963984540054  # 97.5% point of the standard normal distribution
_CLEAR = 50.0  # standard deviations


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; NaN where the number or its interval is not defined."""

    value: float
    low: float
    high: float


def wilson_interval(successes: float, trials: float) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a proportion.

    Parameters
    ----------
    successes, trials
        Counts. `trials` may be an effective number (patients in place of images), hence not whole.

    Returns
    -------
    low, high
        In [0, 1]; (NaN, NaN) without trials.

    References
    ----------
    Wilson, Journal of the American Statistical Association 22 (1927) 209.
    """
    if trials <= 0:
        return math.nan, math.nan
    rate = successes / trials
    centre = (rate + Z_95**2 / (2 * trials)) / (1 + Z_95**2 / trials)
    half = (
        Z_95
        / (1 + Z_95**2 / trials)
        * math.sqrt(rate * (1 - rate) / trials + (Z_95 / trials) ** 2 / 4)
    )
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def exact_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) 95% interval of a proportion.

    Parameters
    ----------
    successes, trials
        Whole numbers, `trials` at least 1.

    Returns
    -------
    low, high
        In [0, 1].

    References
    ----------
    Clopper and Pearson, Biometrika 26 (1934) 404.
    """
    low = betaincinv(successes, trials - successes + 1, 0.025) if successes else 0.0
    high = betaincinv(successes + 1, trials - successes, 0.975) if successes < trials else 1.0
    return float(low), float(high)


def paired_interval(gained: float, lost: float, trials: float) -> tuple[float, float]:
    """Return Tango's 95% score interval of the difference of two paired proportions.

    Parameters
    ----------
    gained, lost
        Trials that succeed the second time only, and the first time only.
    trials
        All trials, above 0. The three may be effective numbers (patients in place of images), hence
        not whole.

    Returns
    -------
    low, high
        In [-1, 1], around (gained - lost) / trials. It has a width also where nothing changed.

    References
    ----------
    Tango, Statistics in Medicine 17 (1998) 891; recommended by Fagerland, Lydersen and Laake,
    Statistics in Medicine 33 (2014) 2850.
    """

    from scipy.optimize import brentq  # imported here: it takes 0.1 s

    def score(difference: float) -> float:
        """The standardised score of a difference, cut to where its sign is clear."""
        b = (2 * trials - gained + lost) * difference - gained - lost
        c = -lost * difference * (1 - difference)
        losing = (math.sqrt(max(b * b - 8 * trials * c, 0.0)) - b) / (4 * trials)
        variance = trials * (2 * losing + difference * (1 - difference))
        distance = gained - lost - trials * difference
        if variance <= 0:
            return math.copysign(_CLEAR, distance) if distance else 0.0
        return min(max(distance / math.sqrt(variance), -_CLEAR), _CLEAR)

    estimate = (gained - lost) / trials
    low = high = estimate
    if estimate > -1:
        low = brentq(lambda difference: score(difference) - Z_95, -1, estimate, xtol=1e-12)
    if estimate < 1:
        high = brentq(lambda difference: score(difference) + Z_95, estimate, 1, xtol=1e-12)
    return float(low), float(high)


def wald_interval(value: float, variance: float) -> tuple[float, float]:
    """Return the normal 95% interval of a share from its variance, cut to [0, 1].

    Returns
    -------
    low, high
        (NaN, NaN) where `variance` is not above 0.
    """
    if not variance > 0:
        return math.nan, math.nan
    half = Z_95 * math.sqrt(variance)
    return max(0.0, value - half), min(1.0, value + half)


def logit_interval(value: float, variance: float) -> tuple[float, float]:
    """Return the 95% interval of a share that is normal on the log-odds, from the share's variance.

    Parameters
    ----------
    value
        In (0, 1), ends excluded.
    variance
        Of `value` itself; the delta method carries it to the log-odds.

    Returns
    -------
    low, high
        In (0, 1).
    """
    half = Z_95 * math.sqrt(variance) / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def format_value(value: float, spec: str = ".1%") -> str:
    """Return a number as text by a format specification; NaN is "not defined"."""
    if math.isnan(value):
        return "not defined"
    return "infinite" if value == math.inf else format(value, spec)


def format_interval(low: float, high: float, spec: str = ".1%") -> str:
    """Return an interval as text: "90.8% to 94.9%"; "no interval" where it is not defined."""
    if math.isnan(low) or math.isnan(high):
        return "no interval"
    return f"{format_value(low, spec)} to {format_value(high, spec)}"


def format_estimate(estimate: Estimate, spec: str = ".1%") -> str:
    """Return a number with its interval as text: "93.0% (90.8% to 94.9%)".

    Parameters
    ----------
    estimate
        The number and its interval.
    spec
        The format specification of the numbers, ".1%" or ".3f" for example.

    Returns
    -------
    str
        "not defined" for NaN; "50.0% (no interval)" where only the interval is not defined.
    """
    if math.isnan(estimate.value):
        return format_value(estimate.value)
    interval = format_interval(estimate.low, estimate.high, spec)
    return f"{format_value(estimate.value, spec)} ({interval})"
