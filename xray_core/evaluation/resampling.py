"""Intervals that know which films belong to one patient: bootstrap over patients, and Wilson.

Everything works on weights: a replicate is a vector that says how often each patient was drawn.
Sums over films then become one matrix product, and all replicates of a metric come at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from xray_core.errors import XrayError

Z_95 = 1.959963984540054  # 97.5% point of the standard normal
_MAX_JACKKNIFE_GROUPS = 400
_MAX_UNDEFINED_SHARE = 0.10
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; NaN where the number or its interval is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PatientWeights:
    """How often each patient counts, one row per replicate.

    `table` is float32 (1 + bootstrap + jackknife, patients): row 0 counts every patient once (the
    estimate itself), then the bootstrap draws, then the jackknife rows, each without one patient
    (or without one of 400 groups of patients, where there are more).
    """

    table: np.ndarray
    bootstrap: int

    @property
    def patients(self) -> int:
        return int(self.table.shape[1])

    def sums(self, per_patient: np.ndarray) -> np.ndarray:
        """Weighted sums of `per_patient` (patients, ...) for every row: (rows, ...)."""
        result = self.table @ per_patient.reshape(self.patients, -1).astype(np.float64)
        return result.reshape(len(self.table), *per_patient.shape[1:])

    def interval(self, values: np.ndarray) -> Estimate:
        """The estimate and its bias-corrected, accelerated (BCa) interval from a metric's rows.

        `values` (rows,) is the metric on every row of `table`. The interval is not defined (NaN)
        with fewer than two patients, or where over a tenth of the draws leave the metric undefined.
        It is widened to hold the estimate where the correction would leave that outside.
        Source: Efron, JASA 82 (1987) 171; field, clusters: Davison and Hinkley (1997), 3.8.
        """
        value = float(values[0])
        draws = values[1 : 1 + self.bootstrap]
        draws = np.sort(draws[~np.isnan(draws)])
        too_few = len(draws) < (1 - _MAX_UNDEFINED_SHARE) * self.bootstrap
        if math.isnan(value) or self.patients < 2 or too_few or len(draws) == 0:
            return Estimate(value, math.nan, math.nan)
        low_share, high_share = _bca_shares(value, draws, values[1 + self.bootstrap :])
        low, high = np.quantile(draws, [low_share, high_share], method="inverted_cdf")
        return Estimate(value, float(min(low, value)), float(max(high, value)))

    def is_constant(self, values: np.ndarray) -> bool:
        """Whether no draw differs from the estimate: the bootstrap has seen no variation."""
        draws = values[1 : 1 + self.bootstrap]
        return bool(np.all(np.isnan(draws) | (draws == values[0])))


def _bca_shares(value: float, draws: np.ndarray, jackknife: np.ndarray) -> tuple[float, float]:
    """The two quantiles of the draws at which a BCa interval ends."""
    # Equal weights summed in another order differ in the last bits: that is a tie as well.
    reach = _ROUNDING * abs(value) if math.isfinite(value) else 0.0
    below = np.searchsorted(draws, value - reach, side="left")
    equal = np.searchsorted(draws, value + reach, side="right") - below
    share = (below + 0.5 * equal) / len(draws)  # ties count half: proportions are discrete
    half = 0.5 / len(draws)
    bias = ndtri(np.clip(share, half, 1 - half))
    finite = jackknife[np.isfinite(jackknife)]
    influence = finite.mean() - finite if len(finite) else np.zeros(1)
    spread = np.sum(influence**2)
    skewness = np.sum(influence**3) / (6 * spread**1.5) if spread > 0 else 0.0
    ends = bias + np.array([-Z_95, Z_95])
    shares = ndtr(bias + ends / (1 - skewness * ends))
    return float(shares[0]), float(shares[1])


def draw_patients(patients: int, *, n_bootstrap: int = 2000, seed: int = 0) -> PatientWeights:
    """Draw the bootstrap once: `n_bootstrap` times as many patients as there are, with replacement.

    The jackknife rows that the BCa interval needs come with it. Equal arguments give equal draws.
    """
    if patients < 1:
        raise XrayError("There is no film to evaluate.")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(patients, np.full(patients, 1 / patients), size=n_bootstrap)
    groups = min(patients, _MAX_JACKKNIFE_GROUPS)
    group = rng.permutation(patients) % groups
    left_out = np.ones((groups, patients), np.float32)
    left_out[group, np.arange(patients)] = 0
    table = np.concatenate([np.ones((1, patients), np.float32), drawn.astype(np.float32), left_out])
    return PatientWeights(table, n_bootstrap)


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """The 95% Wilson score interval of a proportion; (NaN, NaN) without trials.

    `trials` may be an effective number (patients in place of films), hence not whole.
    Source: Wilson, JASA 22 (1927) 209.
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
