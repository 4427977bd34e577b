"""Shared by the tests in a real browser: a fresh server a test, and a headless Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser_tools import LAPTOP, PHONE, ROOT, Server, drop, shot, stop

__all__ = ["LAPTOP", "PHONE", "ROOT", "Server", "drop", "shot", "stop"]

PATIENCE = 60_000
"""Milliseconds to wait for what should be there at once: a busy machine is no failure."""

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; without one the browser tests are skipped."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    pytest.importorskip("playwright", reason="playwright is not installed")
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[object]:
    """One Chromium for all browser tests of the run."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture
def open_browser_page(browser: object) -> Iterator[Callable[..., object]]:
    """A function that opens a page of a fresh visitor: `open_browser_page(viewport, scheme)`."""
    contexts = []

    def open_it(viewport: dict[str, int] = LAPTOP, scheme: str = "light") -> object:
        context = browser.new_context(viewport=viewport, color_scheme=scheme, accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        return context.new_page()

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_browser_page: Callable[..., object]) -> object:
    """A page of a fresh visitor at a laptop's size, in the light theme."""
    return open_browser_page()


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """A function that starts the app in a fresh process: `start_server(models, **environment)`.

    `prefix` goes before the command (a tracer, say); `script` is started in place of the app. All
    are stopped at the end of the run.
    """
    servers: list[Server] = []

    def start(
        models: Path,
        prefix: tuple[str, ...] = (),
        script: Path = ROOT / "app.py",
        port: int | None = None,
        **environment: str,
    ) -> Server:
        folder = tmp_path_factory.mktemp("server")
        log = folder / "log.txt"
        port = port or _free_port()
        command = [
            *prefix,
            *(sys.executable, "-m", "streamlit", "run", str(script)),
            *("--server.port", str(port), "--server.headless", "true"),
        ]
        env = {
            **os.environ,
            "XRAY_MODELS": str(models),
            "CHEST_XRAY_DIR": str(folder / "no-dataset-here"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
            **environment,
        }
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that `stop` reaches what the command started, too
            )
        server = Server(f"http://localhost:{port}", process, log)
        servers.append(server)
        _wait_until_healthy(server)
        return server

    yield start
    for server in servers:
        stop(server)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that returns a port that nothing listens on."""
    return _free_port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_healthy(server: Server, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"The app did not start:\n{server.log.read_text(errors='replace')[-2000:]}")
