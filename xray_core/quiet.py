"""Keep what decoders say about an upload out of terminal and logs: it may quote the upload."""

from __future__ import annotations

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
