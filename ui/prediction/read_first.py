"""Reading images before the model does: the images, calls and results of one visitor.

Like `ui.prediction.cases.Visit`, a plain object in the session state, whose methods call nothing of
Streamlit. The model analyses an image only once its reader's first assessment is recorded, so that
no result exists before it.
"""

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.public import count_in_memory
from ui.prediction.cases import Case, Visit, visit
from xray_core.evaluation.reading import Call, Reading, ShownResult
from xray_core.imaging.adjustment import Box
from xray_core.prediction.result import Prediction


@dataclass(eq=False)
class OpenImage:
    """The image that is being read.

    `number` identifies it in the session. `reference` and `patient` are those of a test image, None
    where they are not known. `box` is where the reader sees pneumonia.
    """

    number: int
    case: Case
    reference: str | None = None
    patient: str | None = None
    box: Box | None = None

    @property
    def is_test_image(self) -> bool:
        """Whether it is one of the dataset, with a reference label."""
        return self.case.file is not None


@dataclass(eq=False)
class ReadingSession:
    """What a visitor reads.

    `visit` holds the open image and those that wait, in order. `readings` has them by number.
    """

    visit: Visit = field(default_factory=Visit)
    readings: dict[int, Reading] = field(default_factory=dict)
    opened: OpenImage | None = None
    seen: set[str] = field(default_factory=set)
    last: int = 0

    @property
    def reading(self) -> Reading | None:
        """The reading of the open image; None before its first assessment."""
        return None if self.opened is None else self.readings.get(self.opened.number)

    @property
    def waiting(self) -> list[Case]:
        """The reader's own images that are still to be read."""
        opened = None if self.opened is None else self.opened.case
        return [case for case in self.visit.cases if case is not opened]

    def open_own(self) -> None:
        """Open the next of the reader's own images, if one waits and none is open."""
        if self.opened is None and self.waiting:
            self._open(self.waiting[0], None, None)

    def open_test_image(self, images: pd.DataFrame, folder: Path) -> bool:
        """Open a random test image that was not read; return whether there was one.

        Parameters
        ----------
        images
            The columns `file`, the path below `folder`, `label`, and `patient` where it is known.
        folder
            The dataset's.
        """
        rows = images[~images["file"].isin(self.seen)].to_dict("records")
        random.shuffle(rows)
        for row in rows:
            self.seen.add(row["file"])
            try:
                data = (folder / row["file"]).read_bytes()
            except OSError:
                continue
            case = Case(1, data=data, file=row["file"])
            self.visit.cases.insert(0, case)
            patient = row.get("patient")
            self._open(case, row["label"], None if pd.isna(patient) else str(patient))
            return True
        return False

    def _open(self, case: Case, reference: str | None, patient: str | None) -> None:
        self.last += 1
        self.opened = OpenImage(self.last, case, reference, patient)

    def mark(self, box: Box | None) -> None:
        """Set where the reader sees pneumonia, until the first assessment is recorded."""
        if self.opened is not None and self.reading is None:
            self.opened.box = box

    def call_first(self, call: Call, confidence: int) -> None:
        """Record the first assessment on the open image, which cannot be changed afterwards."""
        if self.opened is None or self.reading is not None:
            return
        opened = self.opened
        self.readings[opened.number] = Reading(
            opened.number,
            call,
            confidence,
            box=opened.box,
            reference=opened.reference,
            patient=opened.patient,
            file=opened.case.file or opened.case.name,
        )

    def reveal(self, result: Prediction) -> None:
        """Record the result of the open image as it is shown from now on."""
        if self.opened is not None and self.reading is not None and self.reading.result is None:
            self.readings[self.opened.number] = self.reading.reveal(ShownResult.of(result))

    def call_again(self, call: Call, confidence: int, reference: str | None = None) -> None:
        """Record the second assessment and the label of the reader's own image, and close it."""
        if self.opened is None or self.reading is None or self.reading.result is None:
            return
        reading = self.reading.conclude(call, confidence)
        if not self.opened.is_test_image:
            reading = replace(reading, reference=reference)
        self.readings[self.opened.number] = reading
        self.close()

    def close(self) -> None:
        """Remove the open image from memory; without a second assessment it stays incomplete."""
        if self.opened is not None:
            case = self.opened.case
            self.visit.cases = [other for other in self.visit.cases if other is not case]
            self.visit.views.pop(case, None)
            self.opened = None

    def stop(self) -> None:
        """Close the open image; the reader's own image waits again if it has no call."""
        if self.reading is None and self.opened is not None and not self.opened.is_test_image:
            self.opened = None
        self.close()

    def clear(self) -> None:
        """Remove all images and readings."""
        self.close()
        self.visit.clear()
        self.readings, self.seen = {}, set()


def reading_session() -> ReadingSession:
    """Return the visitor's readings, whose images count towards the limits of a public host."""
    session = st.session_state.setdefault("reading_session", ReadingSession())
    session.visit.hourly = visit().hourly
    count_in_memory(session.visit)
    return session
