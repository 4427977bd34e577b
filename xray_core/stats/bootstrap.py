"""The bootstrap over patients: weights for every replicate, and BCa intervals.

A replicate is a vector that says how often each patient was drawn. Sums over images then become
matrix products over blocks of replicates.
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
from xray_core.stats.intervals import Z_95, Estimate, wilson_interval

BLOCK_CELLS = 2**19  # rows x patients (or images) of a block: 2 MB as float32
_MAX_JACKKNIFE_GROUPS = 400
_MAX_UNDEFINED_SHARE = 0.10
_ROUNDING = 1e-12
_MANY_PATIENTS = 20_000  # from here on the passes of several visitors take turns
_CACHE_BYTES = 208 * 2**20  # 2,000 draws of 200,000 patients are 200 MB
_THREADS = 2

Progress = Callable[[int, int], None]
_progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def reporting(progress: Progress | None) -> Iterator[None]:
    """Report the progress of every pass over replicates inside this context.

    Parameters
    ----------
    progress
        Called as `progress(done, total)`, in the thread that entered the context, whenever a block
        of replicates is finished. Each pass counts from 0 again. None: nothing inside reports, not
        even to an outer context.
    """
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


def apply_in_blocks(
    blocks: Iterable[np.ndarray], rows: int, *functions: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray]:
    """Apply functions to blocks of rows, in two threads, while the next block is drawn.

    Parameters
    ----------
    blocks
        Arrays (block, ...).
    rows
        The number of rows of all blocks, for the progress.
    functions
        From a block (block, ...) to (block, ...). They must not change anything outside themselves.

    Returns
    -------
    list of numpy.ndarray
        For each function its results, (rows, ...).
    """
    results: list[list[np.ndarray]] = [[] for _ in functions]
    pending: deque[Future[list[np.ndarray]]] = deque()
    done = 0

    def collect() -> None:
        nonlocal done
        parts = pending.popleft().result()
        for result, part in zip(results, parts, strict=True):
            result.append(part)
        done += len(parts[0])
        if progress := _progress.get():
            progress(done, rows)

    with ThreadPoolExecutor(_THREADS) as pool:
        for block in blocks:
            pending.append(pool.submit(lambda part: [f(part) for f in functions], block))
            if len(pending) > _THREADS:
                collect()
        while pending:
            collect()
    return [np.concatenate(result) for result in results]


@dataclass(frozen=True)
class PatientWeights:
    """How often each patient counts, one row per replicate.

    Row 0 counts every patient once and gives the estimate itself. Then come the bootstrap draws,
    then the jackknife rows, each without one patient (without one of 400 groups of patients, where
    there are more). The rows follow from the three attributes alone. They are computed in blocks,
    so that 200,000 patients need only some megabytes at a time.

    Attributes
    ----------
    patients
        The number of patients, hence of columns.
    bootstrap
        The number of bootstrap draws; each takes `patients` patients, with replacement.
    seed
        The seed of the draws; equal attributes give equal draws.

    Raises
    ------
    XrayError
        There is no patient.
    """

    patients: int
    bootstrap: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.patients < 1:
            raise XrayError("There is no image to evaluate.")

    @property
    def rows(self) -> int:
        """The number of rows: 1, the bootstrap draws and the jackknife rows."""
        return 1 + self.bootstrap + min(self.patients, _MAX_JACKKNIFE_GROUPS)

    def apply(
        self, *functions: Callable[[np.ndarray], np.ndarray], images: int = 0
    ) -> list[np.ndarray]:
        """Apply functions to all rows, in blocks.

        Parameters
        ----------
        functions
            From a block of rows, float32 (block, patients), to (block, ...).
        images
            The length of the rows that the functions create, where that exceeds `patients`: it
            bounds the memory.

        Returns
        -------
        list of numpy.ndarray
            For each function its results, (rows, ...).
        """
        rows_at_once = max(1, BLOCK_CELLS // max(self.patients, images))
        with _large_pass if self.patients > _MANY_PATIENTS else nullcontext():
            return apply_in_blocks(self.blocks(rows_at_once), self.rows, *functions)

    def blocks(self, rows_at_once: int) -> Iterator[np.ndarray]:
        """Yield all rows in order, float32 (at most `rows_at_once`, patients) at a time."""
        yield np.ones((1, self.patients), np.float32)
        key = (self.patients, self.bootstrap, self.seed)
        groups = min(self.patients, _MAX_JACKKNIFE_GROUPS)
        starts = range(0, self.bootstrap, rows_at_once)
        draws = _draw_cache.get(key)
        if draws is not None:
            for start in starts:
                yield draws.unpacked(start, min(start + rows_at_once, self.bootstrap))
            group = draws.group
        else:
            draws = _draw_cache.make_room(self.patients, self.bootstrap)
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
                _draw_cache.put(key, draws)
        for start in range(0, groups, rows_at_once):
            left_out = np.arange(start, min(start + rows_at_once, groups))
            yield (group != left_out[:, np.newaxis]).astype(np.float32)

    def sums(self, per_patient: np.ndarray) -> np.ndarray:
        """Return the sums of `per_patient` (patients, ...), weighted by each row: (rows, ...)."""
        return self.apply(self.summing(per_patient))[0]

    def summing(self, per_patient: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function for `apply` that sums `per_patient` (patients, ...) by weight."""
        flat = per_patient.reshape(self.patients, -1).astype(np.float64)
        shape = per_patient.shape[1:]
        return lambda block: (block.astype(np.float64) @ flat).reshape(len(block), *shape)

    def interval(self, values: np.ndarray) -> Estimate:
        """Return an estimate with its bias-corrected and accelerated (BCa) 95% interval.

        Parameters
        ----------
        values
            (rows,) the metric on every row.

        Returns
        -------
        Estimate
            The interval is NaN with fewer than two patients, or where the metric is not defined on
            over a tenth of the draws. It is widened to hold the estimate where the correction would
            leave that outside.

        References
        ----------
        Efron, Journal of the American Statistical Association 82 (1987) 171; clusters: Davison and
        Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
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
        """Return whether no draw differs from the estimate, so that the interval has no width."""
        draws = values[1 : 1 + self.bootstrap]
        return bool(np.all(np.isnan(draws) | (draws == values[0])))


def share_by_patient(hits: np.ndarray, patient: np.ndarray) -> Estimate:
    """Return a share of images with a 95% interval over patients.

    Parameters
    ----------
    hits
        (images,) bool, True for the images that are counted.
    patient
        (images,) keys; images with equal keys are of one patient.

    Returns
    -------
    Estimate
        In [0, 1], with the BCa interval of a bootstrap over patients. Where no draw differs from
        the estimate, it is Wilson's with patients in place of images. NaN without images.
    """
    hits = np.asarray(hits, bool)
    if not len(hits):
        return Estimate(math.nan, math.nan, math.nan)
    names, code = np.unique(np.asarray(patient).astype(str), return_inverse=True)
    per_patient = np.zeros((len(names), 2))
    np.add.at(per_patient, code, np.stack([hits, np.ones_like(hits)], axis=1))
    weights = PatientWeights(len(names))
    counts = weights.sums(per_patient)  # (rows, 2)
    with np.errstate(invalid="ignore"):  # the jackknife row without the only patient
        shares = counts[:, 0] / counts[:, 1]
    estimate = weights.interval(shares)
    if weights.is_constant(shares):
        interval = wilson_interval(estimate.value * len(names), len(names))
        estimate = Estimate(estimate.value, *interval)
    return estimate


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


class _PackedDraws:
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


class _DrawCache:
    """The draws used last, up to `limit` bytes in all: drawing costs more than unpacking.

    They are random numbers that follow from three integers, so they hold no patient data.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = Lock()
        self._draws: OrderedDict[tuple[int, int, int], _PackedDraws] = OrderedDict()

    def get(self, key: tuple[int, int, int]) -> _PackedDraws | None:
        with self._lock:
            if key in self._draws:
                self._draws.move_to_end(key)
            return self._draws.get(key)

    def make_room(self, patients: int, bootstrap: int) -> _PackedDraws | None:
        """Empty draws to be filled and `put`; None where they would not fit."""
        size = bootstrap * ((patients + 1) // 2)
        if size > self.limit:
            return None
        with self._lock:
            self._shrink(self.limit - size)
        return _PackedDraws(patients, bootstrap)

    def put(self, key: tuple[int, int, int], draws: _PackedDraws) -> None:
        with self._lock:
            self._shrink(self.limit - draws.packed.nbytes)
            self._draws[key] = draws

    def _shrink(self, limit: int) -> None:
        while self._draws and sum(d.packed.nbytes for d in self._draws.values()) > limit:
            self._draws.popitem(last=False)


_draw_cache = _DrawCache(limit=_CACHE_BYTES)
_large_pass = Lock()
