"""Limit the memory that decoding uses, and process large images in strips.

All decodes of this process share two memory pools of fixed size. Each decode estimates its peak
from the file's header and waits until that amount is free. Images of usual size have a pool of
their own, so that they never wait for a large one.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType

import numpy as np
from PIL import Image

from xray_core.errors import UnreadableImage

# Detectors for chest X-rays have up to 19 megapixels. A larger image (a mammogram, a photograph) is
# averaged over squares of 2 x 2 pixels: at 64 megapixels that keeps 64 MB instead of 256.
LARGEST_KEPT = 20_000_000

LARGE_POOL_BYTES = 700 * 10**6
SMALL_POOL_BYTES = 128 * 10**6
LARGEST_SMALL_BYTES = 64 * 10**6
TOO_LARGE = (
    "The image takes more memory to decode than is allowed. Please export it smaller or in another "
    "format, such as PNG."
)

_STRIP_PIXELS = 2**18
# Strips are held in several forms at once, the widest of 8 bytes.
_BYTES_PER_STRIP_PIXEL = 32


class MemoryPool:
    """Memory that several threads share, in bytes. Waiting threads are served in order.

    Parameters
    ----------
    size : int
        Bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Number of threads that wait for memory."""
        return len(self._queue)

    def acquire(self, amount: int) -> None:
        """Wait until `amount` bytes are free and every earlier request is served.

        Parameters
        ----------
        amount : int
            Bytes, at most the size of the pool.
        """
        turn = object()
        with self._changed:
            self._queue.append(turn)
            try:
                self._changed.wait_for(
                    lambda: self._queue[0] is turn and self.held + amount <= self.size
                )
                self.held += amount
            finally:
                self._queue.remove(turn)
                self._changed.notify_all()

    def release(self, amount: int) -> None:
        """Return `amount` bytes to the pool.

        Parameters
        ----------
        amount : int
            Bytes.
        """
        with self._changed:
            self.held -= amount
            self._changed.notify_all()


LARGE_POOL = MemoryPool(LARGE_POOL_BYTES)
SMALL_POOL = MemoryPool(SMALL_POOL_BYTES)


class Reservation:
    """Memory that one decode has acquired; a context manager that releases it on exit.

    A thread holds one reservation at a time and waits for nothing else meanwhile, so that two
    threads cannot wait for each other.
    """

    def __init__(self) -> None:
        self._pool = SMALL_POOL
        self._held = 0

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shrink(0)

    def acquire(self, peak: int) -> None:
        """Wait for `peak` bytes, after releasing what is held, unless that is enough already.

        Parameters
        ----------
        peak : int
            Bytes that the decode takes at its peak.

        Raises
        ------
        UnreadableImage
            If `peak` exceeds the larger pool.
        """
        if peak <= self._held:
            self.shrink(peak)
            return
        self.shrink(0)
        if peak > LARGE_POOL.size:
            raise UnreadableImage(TOO_LARGE)
        self._pool = SMALL_POOL if peak <= LARGEST_SMALL_BYTES else LARGE_POOL
        self._pool.acquire(peak)
        self._held = peak

    def acquire_all(self) -> None:
        """Wait for the larger pool as a whole, for content whose size is not known beforehand."""
        self.acquire(LARGE_POOL.size)

    def shrink(self, amount: int) -> None:
        """Release all but `amount` bytes. A reservation never grows by this.

        Parameters
        ----------
        amount : int
            Bytes.
        """
        if self._held > amount:
            if self._pool is LARGE_POOL:
                _trim()
            self._pool.release(self._held - amount)
            self._held = amount


@functools.cache
def _trimmer() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # no glibc
        return lambda padding: None


def _trim() -> None:
    """Make glibc return freed memory to the system: it keeps up to 64 MB for each thread."""
    _trimmer()(0)


def is_halved(height: int, width: int) -> bool:
    """Return True if an image of this size is held at half its height and width.

    Parameters
    ----------
    height, width : int
        Pixels.

    Returns
    -------
    bool
    """
    return height * width > LARGEST_KEPT


def kept_shape(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) at which an image of this size is held.

    Parameters
    ----------
    height, width : int
        Pixels.

    Returns
    -------
    tuple of int
    """
    return (-(-height // 2), -(-width // 2)) if is_halved(height, width) else (height, width)


def assemble(
    strip: Callable[[slice], np.ndarray], height: int, width: int, dtype: type[np.generic]
) -> np.ndarray:
    """Build an image from its strips, at half its height and width if it is large.

    Parameters
    ----------
    strip : callable
        Takes a slice of rows; returns their grey levels, uint8 or float32 (rows, width).
    height, width : int
        Size before halving.
    dtype : type
        Of the result.

    Returns
    -------
    ndarray, of the shape that `kept_shape` gives
    """
    out = np.empty(kept_shape(height, width), dtype)
    if not is_halved(height, width):
        for rows in strips(height, width):
            out[rows] = strip(rows)
        return out
    for rows in strips(height, width):
        # 2 x 2 pixels are averaged, fewer at odd edges.
        half = np.asarray(Image.fromarray(np.ascontiguousarray(strip(rows), dtype)).reduce(2))
        out[rows.start // 2 : rows.start // 2 + len(half)] = half
    return out


def strips(height: int, width: int) -> Iterator[slice]:
    """Yield slices of an even number of rows, small enough to be copied freely.

    Parameters
    ----------
    height, width : int
        Pixels.

    Yields
    ------
    slice
    """
    rows = _strip_rows(width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def strip_bytes(height: int, width: int) -> int:
    """Return the bytes that processing strip by strip takes at its peak.

    Parameters
    ----------
    height, width : int
        Pixels.

    Returns
    -------
    int
    """
    return min(height, _strip_rows(width)) * width * _BYTES_PER_STRIP_PIXEL


def _strip_rows(width: int) -> int:
    return max(2, _STRIP_PIXELS // width & ~1)


def sample_positions(side: int) -> np.ndarray:
    """Return up to 64 evenly spaced positions along a side.

    Parameters
    ----------
    side : int
        Pixels.

    Returns
    -------
    ndarray of int, shape (min(side, 64),)
    """
    count = min(side, 64)
    return ((np.arange(count) + 0.5) * side / count).astype(int)
