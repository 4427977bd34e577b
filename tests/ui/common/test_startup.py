"""What the server does before its first visitor comes."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import streamlit as st

from ui.common import models, startup
from xray_core.errors import XrayError


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """A function that does what the server does when it starts, with a folder of models."""
    st.cache_resource.clear()
    monkeypatch.setattr(startup, "_loading", [])

    def start(folder: Path) -> None:
        monkeypatch.setenv("XRAY_MODELS", str(folder))
        run(start_server())

    return start


async def start_server() -> None:
    async with startup.lifespan(None):
        pass


def run(coroutine: Coroutine[None, None, None]) -> None:
    with ThreadPoolExecutor(1) as thread:  # in this one Playwright's loop may be running
        thread.submit(asyncio.run, coroutine).result()


def ready() -> int:
    """Return the status of the answer to /ready."""
    (route,) = startup.routes
    assert route.path == "/ready"
    return route.endpoint(None).status_code


def finish_loading() -> None:
    for thread in startup._loading:
        thread.join(120)


def test_the_server_is_ready_once_the_model_is_loaded(
    serve: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resnet50").mkdir()
    loaded = Event()
    monkeypatch.setattr(models, "find_predictor", lambda name: loaded.wait(120))
    serve(tmp_path)
    assert ready() == 503
    loaded.set()
    finish_loading()
    assert ready() == 200


def test_the_first_visitor_gets_the_model_that_was_loaded(
    serve: Callable[[Path], None], micro_bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(micro_bundle, tmp_path / "resnet50")
    serve(tmp_path)
    finish_loading()
    assert ready() == 200
    before = models.find_predictor("resnet50")
    assert before is models.load_predictor("resnet50")
    state = models._bundle_state(tmp_path / "resnet50")
    assert before is models._predictor(str(tmp_path / "resnet50"), state)


@pytest.mark.parametrize("damage", ["no model", "empty folder", "damaged"])
def test_a_model_that_cannot_be_opened_does_not_end_the_server(
    serve: Callable[[Path], None], micro_bundle: Path, tmp_path: Path, damage: str
) -> None:
    if damage == "empty folder":
        (tmp_path / "resnet50").mkdir()
    if damage == "damaged":
        shutil.copytree(micro_bundle, tmp_path / "resnet50")
        (tmp_path / "resnet50" / "model.weights.h5").write_bytes(b"")
    serve(tmp_path)
    finish_loading()
    assert ready() == 200


def test_a_wrong_limit_ends_the_start_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XRAY_PUBLIC", "1")
    monkeypatch.setenv("XRAY_PUBLIC_MEMORY_MB", "much")
    with pytest.raises(XrayError, match="MEMORY_MB"):
        run(start_server())


def test_the_import_of_tensorflow_prints_nothing() -> None:
    script = (
        "from xray_core.command_line import silence_tensorflow as quiet\n"
        "quiet()\nimport tensorflow, sys, os\nos.write(2, b'kept')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == "kept"
