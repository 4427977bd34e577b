"""What decoding may take of this computer's memory, and how the largest images are kept small.

All decodes of this process share two rooms of a fixed size. Each says how much it will take at its
peak once a header told the size of the image, and waits until that is free. Images of usual size
have a room of their own, so that they never wait for a large one.
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

# Detectors for chest X-rays have up to 19 megapixels. What has more (a mammogram, a photograph) is
# averaged over squares of 2 x 2 pixels: at 64 megapixels that keeps 64 MB instead of 256.
LARGEST_KEPT = 20_000_000

LARGE_ROOM_BYTES = 700 * 10**6
SMALL_ROOM_BYTES = 128 * 10**6
LARGEST_SMALL_BYTES = 64 * 10**6
TOO_LARGE = (
    "The image takes more memory to decode than is allowed. Please export it smaller or in another "
    "format, such as PNG."
)

_STRIP_PIXELS = 2**18
# Strips are held in several forms at once, the widest of 8 bytes.
_BYTES_PER_STRIP_PIXEL = 32


class Room:
    """Memory that several threads share, in bytes; whoever comes first is served first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Tell how many threads wait for memory."""
        return len(self._queue)

    def take(self, amount: int) -> None:
        """Wait until `amount`, at most the size, is free and all who came before have theirs."""
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

    def give_back(self, amount: int) -> None:
        """Let others have `amount`."""
        with self._changed:
            self.held -= amount
            self._changed.notify_all()


LARGE_ROOM = Room(LARGE_ROOM_BYTES)
SMALL_ROOM = Room(SMALL_ROOM_BYTES)


class Place:
    """What one decode holds of the rooms, as a context that gives it back however it ends.

    A thread that holds a place waits for nothing else, so no two can wait for each other.
    """

    def __init__(self) -> None:
        self._room = SMALL_ROOM
        self._held = 0

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.keep(0)

    def take(self, peak: int) -> None:
        """Wait for `peak` bytes; raises UnreadableImage where that is more than there is at all."""
        self.keep(0)
        if peak > LARGE_ROOM.size:
            raise UnreadableImage(TOO_LARGE)
        self._room = SMALL_ROOM if peak <= LARGEST_SMALL_BYTES else LARGE_ROOM
        self._room.take(peak)
        self._held = peak

    def keep(self, amount: int) -> None:
        """Give back what is held beyond `amount` bytes."""
        if self._held > amount:
            if self._room is LARGE_ROOM:
                _trim()
            self._room.give_back(self._held - amount)
            self._held = amount


@functools.cache
def _trimmer() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # no glibc
        return lambda padding: None


def _trim() -> None:
    """Let glibc give back to the system what was freed: it keeps up to 64 MB for each thread."""
    _trimmer()(0)


def is_halved(height: int, width: int) -> bool:
    """Tell whether an image of this size is kept at half its height and width."""
    return height * width > LARGEST_KEPT


def kept_shape(height: int, width: int) -> tuple[int, int]:
    """Return the height and width at which an image of this size is kept."""
    return (-(-height // 2), -(-width // 2)) if is_halved(height, width) else (height, width)


def assembled(
    strip: Callable[[slice], np.ndarray], height: int, width: int, dtype: type[np.generic]
) -> np.ndarray:
    """Put an image (height, width) together from its strips, at the size at which it is kept.

    `strip` gives the grey levels of some rows, uint8 or float32.
    """
    out = np.empty(kept_shape(height, width), dtype)
    if not is_halved(height, width):
        for rows in strips(height, width):
            out[rows] = strip(rows)
        return out
    for rows in strips(height, width):
        # 2 x 2 pixels are averaged, at odd edges fewer.
        half = np.asarray(Image.fromarray(np.ascontiguousarray(strip(rows), dtype)).reduce(2))
        out[rows.start // 2 : rows.start // 2 + len(half)] = half
    return out


def strips(height: int, width: int) -> Iterator[slice]:
    """Yield the rows of an image in strips of an even number of rows, few enough to copy freely."""
    rows = _strip_rows(width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def strip_bytes(height: int, width: int) -> int:
    """Return what working strip by strip takes at most."""
    return min(height, _strip_rows(width)) * width * _BYTES_PER_STRIP_PIXEL


def _strip_rows(width: int) -> int:
    return max(2, _STRIP_PIXELS // width & ~1)


def sample_places(side: int) -> np.ndarray:
    """Return the places of up to 64 samples along a side, evenly spread."""
    count = min(side, 64)
    return ((np.arange(count) + 0.5) * side / count).astype(int)
