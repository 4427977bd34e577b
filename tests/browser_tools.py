"""What the browser tests share beyond fixtures: sizes, the server, uploads, screenshots."""

import base64
import os
import re
import signal
import subprocess
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "screenshots"
LAPTOP = {"width": 1366, "height": 850}
PHONE = {"width": 390, "height": 844}


@dataclass(frozen=True)
class Server:
    """A running app: its address, its process and the file with all it logged."""

    url: str
    process: subprocess.Popen
    log: Path


def stop(server: Server) -> None:
    """Stop a server, and whatever runs it or runs under it, and wait until it is gone."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, kind)
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(timeout=10)


def drop(page: object, *files: tuple[str, bytes]) -> None:
    """Give (name, bytes) to the page's drop zone: the new one, while the last one still fades."""
    page.locator('input[type="file"]').first.set_input_files(
        [
            {"name": name, "mimeType": "application/octet-stream", "buffer": data}
            for name, data in files
        ]
    )


def shot(page: object, name: str) -> Path:
    """Save a screenshot of the visible part of a page as `screenshots/NAME.png`."""
    SCREENSHOTS.mkdir(exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=str(path))
    return path


def unpacked(pdf: bytes) -> bytes:
    """Return what the streams of a PDF hold, whether deflated, in base 85, or both."""
    content = b""
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        for decode in (
            bytes.strip,
            lambda text: base64.a85decode(b"<~" + text.strip(), adobe=True),
        ):
            try:
                content += zlib.decompress(decode(stream))
            except (zlib.error, ValueError):
                continue
    return content
