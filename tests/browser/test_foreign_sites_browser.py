"""What another website can get from the app: through a name of its own, an origin, or a frame."""

import base64
import http.client
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest
from browser_tools import Server

pytestmark = pytest.mark.browser


class Recorder:
    """A proxy that reaches nothing, and the requests that came to it."""

    def __init__(self) -> None:
        requests = self.requests = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path)
                self.send_error(502)

            do_CONNECT = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def internet() -> Iterator[Recorder]:
    """Where the server's requests to the internet go."""
    recorder = Recorder()
    yield recorder
    recorder.server.shutdown()
    recorder.server.server_close()


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., Server],
    internet: Recorder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy"), internet.url)
    return start_server(tmp_path_factory.mktemp("models"), NO_PROXY="", **proxies)


def handshake(server: Server, host: str, origin: str | None) -> int:
    """Ask for the pages' WebSocket; returns the status of the response (101 means accepted)."""
    address = urlsplit(server.url)
    headers = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": "streamlit",
    } | ({"Origin": origin} if origin else {})
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    try:
        connection.request("GET", "/_stcore/stream", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_foreign_host_gets_neither_page_nor_connection(server: Server) -> None:
    address = urlsplit(server.url)
    foreign = f"evil.example:{address.port}"
    assert handshake(server, address.netloc, server.url) == 101
    assert handshake(server, foreign, f"http://{foreign}") == 403
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    for path in ("/", "/dataset", "/_stcore/host-config", "/_stcore/health"):
        connection.request("GET", path, headers={"Host": foreign})
        response = connection.getresponse()
        assert response.status == 403, path
        response.read()
    connection.close()


def test_a_foreign_origin_is_refused_without_a_look_at_the_internet(
    server: Server, internet: Recorder
) -> None:
    netloc = urlsplit(server.url).netloc

    assert handshake(server, netloc, "http://evil.example") == 403
    assert internet.requests == []


def test_dns_rebinding_shows_nothing(server: Server, browser: object, chromium: str) -> None:
    rebound = server.url.replace("localhost", "evil.example")
    misled = browser.browser_type.launch(
        executable_path=chromium,
        args=["--headless", "--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"],
    )
    try:
        page = misled.new_page()
        response = page.goto(f"{rebound}/dataset")
        assert response.status == 403
        assert page.inner_text("body") == "This address is not served here."
    finally:
        misled.close()


def test_another_site_cannot_show_a_page_in_a_frame(server: Server, page: object) -> None:
    def refused(message: object) -> bool:
        return "frame-ancestors" in message.text or "X-Frame-Options" in message.text

    with page.expect_console_message(refused):
        page.set_content(f'<iframe src="{server.url}/dataset"></iframe>')
