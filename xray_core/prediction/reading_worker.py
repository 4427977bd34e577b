"""Read files and make their model inputs, in a process of its own.

`reading.ReaderProcess` runs `serve` in a new process and sends one `Request` at a time. A decoder
that crashes or a file system that does not answer costs this process and not the run. Requests and
answers are pickled; both ends are this project's own, and no pickle comes from a file.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import MAX_BYTES, open_radiograph
from xray_core.prediction.inputs import PreparedInput, prepare_input

READY = "ready"
NO_FILE = "There is no file at this path."
NOT_ALLOWED = "The file cannot be opened. Check that this program may read it."


class Request(NamedTuple):
    """A file to read: at `path`, or its bytes `data`. `side` as in `Reading.picture`."""

    path: str | None
    data: bytes | None
    side: int | None


class Reading(NamedTuple):
    """What was read of one file.

    Attributes
    ----------
    sha256
        Of the bytes of the file, in hexadecimal; "" if they could not be read.
    prepared
        The model input, or the sentence why the image cannot be read.
    picture
        The image as uint8 (H, W) with no side above `side`; None if `side` is None, or if the image
        cannot be read.
    """

    sha256: str
    prepared: PreparedInput | str
    picture: NDArray[np.uint8] | None = None


def read(request: Request) -> Reading:
    """Read one file; never raises for its content."""
    digest = ""
    try:
        data = request.data
        if data is None:
            assert request.path is not None
            data = _fetch(request.path)
        if len(data) <= MAX_BYTES:  # else it is not whole
            digest = hashlib.sha256(data).hexdigest()
        with open_radiograph(data) as radiograph:
            side = request.side
            picture = None if side is None else _shrink(radiograph.pixels, side)
            return Reading(digest, prepare_input(radiograph), picture)
    except UnreadableImage as error:
        return Reading(digest, str(error))
    except MemoryError:
        return Reading(digest, "The image is too large for this computer's memory.")


def _fetch(path: str) -> bytes:
    """Return the bytes of a file, one more than MAX_BYTES at most."""
    try:
        if "://" in path:
            import fsspec

            with fsspec.open(path, "rb") as file:
                return file.read(MAX_BYTES + 1)
        if not os.path.isfile(path):
            raise UnreadableImage(NOT_ALLOWED if os.path.lexists(path) else NO_FILE)
        with open(path, "rb") as local:
            return local.read(MAX_BYTES + 1)
    except UnreadableImage:
        raise
    except FileNotFoundError:
        raise UnreadableImage(NO_FILE) from None
    except Exception:  # every remote file system raises errors of its own
        raise UnreadableImage(NOT_ALLOWED) from None


def _shrink(pixels: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    import cv2

    scale = min(1.0, side / max(pixels.shape))
    height, width = (max(1, round(length * scale)) for length in pixels.shape)
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.rint(np.clip(resized, 0, 255)).astype(np.uint8)


def serve() -> None:
    """Answer requests on standard input until it is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not come between the answers
    pickle.dump(READY, answers)
    answers.flush()
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            pickle.dump(read(request), answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:
            return
