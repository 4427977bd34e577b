"""Requests to a PACS: responses within limits on size and time, and errors as sentences.

A response is read only if its status and content type are those expected. Messages name the server
as it is called in the settings. They contain no address, no UID and nothing that the server sent,
and neither do log records: addresses of searches contain patient numbers.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import ExitStack
from email.message import Message
from typing import Any, TypeVar

from xray_core.errors import PacsError
from xray_core.imaging.decoder_logs import suppress_logs
from xray_core.imaging.radiograph import MAX_BYTES
from xray_core.pacs.settings import MISSING_PACKAGES, Server

try:
    import requests
    from requests.auth import HTTPBasicAuth
    from urllib3.exceptions import HTTPError
except ImportError:
    raise PacsError(f"A PACS {MISSING_PACKAGES}") from None

T = TypeVar("T")

JSON = "application/dicom+json"
DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'

_MAX_JSON_BYTES = 32 * 2**20
_CHUNK = 2**16
_LOGGERS = (
    "urllib3.connectionpool",
    "urllib3.connection",
    "urllib3.response",
    "dicomweb_client.web",
    "retrying",
)


class NotDicomJson(Exception):
    """A response is JSON but no list of data sets."""


class Session(requests.Session):
    """A session that reads each response at once, within limits, and follows no redirect."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        # No proxy, password or certificate authority from variables or files of the account.
        self.trust_env = False
        self.headers.update({"Accept": JSON, "Accept-Encoding": "identity"})
        if server.user is not None and server.password is not None:
            self.auth = HTTPBasicAuth(server.user.encode(), server.password.encode())
        if server.token is not None:
            self.headers["Authorization"] = f"Bearer {server.token}"
        if server.ca is not None:
            self.verify = server.ca
        if server.client_certificate is not None:
            key = server.client_key
            self.cert = (
                server.client_certificate if key is None else (server.client_certificate, key)
            )

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request and return the response with its whole body in `raw`, a BytesIO."""
        started = time.monotonic()
        # dicomweb-client sets Host without the port, and encodes wildcards, which need no encoding
        # (RFC 3986, section 3.4) and which Orthanc then takes for plain characters.
        request.headers.pop("Host", None)
        request.url = str(request.url).replace("%2A", "*").replace("%3F", "?")
        options |= {"stream": True, "allow_redirects": False}
        response = super().send(request, **options)
        try:
            if response.status_code not in range(200, 300):
                raise PacsError(_describe_status(response.status_code, self._server))
            self._check_type(response)
            limit = MAX_BYTES + 2**16 if _is_for_file(request) else _MAX_JSON_BYTES
            body = self._read(response, limit, started)
        except BaseException:
            response.close()  # a response that was read to its end leaves its connection open
            raise
        kind = content_type(response).get_content_type()
        if request.method == "POST" and not kind.endswith("json"):
            body = io.BytesIO()  # the PACS is asked whether the results are there
        response.raw = body
        return response

    def _read(self, response: requests.Response, limit: int, started: float) -> io.BytesIO:
        title = self._server.title
        length = response.headers.get("Content-Length", "")
        too_large = PacsError(f"The {title} sent a response of more than {limit >> 20} MB.")
        if length.isdigit() and int(length) > limit:
            raise too_large
        body = io.BytesIO()
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            if body.tell() + len(chunk) > limit:
                raise too_large
            body.write(chunk)
            if time.monotonic() - started > self._server.transfer_timeout:
                raise PacsError(
                    f"The {title} is too slow: a transfer took longer than "
                    f"{self._server.transfer_timeout:g} seconds."
                )
        if length.isdigit() and body.tell() < int(length):
            raise PacsError(_describe_broken_off(self._server))
        body.seek(0)
        return body

    def _check_type(self, response: requests.Response) -> None:
        """Refuse a response of another type than requested, before its body is read."""
        request = response.request
        if request.method == "POST" or response.status_code == 204:
            return
        kind = content_type(response).get_content_type()
        wanted = (
            ("multipart/related", "application/dicom")
            if _is_for_file(request)
            else (JSON, "application/json")
        )
        if kind not in wanted:
            raise PacsError(
                f"The {self._server.title} sent something else than DICOM. Check that its url "
                "is the root of a DICOMweb service."
            )


def _is_for_file(request: requests.PreparedRequest) -> bool:
    return str(request.headers.get("Accept", "")).startswith("multipart/related")


def ask(server: Server, request: Callable[[], T]) -> T:
    """Run a request without log records, and with each error as a sentence without address.

    Raises
    ------
    PacsError
        The request failed.
    """
    problem = ""
    with ExitStack() as stack:
        for name in _LOGGERS:
            stack.enter_context(suppress_logs(name))
        try:
            return request()
        except (requests.exceptions.InvalidJSONError, NotDicomJson, RecursionError):
            problem = f"The {server.title} sent a response that is not valid DICOM JSON."
        except requests.exceptions.SSLError as error:
            problem = _describe_tls(error, server)
        except requests.exceptions.ConnectTimeout:
            problem = f"The {server.title} did not accept a connection in {server.timeout:g} s."
        except (requests.exceptions.Timeout, TimeoutError):
            problem = f"The {server.title} sent nothing for {server.timeout:g} seconds."
        except requests.exceptions.ConnectionError as error:
            problem = _describe_connection(error, server)
        except (requests.exceptions.RequestException, HTTPError, OSError) as error:
            problem = (
                f"The {server.title} sent nothing for {server.timeout:g} seconds."
                if "timed out" in str(error).lower()
                else _describe_broken_off(server)
            )
    # Raised outside the handlers: the handled exception contains the address.
    raise PacsError(problem)


def _describe_status(status: int, server: Server) -> str:
    if status in (401, 403):
        return (
            f"The {server.title} refused access (status {status}): check user and password, or "
            "the token."
        )
    if status == 404:
        return (
            f"The {server.title} has nothing at this address (status 404): no such study or "
            "image, or no DICOMweb service at its url."
        )
    if 300 <= status < 400:
        return (
            f"The {server.title} redirects to another address, which is not followed: correct "
            "its url."
        )
    if status >= 500:
        return f"The {server.title} reported an error of its own (status {status})."
    return f"The {server.title} did not accept the request (status {status})."


def _describe_tls(error: Exception, server: Server) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        if "key usage" in text.lower() or "key identifier" in text.lower():
            return (
                f"The certificate of the {server.title} or of its authority lacks an extension "
                "that Python 3.13 and later require: key usage, or a key identifier (RFC 5280). "
                "Have it issued again, or use an earlier version of Python."
            )
        return (
            f"The certificate of the {server.title} could not be verified. If it is signed by "
            "an authority of your own, name the authority's file: XRAY_PACS_CA, or ca."
        )
    return (
        f"No encrypted connection to the {server.title} could be made. It may ask for a client "
        "certificate: XRAY_PACS_CLIENT_CERTIFICATE, or client_certificate."
    )


def _describe_connection(error: Exception, server: Server) -> str:
    text = str(error).lower()
    if "timed out" in text:
        return f"The {server.title} sent nothing for {server.timeout:g} seconds."
    if "ssl" in text or "alert" in text:
        return _describe_tls(error, server)
    if "aborted" in text or "reset" in text or "incomplete" in text:
        return _describe_broken_off(server)
    return f"The {server.title} cannot be reached. Check that it runs, and its url."


def _describe_broken_off(server: Server) -> str:
    return f"The {server.title} ended the connection before the transfer was complete."


def content_type(response: requests.Response) -> Message:
    """Return the content type of a response, with its parameters."""
    message = Message()
    message["Content-Type"] = response.headers.get("Content-Type", "")
    return message


def only_part(body: bytes, boundary: str) -> bytes | None:
    """Return the only part of a multipart message (RFC 2046, section 5.1), None if it has not one.

    The part may contain the bytes of a delimiter only by mistake, so the last one ends it.
    """
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    start = body.find(delimiter)
    head = body.find(b"\r\n\r\n", start)
    end = body.rfind(b"\r\n" + delimiter + b"--")
    if not boundary or min(start, head, end) < 0 or end < head + 4:
        return None
    if body.find(b"\r\n" + delimiter + b"\r\n", head, end) >= 0:
        return None
    return body[head + 4 : end]
