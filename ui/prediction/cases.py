"""A visitor's images: in the visitor's own session, in bounded memory, gone with the session.

Streamlit may end a run of a page at any call of its own: another button, page or model, a closed
tab. So what a visitor dropped is one plain object, `Visit`, whose methods call nothing of
Streamlit: each image is in its list from the drop on, and an image is analysed once its result is
there.
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image

from ui.common.frame import log_failure
from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import Radiograph, read_radiograph
from xray_core.model.calibration import Calibration
from xray_core.prediction.archive import (
    MAX_IMAGES,
    ArchivedFile,
    count_files,
    is_archive,
    read_archive,
)
from xray_core.prediction.orientation import Correction, apply_correction
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from ui.prediction.view import View

KEPT_BYTES = 256 * 2**20
"""Bytes of encoded images that a session keeps once analysed; of later ones only the result."""

DROP_BYTES = 512 * 2**20
"""Bytes of one drop. The server holds a drop whole until its last file is there."""

LIMIT_WORDS = f"{MAX_IMAGES} files or {DROP_BYTES // 2**20} MB"
THUMBNAIL = 64

Settings = tuple[int, Correction]
"""How an image is looked at: the number of its window, and what is done to it."""


class Archive:
    """A dropped ZIP, whose files are read one at a time, in order, when they are analysed."""

    def __init__(self, data: bytes) -> None:
        self._entries: Iterator[ArchivedFile] = read_archive(data)
        self._lock = Lock()  # two runs of a page may overlap where a connection was lost

    def hand_over(self, case: "Image") -> None:
        """Give the image, the next one of the archive, its bytes or the reason why there are none.

        Whatever goes wrong in the archive ends in the image's `problem`.
        """
        with self._lock:
            if case.archive is None:
                return
            try:
                entry = next(self._entries)
                case.name, case.data, case.problem = entry.name, entry.data, entry.problem
            except UnreadableImage as error:
                case.problem = str(error)
            except StopIteration:
                case.problem = "The ZIP file is damaged before this file; please pack it again."
            except Exception as error:
                log_failure(error)
                case.problem = "The ZIP file is damaged here; please pack it again."
            case.archive = None


@dataclass(eq=False)
class Case:
    """One image of a visit: its bytes, how to look at them, and the result.

    `name` is shown only where the visitor asks for it, since file names may identify patients.
    `file` is the path inside the dataset's folder of an image that was opened from there, and
    `origin` what may be said of an image that is not the visitor's own.
    `archive` holds the bytes of an image that waits in a ZIP. `let_go` says that the bytes are gone
    and that the result stays.
    `result` is the last one, as the model gave it with `calibration`; `judged_by` and `judged_as`
    name the model and the settings that it is of, `asked` the model that the visitor chose.
    """

    number: int
    name: str = ""
    data: bytes | None = None
    problem: str | None = None
    origin: str = ""
    file: str | None = None
    archive: Archive | None = None
    window: int = 0
    quarter_turns: int = 0
    inverted: bool = False
    crop_border: bool = False
    result: Prediction | None = None
    calibration: Calibration | None = None
    analysed_by: str = ""
    judged_as: Settings | None = None
    asked: str = ""
    let_go: bool = False
    thumbnail: str = ""

    @property
    def title(self) -> str:
        """How the page calls the image."""
        return self.origin or f"Your image {self.number}"

    @property
    def waits(self) -> bool:
        """Tell whether the model that is asked has yet to analyse the image as it is looked at."""
        if self.let_go:
            return False
        return self.analysed_by != self.asked or self.judged_as != self.settings

    @property
    def settings(self) -> Settings:
        """How the image is to be looked at."""
        return self.window, self.changes

    @property
    def prediction(self) -> Prediction | None:
        """The result as it is shown: with a caution where it is of another model than asked."""
        if self.result is None or not self.is_of_another_model:
            return self.result
        return replace(self.result, reasons=(self.whose_result, *self.result.reasons))

    @property
    def is_of_another_model(self) -> bool:
        """Tell whether the result is of a model that the visitor has since replaced."""
        return (
            self.let_go
            and self.result is not None
            and self.result.verdict != "UNREADABLE"
            and self.analysed_by != self.asked
        )

    @property
    def whose_result(self) -> str:
        """The sentence on a result of another model than the one that is asked."""
        return (
            f"This result is of the model {self.analysed_by}. The image was not kept in memory, so "
            f"{self.asked} has not analysed it: upload it again for a result of that model."
        )

    def read(self) -> Radiograph:
        """Decode the image as it is to be looked at; raises UnreadableImage."""
        if self.archive is not None:
            self.archive.hand_over(self)
        data = self.data
        if data is None:
            raise UnreadableImage(self.problem or "This image was not kept. Upload it again.")
        case = read_radiograph(data, window=self.window)
        return apply_correction(case, self.changes) if self.is_changed else case

    @property
    def changes(self) -> Correction:
        """What is done to the image before it is judged."""
        return Correction(self.quarter_turns, self.inverted, self.crop_border)

    @property
    def is_changed(self) -> bool:
        """Tell whether the image is judged otherwise than it came."""
        return self.changes != Correction(0, False)

    def apply_correction(self, correction: Correction) -> None:
        """Have the image judged anew, changed once more as suggested."""
        self.quarter_turns = (self.quarter_turns + correction.quarter_turns) % 4
        self.inverted = self.inverted != correction.inverted
        self.crop_border = self.crop_border or correction.crop_border

    def as_it_came(self) -> None:
        """Have the image judged anew, unchanged."""
        self.quarter_turns, self.inverted, self.crop_border = 0, False, False


@dataclass
class Visit:
    """What a visitor dropped or opened, and what was made of it.

    `resets` grows whenever the images are replaced or more are added: widgets that belong to the
    images carry it in their key (`widget_key`), so that none keeps what was set for others.
    `drops` counts the drops and `taken` holds the ids of their files; `left_out` is the number of
    dropped files that were too many.
    """

    cases: list[Case] = field(default_factory=list)
    view: "View | None" = None
    left_out: int = 0
    resets: int = 0
    drops: int = 0
    taken: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """Let go of the images and of all that was made of them."""
        self.cases, self.view, self.left_out = [], None, 0
        self.resets += 1

    def open(self, data: bytes, *, origin: str = "", file: str | None = None) -> None:
        """Replace the images by one that is not the visitor's own."""
        self.clear()
        self.cases = [Case(1, data=data, origin=origin, file=file)]

    def drop(self, uploads: list[tuple[str, bytes]], *, let_go: int = 0) -> None:
        """Take these (name, bytes) in, of `let_go` more files only the number.

        They replace the images, unless some of those have had no result yet: then they are added,
        so that no dropped image goes without a result. Beyond MAX_IMAGES images or DROP_BYTES of
        images that wait, files are left out and counted.
        """
        waiting = [case for case in self.cases if case.result is None]
        if waiting:
            self.view, self.resets = None, self.resets + 1
        else:
            self.clear()
        cases, left_out = list(self.cases), self.left_out + let_go
        room = DROP_BYTES - sum(len(case.data or b"") for case in waiting)
        for name, data in uploads:
            made = _cases_of(name, data) if len(data) <= room else []
            fitting = made[: MAX_IMAGES - len(cases)]
            if fitting:
                room -= len(data)
            left_out += len(made) - len(fitting) if made else 1
            for case in fitting:
                case.number = len(cases) + 1
                cases.append(case)
        self.cases, self.left_out = cases, left_out

    def settle(
        self,
        case: Case,
        result: Prediction,
        calibration: Calibration,
        analysed_by: str,
        judged_as: Settings,
        picture: str,
    ) -> None:
        """Give an image its result, unless it is to be looked at in another way by now.

        That may be where two runs of the page overlap: a lost connection ends a run only at its
        next call of Streamlit, and the visitor may be back before that.
        The bytes are let go where the other images with a result hold KEPT_BYTES already.
        """
        if case.settings != judged_as or case.asked != analysed_by:
            return
        case.result, case.calibration, case.thumbnail = result, calibration, picture
        case.analysed_by, case.judged_as = analysed_by, judged_as
        held = sum(
            len(other.data or b"")
            for other in self.cases
            if other is not case and other.result is not None
        )
        if case.data is not None and held + len(case.data) > KEPT_BYTES:
            case.data, case.let_go = None, True
            case.problem = (
                f"Beyond {KEPT_BYTES // 2**20} MB only the results are kept: upload this image "
                "alone to see it."
            )

    def is_shown(self, case: Case) -> bool:
        """Tell whether the image is still one of the visit's."""
        return any(case is other for other in self.cases)

    def left_out_words(self) -> str:
        """Return the sentence on files that were too many to read, or an empty text."""
        if not self.left_out:
            return ""
        return (
            f"Only {len(self.cases)} of {len(self.cases) + self.left_out} files were read: one "
            f"drop may hold up to {LIMIT_WORDS}. Drop the rest separately."
        )


def _cases_of(name: str, data: bytes) -> list[Case]:
    """Return the images of one dropped file: those of a ZIP, else one."""
    if not is_archive(data):
        return [Case(0, name, data)]
    try:
        count, archive = count_files(data), Archive(data)
    except UnreadableImage as error:
        return [Case(0, name, problem=str(error))]
    except Exception as error:
        log_failure(error)
        return [Case(0, name, problem="The ZIP file is damaged; please pack it again.")]
    return [Case(0, name, archive=archive) for _ in range(count)]


def visit() -> Visit:
    """Return the visitor's visit."""
    return st.session_state.setdefault("prediction_visit", Visit())


def cases() -> list[Case]:
    """Return the visitor's images."""
    return visit().cases


def widget_key(name: str) -> str:
    """Return the key of a widget whose state belongs to the images that are there now."""
    return f"{name}-{visit().resets}"


def display_pixels(radiograph: Radiograph, side: int) -> np.ndarray:
    """Return the image as uint8 (h, w), no side longer than `side`, its aspect kept."""
    image = Image.fromarray(np.rint(radiograph.pixels).astype(np.uint8))
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)


def thumbnail(radiograph: Radiograph) -> str:
    """Return a small square picture of the image, on black, as a data URI."""
    step = max(1, min(radiograph.pixels.shape) // (2 * THUMBNAIL))
    small = Image.fromarray(np.rint(radiograph.pixels[::step, ::step]).astype(np.uint8))
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    square = Image.new("L", (THUMBNAIL, THUMBNAIL))
    square.paste(small, ((THUMBNAIL - small.width) // 2, (THUMBNAIL - small.height) // 2))
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
