"""A public host: the switch XRAY_PUBLIC=1, and the limits that it sets.

A server for people who do not know each other shows nothing of its own disk, and divides its
processor and its memory among its visitors.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Condition
from typing import Protocol
from weakref import WeakValueDictionary

import streamlit as st

from ui.common.streamlit_internals import uploaded_bytes
from xray_core.errors import XrayError

HOUR = 3600.0
_LOOK_AGAIN = 1.0  # seconds between two looks at the queue, where a run of a page may be ended


@dataclass(frozen=True)
class Limits:
    """The limits of a public host.

    `analyses` are images analysed at the same time, `memory` bytes of all visitors' images
    together, and `hourly` images that one session may add within an hour.
    """

    analyses: int
    memory: int
    hourly: int

    @property
    def sentence(self) -> str:
        """The limits on what a visitor may drop."""
        return (
            f"This server takes at most {self.hourly} images an hour from each visitor, and holds "
            f"at most {self.memory // 2**20} MB of images of all visitors together. Please try "
            "again later."
        )


class Session(Protocol):
    """What one visitor holds in memory."""

    @property
    def held_bytes(self) -> int:
        """Bytes of images."""
        ...


def is_public() -> bool:
    """Tell whether the operator has set XRAY_PUBLIC=1."""
    return os.environ.get("XRAY_PUBLIC", "").strip() == "1"


def shows_dataset() -> bool:
    """Tell whether images of the dataset may be shown: not on a public host, unless allowed."""
    return not is_public() or os.environ.get("XRAY_PUBLIC_DATASET", "").strip() == "1"


def limits() -> Limits | None:
    """Return the limits of this server, None if it is not public; raises XrayError."""
    if not is_public():
        return None
    return Limits(
        analyses=_number("XRAY_PUBLIC_ANALYSES", 2),
        memory=_number("XRAY_PUBLIC_MEMORY_MB", 1024) * 2**20,
        hourly=_number("XRAY_PUBLIC_IMAGES_PER_HOUR", 60),
    )


class Queue:
    """Visitors who wait for an analysis, served in the order in which they came.

    Each image is one turn, so that a visitor with many images does not keep others waiting.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: deque[object] = deque()
        self._running = 0

    @contextmanager
    def turn(self, at_once: int, show_place: Callable[[int], None]) -> Iterator[None]:
        """Wait until fewer than `at_once` turns are running, then run one.

        `show_place` gets the place in the queue, 1 for the next, while the visitor waits. It may
        raise, as Streamlit does at its calls when a visitor leaves the page: the place is then
        given up.
        """
        me = object()
        with self._changed:
            self._waiting.append(me)
        try:
            while (place := self._advance(me, at_once)) > 0:
                show_place(place)
        except BaseException:
            with self._changed:
                self._waiting.remove(me)
                self._changed.notify_all()
            raise
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _advance(self, me: object, at_once: int) -> int:
        """Start the turn and return 0, or return the place after at most _LOOK_AGAIN seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_next(me, at_once), _LOOK_AGAIN)
            if not self._is_next(me, at_once):
                return self._waiting.index(me) + 1
            self._waiting.popleft()
            self._running += 1
            self._changed.notify_all()
            return 0

    def _is_next(self, me: object, at_once: int) -> bool:
        return self._waiting[0] is me and self._running < at_once


@dataclass
class HourlyCount:
    """When a session added images, within the last hour, in seconds of a clock without jumps."""

    times: deque[float] = field(default_factory=deque)

    def left(self, hourly: int) -> int:
        """Return how many images may still be added now."""
        now = time.monotonic()
        while self.times and self.times[0] <= now - HOUR:
            self.times.popleft()
        return max(0, hourly - len(self.times))

    def add(self, images: int) -> None:
        """Count images that were added now."""
        self.times.extend([time.monotonic()] * images)


def turn(show_place: Callable[[int], None]) -> AbstractContextManager[None]:
    """Return the context of one analysis: a turn of the queue on a public host.

    `show_place` as in `Queue.turn`.
    """
    public = limits()
    return nullcontext() if public is None else _queue().turn(public.analyses, show_place)


def count_in_memory(session: Session) -> None:
    """Count what a visitor's session holds, for as long as it exists."""
    _sessions()[id(session)] = session


def memory_left() -> int | None:
    """Return how many bytes of images the server may still take; None if it has no such limit."""
    public = limits()
    if public is None:
        return None
    held = sum(session.held_bytes for session in list(_sessions().values()))
    return max(0, public.memory - held - uploaded_bytes())


@st.cache_resource(show_spinner=False)
def _queue() -> Queue:
    return Queue()


@st.cache_resource(show_spinner=False)
def _sessions() -> "WeakValueDictionary[int, Session]":
    return WeakValueDictionary()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip() or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise XrayError(f"The environment variable {name} must be a whole number above 0.")
    return int(text)
