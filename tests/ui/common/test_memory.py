"""The server's memory: short collections after each run of a page, and freed memory returned."""

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from ui.common.memory import collect_garbage

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


class Node:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_objects_in_use_are_exempt_from_later_collections() -> None:
    held = Node()
    collect_garbage()
    assert gc.get_freeze_count() > 1000
    assert not any(one is held for one in gc.get_objects())


def test_objects_that_were_exempt_are_freed_by_the_next_call() -> None:
    node = Node()
    gone = weakref.ref(node)
    collect_garbage()
    del node
    gc.collect()
    assert gone() is not None
    collect_garbage()
    assert gone() is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_blocks_of_some_megabytes_return_to_the_system() -> None:
    """Without the bound glibc keeps blocks below its threshold, which grows to 32 MB."""
    script = """
from pathlib import Path
import os, numpy as np
from ui.common.memory import bound_allocator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

bound_allocator()
np.ones(30 * 2**20, np.uint8)  # freed: without the bound the threshold is now 30 MB
before = resident()
blocks = [np.ones(8 * 2**20, np.uint8) for _ in range(40)]
del blocks[:-1]
print((resident() - before) / 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=os.environ
    )
    assert float(done.stdout) < 24, done.stderr
