"""The bound on one drop, kept while the files arrive: what lies beyond it is let go at once."""

from functools import partial

from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from xray_core.prediction.archive import MAX_FILMS

DROP_BYTES = 512 * 2**20
"""Bytes of one drop. The server holds a drop whole until its last file is there."""

LET_GO = "application/x-let-go"
"""The type of an uploaded file whose bytes were let go."""

LIMIT_WORDS = f"{MAX_FILMS} files or {DROP_BYTES // 2**20} MB"


def bound_uploads() -> None:
    """Let the server keep no more of a visitor's uploads than one drop may hold."""
    context = get_script_run_ctx()
    store = context.uploaded_file_mgr if context else None
    if isinstance(store, MemoryUploadedFileManager) and "add_file" not in vars(store):
        store.add_file = partial(_add_within_bounds, store)  # type: ignore[method-assign]


def _add_within_bounds(
    store: MemoryUploadedFileManager, session_id: str, file: UploadedFileRec
) -> None:
    """Add a file, without its bytes where the visitor's other files leave no room for them."""
    held = [
        other
        for other in store.file_storage.get(session_id, {}).values()
        if other.file_id != file.file_id
    ]
    if fits(len(held), sum(len(other.data) for other in held), len(file.data)):
        MemoryUploadedFileManager.add_file(store, session_id, file)
    else:
        MemoryUploadedFileManager.add_file(store, session_id, file._replace(data=b"", type=LET_GO))


def fits(files: int, size: int, more: int) -> bool:
    """Tell whether `more` bytes of one more file fit beside `files` of `size` bytes."""
    return files < MAX_FILMS and size + more <= DROP_BYTES
