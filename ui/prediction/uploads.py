"""A drop on its way into the visit: taken once, whole or up to a bound, whatever interrupts it."""

from collections.abc import Sequence

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ui.common.streamlit_internals import LET_GO, remove_uploads
from ui.prediction.cases import DROP_BYTES, Visit
from xray_core.prediction.archive import MAX_IMAGES


def fits(files: int, size: int, more: int) -> bool:
    """Tell whether `more` bytes of one more file fit beside `files` of `size` bytes."""
    return files < MAX_IMAGES and size + more <= DROP_BYTES


def drop_key(visit: Visit) -> str:
    """Return the key of the drop zone: a new one after each drop, which empties the widget.

    So no list of file names stays on the screen, and the server lets go of its own copy.
    """
    return f"drop-{visit.drops}"


def on_drop(visit: Visit, key: str) -> None:
    """Take what was dropped on the drop zone of this key.

    `to_dict` is no point at which Streamlit interrupts a run, as `session_state[key]` is: an
    interrupted callback is not called again.
    """
    take_dropped(visit, st.session_state.to_dict().get(key) or [])


def take_dropped(visit: Visit, files: Sequence[UploadedFile]) -> bool:
    """Take the files that were not taken before, and tell whether there were any.

    A browser may send a drop zone once more, emptied or with files that were taken, when a button
    is pressed before the page is drawn to its end; or send more files on a drop zone that is about
    to be replaced.
    """
    # A file that is no longer in the server's store has an id and nothing else.
    there = [file for file in files if hasattr(file, "getvalue")]
    new = [file for file in there if file.file_id not in visit.taken]
    if not new:
        return False
    whole = [file for file in new if file.type != LET_GO]
    visit.drop([(file.name, file.getvalue()) for file in whole], let_go=len(new) - len(whole))
    visit.taken.update(file.file_id for file in new)
    visit.drops += 1
    remove_uploads(there)
    return True
