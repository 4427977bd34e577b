"""Intervals that know which images belong to one patient: bootstrap over patients, and Wilson.

Everything works on weights: a replicate is a vector that says how often each patient was drawn.
Sums over images then become matrix products over blocks of replicates.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock

import numpy as np
from scipy.special import ndtr, ndtri

from xray_core.errors import XrayError

Z_95 = 1.959963984540054  # 97.5% point of the standard normal
_MAX_JACKKNIFE_GROUPS = 400
_MAX_UNDEFINED_SHARE = 0.10
_ROUNDING = 1e-12
CELLS = 2**19  # rows x patients (or images) of a block: 2 MB as float32
_MANY_PATIENTS = 20_000  # from here on the passes of several visitors take turns
_KEPT_BYTES = 208 * 2**20  # 2,000 draws of 200,000 patients are 200 MB
_THREADS = 2


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; NaN where the number or its interval is not defined."""

    value: float
    low: float
    high: float


Progress = Callable[[int, int], None]
_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def reporting(progress: Progress | None) -> Iterator[None]:
    """Call `progress(done, total)` as replicates are finished, for all that runs inside.

    It is called in the thread that enters. Each pass over the replicates counts from 0 again. With
    None, nothing inside reports to an outer one.
    """
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


def in_blocks(
    blocks: Iterable[np.ndarray], rows: int, *functions: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray]:
    """What each function makes of blocks of rows, `rows` in all: a list of arrays (rows, ...).

    A function takes a block (block, ...) and returns (block, ...). It runs in one of two threads
    while the next block is made, so it must change nothing outside itself.
    """
    found: list[list[np.ndarray]] = [[] for _ in functions]
    pending: deque[Future[list[np.ndarray]]] = deque()
    done = 0

    def take() -> None:
        nonlocal done
        results = pending.popleft().result()
        for part, result in zip(found, results, strict=True):
            part.append(result)
        done += len(results[0])
        if progress := _progress.get():
            progress(done, rows)

    with ThreadPoolExecutor(_THREADS) as pool:
        for block in blocks:
            pending.append(pool.submit(lambda part: [f(part) for f in functions], block))
            if len(pending) > _THREADS:
                take()
        while pending:
            take()
    return [np.concatenate(part) for part in found]


@dataclass(frozen=True)
class PatientWeights:
    """How often each patient counts, one row per replicate.

    There are 1 + `bootstrap` + jackknife rows over `patients` columns: row 0 counts every patient
    once (the estimate itself), then come the bootstrap draws, then the jackknife rows, each without
    one patient (or without one of 400 groups of patients, where there are more).

    The rows follow from the three numbers alone. They are worked out in blocks, so that 200,000
    patients need no more than some megabytes at a time; the draws used last are kept (`_Kept`).
    """

    patients: int
    bootstrap: int
    seed: int

    @property
    def rows(self) -> int:
        return 1 + self.bootstrap + min(self.patients, _MAX_JACKKNIFE_GROUPS)

    def each(
        self, *functions: Callable[[np.ndarray], np.ndarray], images: int = 0
    ) -> list[np.ndarray]:
        """What each function makes of every row: a list of arrays (rows, ...).

        A function gets a block of rows, float32 (block, patients); see `in_blocks`. `images` is the
        length of the rows that it works on, where that exceeds `patients`: it bounds the memory.
        One pass over many patients runs at a time; those of other visitors wait.
        """
        rows_at_once = max(1, CELLS // max(self.patients, images))
        with _ONE_LARGE_PASS if self.patients > _MANY_PATIENTS else nullcontext():
            return in_blocks(self.blocks(rows_at_once), self.rows, *functions)

    def blocks(self, rows_at_once: int) -> Iterator[np.ndarray]:
        """All rows in order, float32 (at most `rows_at_once`, patients) at a time."""
        yield np.ones((1, self.patients), np.float32)
        key = (self.patients, self.bootstrap, self.seed)
        groups = min(self.patients, _MAX_JACKKNIFE_GROUPS)
        starts = range(0, self.bootstrap, rows_at_once)
        draws = _kept.get(key)
        if draws is not None:
            for start in starts:
                yield draws.unpacked(start, min(start + rows_at_once, self.bootstrap))
            group = draws.group
        else:
            draws = _kept.make_room(self.patients, self.bootstrap)
            rng = np.random.default_rng(self.seed)
            even = np.full(self.patients, 1 / self.patients)
            for start in starts:
                size = min(rows_at_once, self.bootstrap - start)
                drawn = rng.multinomial(self.patients, even, size=size)
                if draws is not None and not draws.pack(start, drawn):
                    draws = None
                yield drawn.astype(np.float32)
            group = (rng.permutation(self.patients) % groups).astype(np.uint16)
            if draws is not None:
                draws.group = group
                _kept.put(key, draws)
        for start in range(0, groups, rows_at_once):
            left_out = np.arange(start, min(start + rows_at_once, groups))
            yield (group != left_out[:, np.newaxis]).astype(np.float32)

    def sums(self, per_patient: np.ndarray) -> np.ndarray:
        """Weighted sums of `per_patient` (patients, ...) for every row: (rows, ...)."""
        return self.each(self.summing(per_patient))[0]

    def summing(self, per_patient: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The function for `each` that sums `per_patient` (patients, ...) by weight."""
        flat = per_patient.reshape(self.patients, -1).astype(np.float64)
        shape = per_patient.shape[1:]
        return lambda block: (block.astype(np.float64) @ flat).reshape(len(block), *shape)

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
        raise XrayError("There is no image to evaluate.")
    return PatientWeights(patients, n_bootstrap, seed)


class _Draws:
    """Bootstrap draws at four bits a count: uint8 (draws, half the patients), and the groups."""

    def __init__(self, patients: int, bootstrap: int) -> None:
        self.patients, self.half = patients, (patients + 1) // 2
        self.packed = np.empty((bootstrap, self.half), np.uint8)
        self.group = np.empty(0, np.uint16)

    def pack(self, start: int, drawn: np.ndarray) -> bool:
        """Store counts (rows, patients) from row `start` on; False where one exceeds four bits."""
        if drawn.max() > 15:
            return False
        counts = drawn.astype(np.uint8)
        rows = self.packed[start : start + len(drawn)]
        rows[:] = counts[:, : self.half]
        rows[:, : self.patients - self.half] |= counts[:, self.half :] << 4
        return True

    def unpacked(self, start: int, stop: int) -> np.ndarray:
        """The counts of some rows, float32 (rows, patients)."""
        rows = self.packed[start:stop]
        counts = np.empty((len(rows), self.patients), np.float32)
        counts[:, : self.half] = rows & 15
        counts[:, self.half :] = rows[:, : self.patients - self.half] >> 4
        return counts


class _Kept:
    """The draws used last, up to `limit` bytes in all: drawing costs more than unpacking.

    They are random numbers that follow from three integers, so nothing of anyone's data is in them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = Lock()
        self._draws: OrderedDict[tuple[int, int, int], _Draws] = OrderedDict()

    def get(self, key: tuple[int, int, int]) -> _Draws | None:
        with self._lock:
            if key in self._draws:
                self._draws.move_to_end(key)
            return self._draws.get(key)

    def make_room(self, patients: int, bootstrap: int) -> _Draws | None:
        """Empty draws to be filled and `put`; None where they would not fit."""
        size = bootstrap * ((patients + 1) // 2)
        if size > self.limit:
            return None
        with self._lock:
            self._shrink(self.limit - size)
        return _Draws(patients, bootstrap)

    def put(self, key: tuple[int, int, int], draws: _Draws) -> None:
        with self._lock:
            self._shrink(self.limit - draws.packed.nbytes)
            self._draws[key] = draws

    def _shrink(self, limit: int) -> None:
        while self._draws and sum(d.packed.nbytes for d in self._draws.values()) > limit:
            self._draws.popitem(last=False)


_kept = _Kept(limit=_KEPT_BYTES)
_ONE_LARGE_PASS = Lock()


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """The 95% Wilson score interval of a proportion; (NaN, NaN) without trials.

    `trials` may be an effective number (patients in place of images), hence not whole.
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
