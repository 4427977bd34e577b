"""Requests that the server accepts, headers of its responses, and the content of its log.

Streamlit checks `server.allowedHosts` only for the WebSocket, sends no headers against framing, and
requests its own address from an internet service when a request has a foreign origin.
`RequestFilter` handles each request first and refuses those with a foreign host or origin.
"""

import logging
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

LOOPBACK = ("localhost", "127.0.0.1", "::1")

HEADERS = {
    # Images, fonts, media and connections only from this server.
    "Content-Security-Policy": "; ".join(
        (
            "frame-ancestors 'none'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' data: blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
        )
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class RequestFilter:
    """ASGI middleware: refuses foreign hosts and origins, and adds HEADERS to every response.

    A page of another website reaches this server with that website's name as Host (DNS rebinding),
    or with its own Origin. Both get status 403. `server.allowedHosts` and
    `server.corsAllowedOrigins` allow further ones, as in Streamlit.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not _is_known(headers.getlist("host"), headers.getlist("origin")):
            await PlainTextResponse("This address is not served here.", 403)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _is_known(hosts: list[str], origins: list[str]) -> bool:
    if len(hosts) != 1 or len(origins) > 1:
        return False
    (host,) = hosts
    return is_served(host) and all(_is_own(origin, host) for origin in origins)


def is_served(host: str) -> bool:
    """Tell whether a Host header names one of `server.allowedHosts`, whatever its port.

    `*` allows any host, `*.example.com` every name below example.com, and an empty list any host.
    """
    name = host_name(f"//{host}")
    patterns = [
        entry.strip().lower().rstrip(".") for entry in config.get_option("server.allowedHosts")
    ]
    return name is not None and any(
        pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))
        for pattern in patterns or ["*"]
    )


def host_name(address: str) -> str | None:
    """Return the host of an address such as `//name:port` in lower case; None if it has none."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises ValueError where it is no number
    except ValueError:
        return None
    if parts.username or parts.password or parts.path or parts.query or not parts.hostname:
        return None
    return parts.hostname.rstrip(".")


def _is_own(origin: str, host: str) -> bool:
    if origin in {entry.strip() for entry in config.get_option("server.corsAllowedOrigins")}:
        return True
    if not config.get_option("server.enableCORS"):
        return True
    scheme, _, netloc = origin.partition("://")
    if scheme not in ("http", "https"):
        return False
    # A reverse proxy may pass its own name on as Host; browser.serverAddress is the public one.
    public = config.is_manually_set("browser.serverAddress") and host_name(
        f"//{config.get_option('browser.serverAddress')}"
    )
    return netloc.lower() == host.lower() or (bool(public) and host_name(origin) == public)


def error_location(error: BaseException) -> str:
    """Return the type of an error and the file and line that raised it, without its message.

    For an error raised from another error, those of the first one.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return f"{type(error).__name__} at an unknown location"
    name = Path(trace.tb_frame.f_code.co_filename).name
    return f"{type(error).__name__} at {name}:{trace.tb_lineno}"


def log_error_locations_only() -> None:
    """Replace the traceback in every log record of this process by the location of the error.

    The message of an error may contain a visitor's file name, and libraries log such messages.
    """
    factory = logging.getLogRecordFactory()
    if getattr(factory, "locations_only", False):
        return

    def make_record(*args: object, **kwargs: object) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        if record.exc_info:
            error = record.exc_info[1]
            location = error_location(error) if error is not None else "no error"
            record.msg, record.args = f"{record.getMessage()}: {location}", ()
            record.exc_info = None
        return record

    make_record.locations_only = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_record)
