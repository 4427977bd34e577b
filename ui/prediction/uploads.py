"""Moving uploaded files from the drop zone into the visit: each once, within the limits."""

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ui.common.public import memory_left
from ui.common.streamlit_internals import DISCARDED, remove_uploads
from ui.prediction.cases import DROP_BYTES, Visit
from xray_core.prediction.archive import MAX_IMAGES


def fits(files: int, size: int, more: int) -> bool:
    """Tell whether one more file of `more` bytes may be held beside `files` of `size` bytes.

    On a public host also beside the images of all other visitors.
    """
    left = memory_left()
    return files < MAX_IMAGES and size + more <= DROP_BYTES and (left is None or more <= left)


def drop_key(visit: Visit) -> str:
    """Return the key of the drop zone: a new one after each drop, which empties the widget.

    The file names then leave the screen, and the server removes its own copy of the files.
    """
    return f"drop-{visit.drops}"


def handle_drop(visit: Visit, key: str) -> None:
    """Take the files of the drop zone with this key.

    Streamlit may interrupt a run at `session_state[key]`, but not at `to_dict`. An interrupted
    callback is not called again.
    """
    take_dropped(visit, st.session_state.to_dict().get(key) or [])


def take_dropped(visit: Visit, files: Sequence[UploadedFile]) -> bool:
    """Take the files that were not taken before, and tell whether there were any.

    When a button is pressed before the page is complete, a browser may send the drop zone again,
    empty or with files that were already taken. It may also send more files from a drop zone that
    is about to be replaced.
    """
    # A file that is no longer in the server's store has only an id.
    stored = [file for file in files if hasattr(file, "getvalue")]
    new = [file for file in stored if file.file_id not in visit.taken]
    if not new:
        return False
    complete = [file for file in new if file.type != DISCARDED]
    visit.drop(
        [(file.name, file.getvalue()) for file in complete], discarded=len(new) - len(complete)
    )
    visit.taken.update(file.file_id for file in new)
    visit.drops += 1
    remove_uploads(stored)
    return True
