"""The limits of a public host: the queue, the images an hour, the memory of all visitors."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pytest
import streamlit as st

from ui.common import public
from ui.common.folders import choose_folder, find_shown_dataset, is_local, may_choose
from ui.common.public import HourlyCount, Limits, Queue, count_in_memory, limits, memory_left, turn
from ui.prediction.cases import Case, Visit
from ui.prediction.uploads import fits
from xray_core.errors import DatasetError, XrayError


@pytest.fixture(autouse=True)
def fresh_caches() -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def public_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_PUBLIC", "1")
    monkeypatch.setenv("XRAY_PUBLIC_MEMORY_MB", "1")
    monkeypatch.setenv("XRAY_PUBLIC_IMAGES_PER_HOUR", "3")


class Left(BaseException):
    """What Streamlit raises when a visitor leaves the page."""


def wait_in(queue: Queue, order: list[str], name: str) -> tuple[Thread, Event, list[int]]:
    """Start a visitor who waits for a turn; return the thread, when it waits, and its places."""
    waits, places = Event(), []

    def show(place: int) -> None:
        places.append(place)
        waits.set()

    def visit() -> None:
        with queue.turn(1, show):
            order.append(name)

    thread = Thread(target=visit)
    thread.start()
    return thread, waits, places


def test_visitors_are_served_in_the_order_in_which_they_came() -> None:
    queue, order = Queue(), []
    threads = []
    with queue.turn(1, lambda place: pytest.fail("The first waits for nobody.")):
        for place, name in enumerate("abc", 1):
            thread, waits, places = wait_in(queue, order, name)
            assert waits.wait(60)
            assert places[0] == place
            threads.append(thread)
        assert order == []
    for thread in threads:
        thread.join(60)
    assert order == ["a", "b", "c"]


def test_who_leaves_the_queue_gives_up_the_place() -> None:
    queue, order = Queue(), []

    def leave(place: int) -> None:
        raise Left

    with queue.turn(1, print):
        with pytest.raises(Left), queue.turn(1, leave):
            order.append("never")
        thread, waits, places = wait_in(queue, order, "next")
        assert waits.wait(60)
        assert places[0] == 1
    thread.join(60)
    assert order == ["next"]


def test_a_failed_analysis_ends_its_turn() -> None:
    queue = Queue()
    with pytest.raises(MemoryError), queue.turn(1, print):
        raise MemoryError
    with queue.turn(1, lambda place: pytest.fail("The failed turn is still running.")):
        pass


def test_two_analyses_run_at_once_where_two_may() -> None:
    queue = Queue()
    with queue.turn(2, print), queue.turn(2, lambda place: pytest.fail("There is room.")):
        pass


def test_without_the_switch_nobody_queues() -> None:
    assert limits() is None
    assert memory_left() is None
    with turn(lambda place: pytest.fail("There is no queue.")):
        pass


def test_images_of_the_last_hour_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(public.time, "monotonic", lambda: now)
    count = HourlyCount()
    count.add(2)
    now = 3000.0
    count.add(1)
    assert count.left(3) == 0
    now = 1000.0 + 3600
    assert count.left(3) == 2


def test_a_jump_of_the_wall_clock_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    count = HourlyCount()
    count.add(2)
    monkeypatch.setattr(public.time, "time", lambda: 4e9)
    assert count.left(3) == 1


@pytest.mark.usefixtures("public_host")
def test_images_beyond_the_hourly_limit_are_left_out_with_a_sentence() -> None:
    visit = Visit()
    visit.drop([("1", b"a"), ("2", b"b")])
    visit.cases.clear()
    visit.drop([("3", b"c"), ("4", b"d")])
    assert [case.name for case in visit.cases] == ["3"]
    assert visit.left_out == 1
    assert "at most 3 images an hour" in visit.left_out_message()


@dataclass
class Held:
    held_bytes: int


@pytest.mark.usefixtures("public_host")
def test_the_memory_of_all_visitors_is_limited_and_given_back() -> None:
    one, other = Held(700 * 1024), Held(300 * 1024)
    count_in_memory(one)
    count_in_memory(other)
    count_in_memory(other)
    assert memory_left() == 24 * 1024
    assert fits(0, 0, 24 * 1024)
    assert not fits(0, 0, 24 * 1024 + 1)
    del one
    gc.collect()
    assert memory_left() == 724 * 1024


def test_a_visit_holds_its_files_each_once() -> None:
    visit = Visit(cases=[Case(1, data=b"abc"), Case(2, data=b"de"), Case(3)])
    assert visit.held_bytes == 5


@pytest.mark.usefixtures("public_host")
def test_a_public_host_opens_no_folder_and_no_dataset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        for fold in ("train", "test"):
            (tmp_path / fold / label).mkdir(parents=True)
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path))
    monkeypatch.setenv("XRAY_FOLDERS", str(tmp_path))
    assert not is_local()
    assert not may_choose()
    with pytest.raises(DatasetError):
        choose_folder(str(tmp_path))
    with pytest.raises(DatasetError) as refused:
        find_shown_dataset()
    assert str(tmp_path) not in str(refused.value)
    monkeypatch.setenv("XRAY_PUBLIC_DATASET", "1")
    assert find_shown_dataset() == tmp_path


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_limit_that_is_no_number_is_an_error(
    monkeypatch: pytest.MonkeyPatch, public_host: None, text: str
) -> None:
    monkeypatch.setenv("XRAY_PUBLIC_ANALYSES", text)
    with pytest.raises(XrayError, match="XRAY_PUBLIC_ANALYSES"):
        limits()


def test_the_limits_have_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_PUBLIC", "1")
    assert limits() == Limits(analyses=2, memory=1024 * 2**20, hourly=60)
