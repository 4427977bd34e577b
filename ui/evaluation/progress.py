"""A progress bar for computations over bootstrap resamples."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from xray_core.stats.bootstrap import reporting

_SLOW_SECONDS, _REFRESH_SECONDS = 1.0, 0.2


@contextmanager
def show_progress() -> Iterator[None]:
    """Show the progress of the bootstraps computed inside, once they take over a second."""
    place = st.empty()
    shown = time.monotonic() + _SLOW_SECONDS - _REFRESH_SECONDS
    step = 1

    def show(done: int, total: int) -> None:
        nonlocal shown, step
        if time.monotonic() - shown > _REFRESH_SECONDS:
            shown = time.monotonic()
            place.progress(
                done / total,
                f"Computing the intervals, step {step}: {done:,} of {total:,} resamples",
            )
        step += done == total

    with reporting(show):
        yield
    place.empty()
