"""Keep what decoders say about an upload out of terminal and logs: it may quote the upload."""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_here = threading.local()


class _NotHere(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_here, "quiet", False)


# One filter for the process, which looks at the thread: adding and removing one is no thread's own.
_filter = _NotHere()


@contextmanager
def quiet(package: str) -> Iterator[None]:
    """Silence a package's warnings, and what its own logger records in this thread meanwhile."""
    # `warnings.catch_warnings` is not safe among threads; a filter that stays is.
    if not any(getattr(entry[3], "pattern", "") == package for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=package)
    logging.getLogger(package).addFilter(_filter)  # adds it once
    before = getattr(_here, "quiet", False)
    _here.quiet = True
    try:
        yield
    finally:
        _here.quiet = before


@functools.cache
def silence_libtiff() -> None:
    """Keep libtiff, which Pillow decodes compressed TIFF with, from writing to standard error.

    libtiff prints what it finds wrong with a file, quoting the file, and Pillow leaves it at that.
    Its handlers belong to the process and are taken out once. Redirecting standard error around a
    decode would lose what other threads write meanwhile. Where Pillow contains libtiff without
    exporting it (as on Windows), its messages stay.
    """
    from PIL import _imaging

    try:
        # A library's handle finds the symbols of the libraries that it was linked with, too.
        library = ctypes.CDLL(_imaging.__file__)
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
    except (OSError, AttributeError):
        return
