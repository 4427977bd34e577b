"""All uses of undocumented parts of Streamlit and Starlette, each with the reason.

Written for Streamlit 1.67 and Starlette 1.10. `tests/pages/test_streamlit_internals.py` fails where
a new version changes them.

- `MultiPartParser.spool_max_size`: Starlette writes an upload of more than 1 MB to a temporary
  file, and Streamlit offers no option against it.
- `get_script_run_ctx().uploaded_file_mgr`: `max_upload_size` and `server.maxUploadSize` limit one
  file. No option limits the sum of a visitor's files, and none removes a file from the server's
  store after it was read.
- `Runtime._uploaded_file_mgr`: how much that store holds of all visitors.
- `get_script_run_ctx().session_id`, `Runtime.is_active_session`, `Runtime.close_session`: after
  `server.disconnectedSessionTTL` a session is only marked as expired. It stays in memory, with its
  state and its images, until another visitor leaves.
- `Runtime._session_mgr`, `AppSession._session_state`, `AppSession._fragment_storage`: a variable of
  the server's loop refers to the session that was served last, even if it was closed, and clearing
  a `SessionState` keeps the arguments of its widgets' callbacks.
- `Runtime.media_file_mgr`: the store from which `st.image` serves its images. A component could
  send pixels only with its other data, again at every change of them.
"""

import asyncio
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

from ui.common.memory import collect_garbage

Fits = Callable[[int, int, int], bool]
"""(files held, bytes held, bytes of one more file) -> whether that file may also be held."""

DISCARDED = "application/x-discarded"
"""The type of an uploaded file whose bytes were discarded."""

CLOSED_TAB_SECONDS = 30
"""How long a session is kept without a connection: longer than a short loss of the network."""


class Uploaded(Protocol):
    """The part of an uploaded file that this module uses."""

    file_id: str


def keep_uploads_in_memory() -> None:
    """Keep uploads in memory; by default those over 1 MB are written to a temporary file.

    0 means no limit for `tempfile.SpooledTemporaryFile`. The server stops reading a request at
    `server.maxUploadSize`, which limits the memory.
    """
    MultiPartParser.spool_max_size = 0


def bound_uploads(fits: Fits) -> None:
    """Have the server hold a visitor's uploaded files only as far as `fits` allows.

    A file beyond the limit is stored without its bytes and with the type DISCARDED.
    """
    store = _upload_store()
    if store is not None and "add_file" not in vars(store):
        store.add_file = partial(add_within_bounds, store, fits)  # type: ignore[method-assign]


def add_within_bounds(
    store: MemoryUploadedFileManager, fits: Fits, session_id: str, file: UploadedFileRec
) -> None:
    """Add a file, without its bytes if `fits` does not allow them beside the other files."""
    held = [
        other
        for other in store.file_storage.get(session_id, {}).values()
        if other.file_id != file.file_id
    ]
    if not fits(len(held), sum(len(other.data) for other in held), len(file.data)):
        file = file._replace(data=b"", type=DISCARDED)
    MemoryUploadedFileManager.add_file(store, session_id, file)


def uploaded_bytes() -> int:
    """Return how many bytes of uploaded files the server's store holds, of all visitors."""
    store = runtime.get_instance()._uploaded_file_mgr if runtime.exists() else None
    if not isinstance(store, MemoryUploadedFileManager):
        return 0
    return sum(len(f.data) for s in list(store.file_storage.values()) for f in list(s.values()))


def remove_uploads(files: Iterable[Uploaded]) -> None:
    """Remove a visitor's files from the server's store."""
    context, store = get_script_run_ctx(), _upload_store()
    if context is not None and store is not None:
        for file in files:
            store.remove_file(context.session_id, file.file_id)


def serve_bytes(data: bytes, place: str) -> str:
    """Serve bytes from memory until the next run of the page without them; return their address.

    `place` names what they replace. The address is a hash of the bytes.
    """
    if not runtime.exists():
        return ""
    store = runtime.get_instance().media_file_mgr
    base = st.get_option("server.baseUrlPath").strip("/")
    return ("/" + base if base else "") + store.add(data, "application/octet-stream", place)


def closed_tab_seconds() -> int:
    """Return after how many seconds without a connection a visitor's session ends.

    It must end before Streamlit marks it as expired: an expired session can no longer be closed.
    """
    return max(0, min(CLOSED_TAB_SECONDS, st.get_option("server.disconnectedSessionTTL") - 1))


def end_session_when_tab_closes() -> None:
    """End this visitor's session, with all that it holds, soon after its tab is closed.

    Called in every run of every page, since a visitor may return to any of them.
    """
    context = get_script_run_ctx()
    if context is not None and runtime.exists():
        _connected(context.session_id)


def _end_soon(session_id: str) -> None:
    """End a session that was just disconnected, unless its visitor returns in time."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # the caches were cleared without the loss of a connection
    loop.call_later(closed_tab_seconds(), _end_if_away, session_id)


@st.cache_resource(scope="session", show_spinner=False, on_release=_end_soon)
def _connected(session_id: str) -> str:
    """Return the session's id; Streamlit releases it when the connection is lost."""
    return session_id


def _end_if_away(session_id: str) -> None:
    if not runtime.exists() or runtime.get_instance().is_active_session(session_id):
        return
    session = runtime.get_instance()._session_mgr.get_session_info(session_id)
    if session is None:
        return
    runtime.get_instance().close_session(session_id)
    session.session._session_state = SessionState()
    session.session._fragment_storage = MemoryFragmentStorage()
    collect_garbage()  # the objects of a session contain reference cycles


def _upload_store() -> MemoryUploadedFileManager | None:
    context = get_script_run_ctx()
    store = context.uploaded_file_mgr if context else None
    return store if isinstance(store, MemoryUploadedFileManager) else None
