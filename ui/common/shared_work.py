"""Work that takes long and has the same result for all visitors: done once, whoever waits for it.

It runs in a thread of its own. A visitor who leaves the page does not end it, and everyone who
comes meanwhile sees its progress.
"""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Generic, TypeVar

import streamlit as st

Result = TypeVar("Result")
Work = Callable[[Callable[[int, int], None]], Result]
"""Called with a function that takes (done, total) while the work proceeds."""

_LOOK_AGAIN = 0.2  # seconds between two looks at the progress


class Job(Generic[Result]):
    """A piece of work that was started, with its progress."""

    def __init__(self, work: Work[Result]) -> None:
        self.done, self.total = 0, 0
        self._future: Future[Result] = Future()
        Thread(target=self._run, args=(work,), name="shared work", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work at most for some seconds, and tell whether it has ended."""
        return bool(wait([self._future], seconds).done)

    def result(self) -> Result:
        """Return the result of work that has ended, or raise its error."""
        return self._future.result()

    def _run(self, work: Work[Result]) -> None:
        try:
            self._future.set_result(work(self._show))
        except BaseException as error:
            self._future.set_exception(error)

    def _show(self, done: int, total: int) -> None:
        self.done, self.total = done, total


def share(key: str, work: Work[Result], doing: str) -> Result:
    """Return the result of `work`, which is started unless it was for the same `key`.

    Parameters
    ----------
    key
        What the result depends on, with the name of the work.
    work
        Calls nothing of Streamlit.
    doing
        What the progress bar says, such as "Measuring the images".

    Raises
    ------
    Exception
        What `work` raised. The next call starts it again.
    """
    job = _job(key, work)
    place = st.empty()
    while not job.wait(_LOOK_AGAIN):
        if job.total:
            place.progress(job.done / job.total, f"{doing}: {job.done:,} of {job.total:,}")
        else:
            place.progress(0.0, f"{doing} …")
    place.empty()
    try:
        return job.result()
    except Exception:
        _job.clear(key, work)
        raise


def forget() -> None:
    """Have all work be done again when it is next asked for."""
    _job.clear()


@st.cache_resource(max_entries=16, show_spinner=False)
def _job(key: str, _work: Work[Result]) -> Job[Result]:
    return Job(_work)
