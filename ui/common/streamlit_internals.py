"""Every use of what Streamlit and Starlette do not document, and why no documented way exists.

Written for Streamlit 1.67 and Starlette 1.10. `tests/pages/test_streamlit_internals.py` names what
a new version breaks.

- `MultiPartParser.spool_max_size`: Starlette writes an upload of more than 1 MB to a temporary
  file, and Streamlit offers no option against it.
- `get_script_run_ctx().uploaded_file_mgr`: `max_upload_size` and `server.maxUploadSize` bound one
  file. No option bounds what a visitor's files hold together, and none removes a file from the
  server's store once it is read.
- `get_script_run_ctx().session_id`, `Runtime.is_active_session`, `Runtime.close_session`: after
  `server.disconnectedSessionTTL` a session is only marked as expired. It stays in memory, with its
  state and its pictures, until another visitor leaves.
- `Runtime._session_mgr`, `AppSession._session_state`, `AppSession._fragment_storage`: a variable of
  the server's loop refers to the session that was served last, even to one that was closed, and
  clearing a `SessionState` leaves the arguments of its widgets' callbacks.
"""

import asyncio
import gc
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import streamlit as st
from starlette.formparsers import MultiPartParser
from streamlit import runtime
from streamlit.runtime.fragment import MemoryFragmentStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.state import SessionState
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

Fits = Callable[[int, int, int], bool]
"""(files held, bytes held, bytes of one more file) -> whether that file may be held, too."""

LET_GO = "application/x-let-go"
"""The type of an uploaded file whose bytes were let go."""

CLOSED_TAB_SECONDS = 30
"""How long a session outlives its connection: long enough for a short loss of the network."""


class Uploaded(Protocol):
    """What this module needs of an uploaded file."""

    file_id: str


def keep_uploads_in_memory() -> None:
    """Keep whole uploads in memory; the server would write those over 1 MB to a temporary file.

    0 means no limit for `tempfile.SpooledTemporaryFile`. The server stops reading a request at
    `server.maxUploadSize`, and that bounds the memory.
    """
    MultiPartParser.spool_max_size = 0


def bound_uploads(fits: Fits) -> None:
    """Let the server hold a visitor's uploaded files only as far as `fits` allows.

    A file beyond that is stored without its bytes and with the type LET_GO.
    """
    store = _upload_store()
    if store is not None and "add_file" not in vars(store):
        store.add_file = partial(add_within_bounds, store, fits)  # type: ignore[method-assign]


def add_within_bounds(
    store: MemoryUploadedFileManager, fits: Fits, session_id: str, file: UploadedFileRec
) -> None:
    """Add a file, without its bytes where the visitor's other files leave no room for them."""
    held = [
        other
        for other in store.file_storage.get(session_id, {}).values()
        if other.file_id != file.file_id
    ]
    if not fits(len(held), sum(len(other.data) for other in held), len(file.data)):
        file = file._replace(data=b"", type=LET_GO)
    MemoryUploadedFileManager.add_file(store, session_id, file)


def remove_uploads(files: Iterable[Uploaded]) -> None:
    """Remove a visitor's files from the server's store."""
    context, store = get_script_run_ctx(), _upload_store()
    if context is not None and store is not None:
        for file in files:
            store.remove_file(context.session_id, file.file_id)


def closed_tab_seconds() -> int:
    """Return after how many seconds without a connection a visitor's session ends.

    It must end before Streamlit marks it as expired: an expired session cannot be closed any more.
    """
    return max(0, min(CLOSED_TAB_SECONDS, st.get_option("server.disconnectedSessionTTL") - 1))


def end_session_when_tab_closes() -> None:
    """Have this visitor's session end, with all that it holds, soon after its tab is closed.

    To be called in every run of every page, since a visitor who comes back in time may do so on
    any of them.
    """
    context = get_script_run_ctx()
    if context is not None and runtime.exists():
        _connected(context.session_id)


def _end_soon(session_id: str) -> None:
    """End a session that was disconnected just now, unless its visitor comes back in time."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # the caches were emptied by something else than the loss of a connection
    loop.call_later(closed_tab_seconds(), _end_if_away, session_id)


@st.cache_resource(scope="session", show_spinner=False, on_release=_end_soon)
def _connected(session_id: str) -> str:
    """Return the session's id; Streamlit releases it when the connection is lost."""
    return session_id


def _end_if_away(session_id: str) -> None:
    if not runtime.exists() or runtime.get_instance().is_active_session(session_id):
        return
    left = runtime.get_instance()._session_mgr.get_session_info(session_id)
    if left is None:
        return
    runtime.get_instance().close_session(session_id)
    left.session._session_state = SessionState()
    left.session._fragment_storage = MemoryFragmentStorage()
    gc.collect()  # what a session holds refers to itself in places


def _upload_store() -> MemoryUploadedFileManager | None:
    context = get_script_run_ctx()
    store = context.uploaded_file_mgr if context else None
    return store if isinstance(store, MemoryUploadedFileManager) else None
