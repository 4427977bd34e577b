"""Work that all visitors share: done once, whoever waits and whoever leaves."""

from collections.abc import Iterator
from threading import Event
from typing import Any
from unittest.mock import MagicMock, call

import pytest
import streamlit as st

from ui.common import shared_work


@pytest.fixture(autouse=True)
def own_jobs() -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


class Leaves(Exception):
    """What Streamlit raises in a run of a page that its visitor leaves."""


def test_a_visitor_who_leaves_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = [], Event()

    def work(progress: Any) -> str:
        started.append(1)
        progress(1, 2)
        go_on.wait(60)
        return "result"

    with monkeypatch.context() as leaving:
        leaving.setattr(shared_work.Job, "wait", lambda job, seconds: (_ for _ in ()).throw(Leaves))
        with pytest.raises(Leaves):
            shared_work.share("key", work, "Working")
    go_on.set()
    assert shared_work.share("key", work, "Working") == "result"
    assert started == [1]


def test_each_key_has_work_of_its_own() -> None:
    assert shared_work.share("one", lambda progress: 1, "Working") == 1
    assert shared_work.share("two", lambda progress: 2, "Working") == 2
    assert shared_work.share("one", lambda progress: 3, "Working") == 1


def test_work_that_failed_is_done_again() -> None:
    def fail(progress: Any) -> None:
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        shared_work.share("key", fail, "Working")
    assert shared_work.share("key", lambda progress: "found", "Working") == "found"


def test_forgotten_work_is_done_again() -> None:
    assert shared_work.share("key", lambda progress: 1, "Working") == 1
    shared_work.forget()
    assert shared_work.share("key", lambda progress: 2, "Working") == 2


def test_the_progress_is_shown_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, place = Event(), MagicMock()
    place.progress.side_effect = lambda share, text: seen.set() if share else None
    monkeypatch.setattr(st, "empty", lambda: place)

    def work(progress: Any) -> None:
        progress(30, 2000)
        assert seen.wait(60)

    shared_work.share("key", work, "Measuring")
    assert place.progress.call_args == call(0.015, "Measuring: 30 of 2,000")
    assert place.empty.called
