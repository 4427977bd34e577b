"""A visitor's films: in the visitor's own session, in bounded memory, gone with the session."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ui.prediction_uploads import LET_GO, LIMIT_WORDS
from xray_core.errors import UnreadableImage
from xray_core.images import Radiograph, read_radiograph
from xray_core.prediction.archive import MAX_FILMS, film_count, is_archive, read_archive
from xray_core.prediction.pose import Suggestion, put_right
from xray_core.prediction.predictor import Prediction

KEPT_BYTES = 256 * 2**20
"""Bytes of encoded films that a visitor's session keeps; of later ones only the answer stays."""

THUMBNAIL = 64

_FILMS, _INCOMING = "prediction_films", "prediction_incoming"
_DROPS, _DROPPED, _LET_GO = "prediction_drops", "prediction_dropped", "prediction_let_go"
_MADE_OF_FILMS = ("prediction_view", "prediction_shown", "prediction_verdicts")


@dataclass
class Film:
    """One film of a session: its bytes, how to look at them, and the answer.

    `name` is shown only where the visitor asks for it, since file names may identify patients.
    `origin` is what may be said of it: "Example: normal", or "" for the visitor's own.
    `judged_by` names the state of the model that gave `prediction`.
    """

    number: int
    name: str = ""
    data: bytes | None = None
    problem: str | None = None
    origin: str = ""
    window: int = 0
    quarter_turns: int = 0
    inverted: bool = False
    trimmed: bool = False
    prediction: Prediction | None = None
    judged_by: str = ""
    thumbnail: str = ""

    @property
    def title(self) -> str:
        """How the page calls the film."""
        return self.origin or f"Your film {self.number}"

    def read(self) -> Radiograph:
        """Decode the film as it is to be looked at; raises UnreadableImage."""
        if self.data is None:
            raise UnreadableImage(self.problem or "This film was not kept. Drop it again.")
        film = read_radiograph(self.data, window=self.window)
        return put_right(film, self.changes) if self.is_changed else film

    @property
    def changes(self) -> Suggestion:
        """What is done to the film before it is judged."""
        return Suggestion(self.quarter_turns, self.inverted, self.trimmed)

    @property
    def is_changed(self) -> bool:
        """Tell whether the film is judged otherwise than it came."""
        return self.changes != Suggestion(0, False)

    def put_right(self, suggestion: Suggestion) -> None:
        """Have the film judged anew, changed once more as suggested."""
        self.quarter_turns = (self.quarter_turns + suggestion.quarter_turns) % 4
        self.inverted = self.inverted != suggestion.inverted
        self.trimmed = self.trimmed or suggestion.trimmed
        self.judged_by = ""

    def as_it_came(self) -> None:
        """Have the film judged anew, unchanged."""
        self.quarter_turns, self.inverted, self.trimmed, self.judged_by = 0, False, False, ""


class Incoming:
    """Dropped files on their way to becoming films, each let go as it is taken.

    It survives a run of the page that is cut short: the next run goes on where it stopped.
    """

    def __init__(self, uploads: list[tuple[str, bytes]]) -> None:
        self.dropped = sum(_count(data) for _, data in uploads)
        self.total = min(self.dropped, MAX_FILMS)
        self.done = 0
        self._next = self._films(uploads)

    def __iter__(self) -> Iterator[Film]:
        return self

    def __next__(self) -> Film:
        if self.done == MAX_FILMS:
            raise StopIteration
        film = next(self._next)
        self.done += 1
        film.number = self.done
        return film

    @staticmethod
    def _films(uploads: list[tuple[str, bytes]]) -> Iterator[Film]:
        uploads = uploads[::-1]
        while uploads:
            name, data = uploads.pop()
            if not is_archive(data):
                yield Film(0, name, data)
                continue
            try:
                for film in read_archive(data):
                    yield Film(0, film.name, film.data, film.problem)
            except UnreadableImage as error:
                yield Film(0, name, None, str(error))


def _count(data: bytes) -> int:
    try:
        return film_count(data) if is_archive(data) else 1
    except UnreadableImage:
        return 1


def films() -> list[Film]:
    """Return the visitor's films that are there by now."""
    return st.session_state.setdefault(_FILMS, [])


def incoming() -> Incoming | None:
    """Return what was dropped and is not yet among the films."""
    return st.session_state.get(_INCOMING)


def take(uploads: list[tuple[str, bytes]], origin: str = "") -> None:
    """Let these (name, bytes) replace the visitor's films; an origin names a single one."""
    forget()
    if origin:
        st.session_state[_FILMS] = [Film(1, data=data, origin=origin) for _, data in uploads]
    elif uploads:
        coming = st.session_state[_INCOMING] = Incoming(uploads)
        st.session_state[_DROPPED] = coming.dropped


def left_out() -> str:
    """Return the sentence on files that were too many to read, or an empty text."""
    arrived_whole = st.session_state.get(_DROPPED, 0)
    dropped = arrived_whole + st.session_state.get(_LET_GO, 0)
    read = min(arrived_whole, MAX_FILMS)
    if read == dropped:
        return ""
    return (
        f"Only {read} of {dropped} files were read: one drop may hold up to {LIMIT_WORDS}. Drop "
        "the rest separately."
    )


def forget() -> None:
    """Drop the visitor's films and all that was made of them."""
    for key in (_FILMS, _INCOMING, _DROPPED, _LET_GO, *_MADE_OF_FILMS):
        st.session_state.pop(key, None)


def keep(film: Film) -> None:
    """Add a judged film, without its bytes where the session holds enough of them already."""
    held = sum(len(other.data or b"") for other in films())
    if film.data is not None and held + len(film.data) > KEPT_BYTES:
        film.data = None
        film.problem = (
            f"Beyond {KEPT_BYTES // 2**20} MB only the answers are kept: drop this film alone to "
            "see it."
        )
    films().append(film)


def arrived() -> None:
    """Drop everything that came in whole."""
    st.session_state.pop(_INCOMING, None)


def drop_key() -> str:
    """Return the key of the drop zone: a new one after each drop, which empties the widget.

    So no list of file names stays on the screen, and the server lets go of its own copy.
    """
    return f"drop-{st.session_state.get(_DROPS, 0)}"


def on_drop(key: str) -> None:
    """Take what was dropped out of the drop zone of this key, and out of the server's store.

    A browser may send a drop zone already emptied once more, with a click that comes before the
    page is drawn to its end: that is no new drop, and the films stay.
    """
    dropped = st.session_state.get(key) or []
    if key != drop_key() or not dropped:
        return
    whole = [file for file in dropped if file.type != LET_GO]
    take([(file.name, file.getvalue()) for file in whole])
    st.session_state[_LET_GO] = len(dropped) - len(whole)
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file in dropped:
            context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
    st.session_state[_DROPS] = st.session_state.get(_DROPS, 0) + 1


def take_path(path: Path, origin: str) -> None:
    """Open a film on this computer's disk; raises UnreadableImage."""
    try:
        take([(path.name, path.read_bytes())], origin)
    except OSError:
        raise UnreadableImage(
            "The film is no longer where it was; is the dataset still there?"
        ) from None


def display_pixels(radiograph: Radiograph, side: int) -> np.ndarray:
    """Return the film as uint8 (h, w), no side longer than `side`, its aspect kept."""
    image = Image.fromarray(np.rint(radiograph.pixels).astype(np.uint8))
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)


def thumbnail(radiograph: Radiograph) -> str:
    """Return a small square picture of the film, on black, as a data URI."""
    step = max(1, min(radiograph.pixels.shape) // (2 * THUMBNAIL))
    small = Image.fromarray(np.rint(radiograph.pixels[::step, ::step]).astype(np.uint8))
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    square = Image.new("L", (THUMBNAIL, THUMBNAIL))
    square.paste(small, ((THUMBNAIL - small.width) // 2, (THUMBNAIL - small.height) // 2))
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
