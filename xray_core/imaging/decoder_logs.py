"""Suppress what decoders log about an upload: their messages may quote its content."""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_thread = threading.local()


class _ThreadFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_thread, "suppressed", False)


# One filter for the process that checks the thread: a logger's filters belong to all threads.
_filter = _ThreadFilter()


@contextmanager
def suppress_logs(package: str) -> Iterator[None]:
    """Suppress a package's warnings, and this thread's records of its logger, within the block.

    Parameters
    ----------
    package : str
        Name of the package and of its logger, such as "PIL".
    """
    # `warnings.catch_warnings` is not thread-safe; a filter that stays is.
    if not any(getattr(entry[3], "pattern", "") == package for entry in warnings.filters):
        warnings.filterwarnings("ignore", module=package)
    logging.getLogger(package).addFilter(_filter)  # adds it once
    before = getattr(_thread, "suppressed", False)
    _thread.suppressed = True
    try:
        yield
    finally:
        _thread.suppressed = before


@functools.cache
def silence_libtiff() -> None:
    """Stop libtiff, with which Pillow decodes compressed TIFF, from writing to standard error.

    Notes
    -----
    The messages of libtiff quote the file. Its handlers belong to the process and are removed once.
    Redirecting standard error during a decode would lose the output of other threads. Where
    Pillow contains libtiff without exporting it (as on Windows), the messages remain.
    """
    from PIL import _imaging

    try:
        # The handle of a library also finds the symbols of the libraries it is linked with.
        library = ctypes.CDLL(_imaging.__file__)
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
    except (OSError, AttributeError):
        return
