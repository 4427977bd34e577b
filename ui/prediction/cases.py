"""A visitor's images and results: held in the visitor's session, in bounded memory.

Streamlit may end a run of a page at any of its own calls: another button, page or model, or a
closed tab. All that a visitor uploaded is therefore one plain object, `Visit`, whose methods call
nothing of Streamlit. An image is in its list from the upload on, and counts as analysed once its
result is stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING

import streamlit as st

from ui.common.errors import log_error
from ui.common.public import HourlyCount, count_in_memory, limits, memory_left
from xray_core.errors import UnreadableImage
from xray_core.imaging.adjustment import UNADJUSTED, Adjustment
from xray_core.imaging.pixels import adjust
from xray_core.imaging.radiograph import Radiograph, read_radiograph
from xray_core.model.calibration import Calibration
from xray_core.prediction.archive import (
    MAX_IMAGES,
    ArchivedFile,
    count_files,
    is_archive,
    read_archive,
)
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from ui.prediction.view import View

KEPT_BYTES = 256 * 2**20
"""Bytes of files that a session keeps after the analysis; of later files only the result."""

VIEW_BYTES = 256 * 2**20
"""Bytes of views that a session keeps. Opening an image without a view decodes it again."""

DROP_BYTES = 512 * 2**20
"""Bytes of one drop. The server holds a whole drop until its last file has arrived."""

DROP_LIMIT = f"{MAX_IMAGES} files or {DROP_BYTES // 2**20} MB"

Settings = tuple[int, Adjustment]
"""How an image is analysed: the number of its DICOM window, and its adjustment."""


class Archive:
    """An uploaded ZIP, whose files are read one at a time, in order, when they are analysed."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._entries: Iterator[ArchivedFile] = read_archive(data)
        self._lock = Lock()  # two runs of a page may overlap where a connection was lost

    def read_next(self, case: "Case") -> None:
        """Read the next file into its case: its bytes, or the `problem` why there are none."""
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
                log_error(error)
                case.problem = "The ZIP file is damaged here; please pack it again."
            case.archive = None


@dataclass(eq=False)
class Case:
    """One image of a visit: its bytes, how it is analysed, and its result.

    `name` is shown only where the visitor asks for it, since file names may identify patients.
    `file` is the path inside the dataset's folder of an image that was opened from there,
    `pacs` the name of the PACS that an image was fetched from, and `origin` describes an image that
    the visitor did not upload.
    `archive` holds the bytes of an image that is still to be read from a ZIP. `discarded` means
    that the bytes are no longer kept, only the result.
    `result` is the last result, of the model `analysed_by` with `calibration`, for the settings
    `analysed_settings`. `requested_model` is the model that the visitor chose.
    `dicom_problem` is the sentence why the image gets no results as DICOM, None until that was
    checked.
    """

    number: int
    name: str = ""
    data: bytes | None = None
    problem: str | None = None
    origin: str = ""
    file: str | None = None
    pacs: str = ""
    archive: Archive | None = None
    window: int = 0
    adjustment: Adjustment = UNADJUSTED
    result: Prediction | None = None
    calibration: Calibration | None = None
    analysed_by: str = ""
    analysed_settings: Settings | None = None
    requested_model: str = ""
    discarded: bool = False
    thumbnail: bytes = b""
    dicom_problem: str | None = None

    @property
    def title(self) -> str:
        """The image's name on the page."""
        return self.origin or f"Image {self.number}"

    @property
    def is_waiting(self) -> bool:
        """Tell whether the requested model has yet to analyse the image with its settings."""
        if self.discarded:
            return False
        return (self.analysed_by, self.analysed_settings) != (self.requested_model, self.settings)

    @property
    def settings(self) -> Settings:
        """How the image is to be analysed."""
        return self.window, self.adjustment

    @property
    def prediction(self) -> Prediction | None:
        """The result as it is shown: with a caution where it is of another model."""
        if self.result is None or not self.is_of_another_model:
            return self.result
        return replace(self.result, reasons=(self.other_model_message, *self.result.reasons))

    @property
    def is_of_another_model(self) -> bool:
        """Tell whether the result is of a model other than the requested one."""
        return (
            self.discarded
            and self.result is not None
            and self.result.verdict != "UNREADABLE"
            and self.analysed_by != self.requested_model
        )

    @property
    def other_model_message(self) -> str:
        """The sentence on a result of a model other than the requested one."""
        return (
            f"This result is of the model {self.analysed_by}. The image was not kept in memory, so "
            f"{self.requested_model} has not analysed it: upload it again for a result of that "
            "model."
        )

    def read(self) -> Radiograph:
        """Decode the image with its settings; raises UnreadableImage."""
        if self.archive is not None:
            self.archive.read_next(self)
        data = self.data
        if data is None:
            raise UnreadableImage(self.problem or "This image was not kept. Upload it again.")
        radiograph = read_radiograph(data, window=self.window, full_depth=True)
        return adjust(radiograph, self.adjustment)

    def adjust(self, adjustment: Adjustment) -> None:
        """Change the image as it is analysed now; it is then analysed again."""
        self.adjustment = self.adjustment.then(adjustment)

    def undo_adjustments(self) -> None:
        """Analyse the image as it was read; it is then analysed again."""
        self.adjustment = UNADJUSTED


@dataclass
class Visit:
    """The images that a visitor uploaded or opened, with their results.

    `views` holds the decoded images, the earliest first, within VIEW_BYTES.
    `resets` grows whenever images are replaced or added: widgets that belong to the images have it
    in their key (`widget_key`), so that no setting carries over to other images.
    `drops` counts the drops and `taken` holds the ids of their files; `left_out` is the number of
    files beyond the limits of a drop.
    """

    cases: list[Case] = field(default_factory=list)
    views: "dict[Case, View]" = field(default_factory=dict)
    left_out: int = 0
    resets: int = 0
    drops: int = 0
    taken: set[str] = field(default_factory=set)
    hourly: HourlyCount = field(default_factory=HourlyCount)

    @property
    def held_bytes(self) -> int:
        """Bytes of files and views that the visit holds."""
        cases, views = list(self.cases), list(self.views.values())
        return _file_bytes(cases) + sum(view.size for view in views)

    def clear(self) -> None:
        """Remove the images and everything computed from them."""
        self.cases, self.views, self.left_out = [], {}, 0
        self.resets += 1

    def open(self, data: bytes, *, origin: str = "", file: str | None = None) -> None:
        """Replace the images by one that the visitor did not upload."""
        self.clear()
        self.cases = [Case(1, data=data, origin=origin, file=file)]

    def drop(self, uploads: list[tuple[str, bytes]], *, discarded: int = 0, pacs: str = "") -> None:
        """Add uploaded files (name, bytes), and count the `discarded` ones, which have no bytes.

        With the name of a `pacs` that the files were fetched from, their names are their origins,
        and each is one image, also if its bytes start like those of a ZIP.

        They replace the images, unless some of those have no result yet: then they are added, so
        that every uploaded image gets a result. Files beyond MAX_IMAGES images, or beyond
        DROP_BYTES of images without a result, are left out and counted.
        """
        waiting = [case for case in self.cases if case.result is None]
        if waiting:
            self.resets += 1
        else:
            self.clear()
        cases, left_out = list(self.cases), self.left_out + discarded
        public = limits()
        allowed = len(cases) + self.hourly.left(public.hourly) if public else MAX_IMAGES
        before = len(cases)
        room = DROP_BYTES - _file_bytes(waiting)
        for name, data in uploads:
            new = _cases_of(name, data, unpack=not pacs) if len(data) <= room else []
            fitting = new[: max(0, min(MAX_IMAGES, allowed) - len(cases))]
            if fitting:
                room -= len(data)
            left_out += len(new) - len(fitting) if new else 1
            for case in fitting:
                case.number = len(cases) + 1
                if pacs:
                    case.pacs, case.origin, case.name = pacs, case.name, ""
                cases.append(case)
        self.cases, self.left_out = cases, left_out
        self.hourly.add(len(cases) - before)

    def store_result(
        self,
        case: Case,
        result: Prediction,
        calibration: Calibration,
        model: str,
        settings: Settings,
        view: "View | None",
    ) -> None:
        """Store the result of an image, unless its model or settings have changed since.

        They may have where two runs of the page overlap: a lost connection ends a run only at its
        next call of Streamlit, and the visitor may return before that.
        The bytes are discarded where the other images with a result hold KEPT_BYTES already.
        """
        if case.settings != settings or case.requested_model != model:
            return
        case.result, case.calibration = result, calibration
        case.thumbnail = b"" if view is None else view.thumbnail
        case.analysed_by, case.analysed_settings = model, settings
        held = sum(
            len(other.data or b"")
            for other in self.cases
            if other is not case and other.result is not None
        )
        if case.data is not None and held + len(case.data) > KEPT_BYTES:
            case.data, case.discarded = None, True
            case.problem = (
                f"Beyond {KEPT_BYTES // 2**20} MB only the results are kept: upload this image "
                "alone to see it."
            )
        elif view is not None:
            self.keep_view(case, view)

    def view_of(self, case: Case) -> "View | None":
        """Return the view of an image with its present settings, None where none is kept."""
        view = self.views.get(case)
        return view if view is not None and view.settings == case.settings else None

    def keep_view(self, case: Case, view: "View") -> None:
        """Keep the view of an image that is shown now; beyond VIEW_BYTES remove the latest others.

        The earliest stay, as the first images of a stack are the first to be opened.
        """
        if not any(case is other for other in self.cases):
            return
        self.views.pop(case, None)
        excess = view.size + sum(other.size for other in self.views.values()) - VIEW_BYTES
        left = memory_left()
        if left is not None:
            excess = max(excess, view.size - left)
        for other in reversed(list(self.views)):
            if excess <= 0:
                break
            excess -= self.views.pop(other).size
        self.views[case] = view

    def left_out_message(self) -> str:
        """Return the sentence on files beyond the limits of a drop, or an empty text."""
        if not self.left_out:
            return ""
        public = limits()
        return (
            f"Only {len(self.cases)} of {len(self.cases) + self.left_out} files were read: one "
            f"drop may hold up to {DROP_LIMIT}. "
            + (public.sentence if public else "Drop the rest separately.")
        )


def _file_bytes(cases: list[Case]) -> int:
    """Return the bytes of the files of images, with each ZIP that is still to be read once."""
    archives = {id(one): one.size for case in cases if (one := case.archive) is not None}
    return sum(len(case.data or b"") for case in cases) + sum(archives.values())


def _cases_of(name: str, data: bytes, *, unpack: bool) -> list[Case]:
    """Return the images of one file: those of a ZIP if they are to be unpacked, else one."""
    if not (unpack and is_archive(data)):
        return [Case(0, name, data)]
    try:
        count, archive = count_files(data), Archive(data)
    except UnreadableImage as error:
        return [Case(0, name, problem=str(error))]
    except Exception as error:
        log_error(error)
        return [Case(0, name, problem="The ZIP file is damaged; please pack it again.")]
    return [Case(0, name, archive=archive) for _ in range(count)]


def visit() -> Visit:
    """Return the visitor's visit."""
    mine = st.session_state.setdefault("prediction_visit", Visit())
    count_in_memory(mine)
    return mine


def widget_key(name: str) -> str:
    """Return the key of a widget whose state belongs to the present images."""
    return f"{name}-{visit().resets}"
