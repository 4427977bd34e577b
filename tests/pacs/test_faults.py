"""Servers that fail, lie or stall: each is one sentence, and memory and time stay bounded."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xray_core.errors import PacsError
from xray_core.pacs import client as client_module
from xray_core.pacs import session as session_module
from xray_core.pacs.client import PacsClient
from xray_core.pacs.search import ImageReference, StudyQuery
from xray_core.pacs.settings import Server

IMAGE = ImageReference("1.2.3", "1.2.4", "1.2.5")
DICOM = 'multipart/related; type="application/dicom"; boundary=part'
JSON = "application/dicom+json"
SECRET = "MRN-4711"


class Faults:
    """A server whose answers a test defines, and what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: None
        self.requests: list[str] = []
        self.released = threading.Event()  # set at the end of a test: answers that wait end
        faults = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                faults.requests.append(self.path)
                self.close_connection = True
                with contextlib.suppress(OSError):  # the client has gone, as it should
                    faults.answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def client(self, **settings: object) -> PacsClient:
        url = f"http://127.0.0.1:{self.http.server_address[1]}/dicom-web"
        return PacsClient(Server("test", url, **settings))


def send(
    handler: BaseHTTPRequestHandler,
    body: bytes = b"",
    kind: str = JSON,
    status: int = 200,
    length: int | None = None,
    **headers: str,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Connection", "close")
    if length != -1:
        handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def faults() -> Iterator[Faults]:
    server = Faults()
    yield server
    server.released.set()
    server.http.shutdown()
    server.http.server_close()


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "refused access (status 401)"),
        (403, "refused access (status 403)"),
        (404, "has nothing at this address (status 404)"),
        (400, "did not accept the request (status 400)"),
        (500, "reported an error of its own (status 500)"),
        (503, "reported an error of its own (status 503)"),
    ],
)
@pytest.mark.parametrize("action", ["search", "fetch"])
def test_a_status_is_one_sentence_after_one_request(faults, status, sentence, action):
    faults.answer = lambda handler: send(handler, SECRET.encode(), "text/plain", status)
    client = faults.client()
    with pytest.raises(PacsError) as caught:
        client.fetch(IMAGE) if action == "fetch" else client.search(StudyQuery(patient_id=SECRET))
    assert sentence in str(caught.value)
    assert SECRET not in str(caught.value)
    assert len(faults.requests) == 1


def test_a_redirect_is_not_followed(faults):
    other = f"http://127.0.0.1:{faults.http.server_address[1]}/elsewhere"
    faults.answer = lambda handler: send(handler, b"", status=302, Location=other)
    with pytest.raises(PacsError, match="redirects to another address, which is not followed"):
        faults.client().search(StudyQuery())
    assert not any("elsewhere" in path for path in faults.requests)


@pytest.mark.parametrize("kind", [DICOM, JSON, "text/html", ""])
def test_2_gb_are_refused_before_they_are_read(faults, kind):
    """The server sends the header alone; the client would wait for the body for an hour."""

    def answer(handler):
        send(handler, b"", kind, length=2 * 2**30)
        faults.released.wait()

    faults.answer = answer
    client = faults.client(timeout=3600.0, transfer_timeout=3600.0)
    with pytest.raises(PacsError, match=r"more than 200 MB|something else than DICOM"):
        client.fetch(IMAGE)
    with pytest.raises(PacsError, match=r"more than 32 MB|something else than DICOM"):
        client.search(StudyQuery())


def test_a_body_without_a_length_is_read_up_to_the_limit(faults, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_BYTES", 2**20)
    sent = []

    def answer(handler):
        send(handler, b"", DICOM, length=-1)
        while not faults.released.is_set():
            handler.wfile.write(bytes(2**16))
            sent.append(2**16)

    faults.answer = answer
    with pytest.raises(PacsError, match="more than 1 MB"):
        faults.client().fetch(IMAGE)
    # What lies in the buffers of both sockets was sent as well.
    assert sum(sent) < 64 * 2**20


def test_compressed_bytes_are_counted_unpacked(faults, monkeypatch):
    import gzip

    monkeypatch.setattr(session_module, "MAX_BYTES", 2**20)
    body = gzip.compress(bytes(2**24))
    faults.answer = lambda handler: send(handler, body, DICOM, **{"Content-Encoding": "gzip"})
    with pytest.raises(PacsError, match="more than 1 MB"):
        faults.client().fetch(IMAGE)


@pytest.mark.parametrize("length", [10**6, -1])
def test_a_transfer_that_breaks_off_is_one_sentence(faults, length):
    body = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + bytes(1000)
    faults.answer = lambda handler: send(handler, body, DICOM, length=length)
    with pytest.raises(PacsError, match=r"before the transfer was complete|form that is not valid"):
        faults.client().fetch(IMAGE)


def test_a_chunked_transfer_that_breaks_off_is_one_sentence(faults):
    def answer(handler):
        send(handler, b"400\r\nonly this", DICOM, length=-1, **{"Transfer-Encoding": "chunked"})

    faults.answer = answer
    with pytest.raises(PacsError, match="before the transfer was complete"):
        faults.client().fetch(IMAGE)


def test_a_connection_that_is_closed_at_once_is_one_sentence(faults):
    faults.answer = lambda handler: handler.connection.close()
    with pytest.raises(PacsError, match="before the transfer was complete"):
        faults.client().search(StudyQuery())


@pytest.mark.parametrize("header", [True, False])
def test_a_server_that_falls_silent_is_one_sentence(faults, header):
    def answer(handler):
        if header:
            send(handler, b"", DICOM, length=1000)
        faults.released.wait()

    faults.answer = answer
    with pytest.raises(PacsError, match=r"sent nothing for 0.2 seconds"):
        faults.client(timeout=0.2).fetch(IMAGE)


def test_a_server_that_never_ends_is_one_sentence(faults):
    """Each byte arrives within the time-out; the whole transfer has its own."""

    def answer(handler):
        send(handler, b"", DICOM, length=10**6)
        while not faults.released.wait(0.01):
            handler.wfile.write(b"x")

    faults.answer = answer
    with pytest.raises(PacsError, match=r"took longer than 0.3 seconds"):
        faults.client(timeout=3600.0, transfer_timeout=0.3).fetch(IMAGE)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[",
        b'["text"]',
        b"[1]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"0020000D": 5',
    ],
)
def test_json_that_is_not_dicom_is_one_sentence(faults, body):
    faults.answer = lambda handler: send(handler, body)
    with pytest.raises(PacsError, match="sent a response that is not valid DICOM JSON"):
        faults.client().search(StudyQuery())


@pytest.mark.parametrize(
    "study",
    [
        {},
        {"0020000D": None},
        {"0020000D": {"Value": "1.2.3"}},
        {"0020000D": {"vr": "UI", "Value": ["../patients"]}},
        {"0020000D": {"vr": "UI", "Value": [{"a": 1}]}},
    ],
)
def test_a_row_without_a_valid_uid_is_left_out(faults, study):
    faults.answer = lambda handler: send(handler, json.dumps([study]).encode())
    assert faults.client().search(StudyQuery()) == ([], False)


def test_a_server_without_pages_and_filters_gives_each_study_once(faults):
    studies = [
        {"0020000D": {"Value": [f"1.2.{n}"]}, "00100020": {"Value": [f"P{n}"]}} for n in (1, 2, 3)
    ]

    def answer(handler):
        if "/1.2.3/" in handler.path:
            series = {"00080060": {"Value": ["MR"]}}
        else:
            series = {"00080060": {"Value": ["CR"]}, "00201209": {"Value": [2]}}
        series["0020000E"] = {"Value": ["1.2.4"]}
        rows = [series] if "/series" in handler.path else studies
        send(handler, json.dumps(rows).encode(), "application/json; charset=utf-8")

    faults.answer = answer
    found, truncated = faults.client().search(StudyQuery())
    assert [(study.uid, study.images) for study in found] == [("1.2.2", 2), ("1.2.1", 2)]
    assert not truncated
    found, _ = faults.client().search(StudyQuery(patient_id="p1"))
    assert [study.uid for study in found] == ["1.2.1"]


def test_a_search_that_matches_too_much_says_so(faults, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_STUDIES", 2)
    studies = [{"0020000D": {"Value": [f"1.2.{n}"]}} for n in range(5)]
    series = {"00080060": {"Value": ["CR"]}, "0020000E": {"Value": ["1.2.4"]}}

    def answer(handler):
        rows = [series] if "/series" in handler.path else studies
        send(handler, json.dumps(rows).encode())

    faults.answer = answer
    found, truncated = faults.client().search(StudyQuery())
    assert (len(found), truncated) == (2, True)


def test_a_search_whose_filter_the_server_ignores_says_that_there_may_be_more(faults, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_STUDIES", 2)
    studies = [
        {"0020000D": {"Value": [f"1.2.{n}"]}, "00100020": {"Value": [f"P{n}"]}} for n in range(5)
    ]
    series = {"00080060": {"Value": ["CR"]}, "0020000E": {"Value": ["1.2.4"]}}

    def answer(handler):
        rows = [series] if "/series" in handler.path else studies
        send(handler, json.dumps(rows).encode())

    faults.answer = answer
    client = faults.client()
    found, truncated = client.search(StudyQuery(patient_id="P1"))
    assert ([study.uid for study in found], truncated) == (["1.2.1"], True)
    assert client.search(StudyQuery(patient_id="P4")) == ([], True)
    assert client.sizes(StudyQuery(patient_id="P1")) == ({"1.2.1": 0}, True)
    studies[2:] = []
    found, truncated = client.search(StudyQuery(patient_id="P1"))
    assert ([study.uid for study in found], truncated) == (["1.2.1"], False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--part\r\n\r\n",
        b"--other\r\n\r\nDICM\r\n--other--",
        b"--part\r\n\r\none\r\n--part\r\n\r\ntwo\r\n--part--",
    ],
)
def test_a_message_without_exactly_one_part_is_one_sentence(faults, body):
    faults.answer = lambda handler: send(handler, body, DICOM)
    with pytest.raises(PacsError, match="in a form that is not valid"):
        faults.client().fetch(IMAGE)


def test_a_file_that_is_sent_without_a_multipart_message_is_accepted(faults):
    faults.answer = lambda handler: send(handler, b"DICM", "application/dicom")
    assert faults.client().fetch(IMAGE) == b"DICM"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"", "text/plain"),
        (200, b"{}", JSON),
        (202, b'{"00081198": {"vr": "SQ", "Value": [{}]}}', JSON),
        (200, b"not json", JSON),
        (200, b"[]", JSON),
    ],
)
def test_a_result_that_is_not_confirmed_and_not_found_was_not_stored(
    faults, make_image, status, body, kind
):
    def answer(handler):
        if handler.command == "POST":
            send(handler, body, kind, status)
        else:
            send(handler, b"[]")

    faults.answer = answer
    with pytest.raises(PacsError, match="did not store a result"):
        faults.client(write=True).store("1.2.3", [make_image()])
