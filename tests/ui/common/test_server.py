"""Requests that reach the app, headers of its responses, and the content of the log."""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from streamlit import config

from ui.common.server import HEADERS, RequestFilter, log_error_locations_only


@pytest.fixture
def options() -> Iterator[dict[str, object]]:
    """Streamlit's options by name; changes are undone after the test."""
    changed: dict[str, object] = {}

    class Options(dict[str, object]):
        def __setitem__(self, name: str, value: object) -> None:
            changed.setdefault(name, config.get_option(name))
            config.set_option(name, value)

    yield Options()
    for name, value in changed.items():
        config.set_option(name, value)


def send_request(kind: str = "http", **headers: str) -> tuple[int, dict[str, str], bool]:
    """Return status, headers and whether the request reached the app."""
    reached: list[str] = []
    sent: list[dict] = []

    async def app(scope, receive, send) -> None:
        reached.append(scope["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict:
        return {"type": "http.request"}

    async def send(message: dict) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": "GET", "path": "/", "headers": pairs}
    with ThreadPoolExecutor(1) as thread:  # in this one Playwright's loop may be running
        thread.submit(asyncio.run, RequestFilter(app)(scope, receive, send)).result()
    received = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], received, bool(reached)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8501"},
        {"host": "evil.example:8501", "origin": "http://evil.example:8501"},
        {"host": "localhost.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "localhost:8501", "origin": "http://evil.example"},
        {"host": "localhost:8501", "origin": "http://localhost:3000"},
        {"host": "localhost:8501", "origin": "null"},
        {"host": "localhost:port"},
        {"host": ""},
        {},
    ],
)
def test_a_foreign_host_or_origin_is_refused(kind: str, headers: dict[str, str]) -> None:
    status, _, reached = send_request(kind, **headers)

    assert status == 403
    assert not reached


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8501"},
        {"host": "LOCALHOST.:8501"},
        {"host": "127.0.0.1:8501", "origin": "http://127.0.0.1:8501"},
        {"host": "[::1]:8501", "origin": "http://[::1]:8501"},
    ],
)
def test_local_requests_are_served(headers: dict[str, str]) -> None:
    assert send_request(**headers)[2]


def test_a_public_name_is_served_where_the_operator_names_it(options: dict[str, object]) -> None:
    public = {"host": "xray.example.org", "origin": "https://xray.example.org"}
    rewritten = {"host": "localhost:8501", "origin": "https://xray.example.org"}
    assert not send_request(**public)[2]
    options["server.allowedHosts"] = ["localhost", "*.example.org"]
    assert send_request(**public)[2]
    assert not send_request(host="example.org.evil.example")[2]
    assert not send_request(**rewritten)[2]
    options["server.corsAllowedOrigins"] = ["https://xray.example.org"]
    assert send_request(**rewritten)[2]
    options["server.corsAllowedOrigins"] = []
    options["browser.serverAddress"] = "xray.example.org"
    assert send_request(**rewritten)[2]
    assert not send_request(host="localhost:8501", origin="https://evil.example")[2]


def test_no_other_site_may_frame_a_page_and_no_image_comes_from_one() -> None:
    _, headers, _ = send_request(host="localhost:8501")

    assert headers["x-frame-options"] == "DENY"
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["frame-ancestors"] == "'none'"
    assert policy["img-src"] == "'self' data: blob:"
    assert policy["connect-src"] == "'self' data: blob:"
    assert len(headers) == len(HEADERS)


def test_the_log_has_the_location_of_an_error_and_not_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = logging.getLogRecordFactory()
    log_error_locations_only()
    log_error_locations_only()  # twice is once
    try:
        try:
            raise OSError("no file /uploads/Doe_Jane.csv")
        except OSError:
            logging.getLogger("streamlit.error_util").exception("Uncaught app execution")
    finally:
        logging.setLogRecordFactory(before)

    assert "Doe_Jane" not in caplog.text
    assert "Traceback" not in caplog.text
    assert "Uncaught app execution: OSError at test_server.py:" in caplog.text
    assert caplog.text.count("OSError") == 1
