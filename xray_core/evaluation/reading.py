"""Readings of images by a reader, before and after the model's result is shown.

A `Reading` is made in three steps, in an order that it enforces: the reader's first assessment, the
result as it is shown (`reveal`), and the second assessment (`conclude`). The first assessment
cannot be changed once the result is known. `xray_core.evaluation.reader_study` evaluates readings.

This records what DECIDE-AI asks early clinical studies to report on each use of a system: the
version of the system and its output as presented (items 4a and 4c), the number of uses (item 10a),
the user's agreement with the system, variation from its results and changes of mind (item 12), and
wrong results with what followed from them (item 13a). It does not record the reasons of a variation
(item 12), the characteristics of the reader (item 9b), usability and learning curves (item 14), or
anything else that such a study reports.

References
----------
Vasey et al., BMJ 377 (2022) e070904; Nature Medicine 28 (2022) 924.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from xray_core.errors import XrayError
from xray_core.evaluation.scores import patient_codes
from xray_core.imaging.adjustment import Box
from xray_core.labels import LABELS, NORMAL, PNEUMONIA, VERDICTS, Verdict
from xray_core.spreadsheet import cell

Call = Literal["PNEUMONIA", "NORMAL", "UNSURE"]
UNSURE = "UNSURE"
CALLS: dict[str, str] = {PNEUMONIA: "Pneumonia", NORMAL: "No pneumonia", UNSURE: "Unsure"}
"""The calls of a reader, with the words that show them."""

CONFIDENCES: dict[int, str] = {1: "guess", 2: "low", 3: "moderate", 4: "high", 5: "certain"}
"""The levels of a reader's confidence in a call, with the words that show them."""


class Result(Protocol):
    """A result of a model, such as `xray_core.Prediction`."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def shown_as(self) -> str: ...
    @property
    def probability(self) -> float | None: ...
    @property
    def model(self) -> str: ...
    @property
    def reasons(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class ShownResult:
    """The model's result as it was shown to the reader.

    Attributes
    ----------
    verdict, shown_as
        The result as a code and in words.
    probability
        Of pneumonia in [0, 1], at a pre-test probability of 50%; None without one.
    model
        Name and version of the model.
    cautions
        The cautions, or the reasons why there is no result.
    """

    verdict: Verdict
    shown_as: str
    probability: float | None
    model: str
    cautions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("verdict", self.verdict, VERDICTS)

    @classmethod
    def of(cls, result: Result) -> ShownResult:
        """Return what is shown of a result."""
        return cls(
            result.verdict, result.shown_as, result.probability, result.model, result.reasons
        )


@dataclass(frozen=True)
class Reading:
    """One image, read before and after the model's result is shown.

    Attributes
    ----------
    image
        Number of the image in the session, which identifies it.
    call_before, confidence_before
        The call before the result is shown, one of CALLS, and its confidence, one of CONFIDENCES.
    box
        Where the reader sees pneumonia before the result is shown, as shares of the height and
        width of the image as it is analysed; None without a box.
    reference
        The reference label, "PNEUMONIA" or "NORMAL"; None if it is not known.
    patient
        Key of the patient; images with equal keys are of one patient. None if it is not known: the
        image then counts as a patient of its own.
    file
        Name of the file. It can identify a patient, so `readings_csv` writes it only on request.
    result
        The model's result as it was shown; None before that.
    call_after, confidence_after
        The call after the result was shown, and its confidence; None before that.

    Raises
    ------
    XrayError
        A call, a confidence, the reference label or the box is invalid.
    """

    image: int
    call_before: Call
    confidence_before: int
    box: Box | None = None
    reference: str | None = None
    patient: str | None = None
    file: str = ""
    result: ShownResult | None = None
    call_after: Call | None = None
    confidence_after: int | None = None

    def __post_init__(self) -> None:
        _check("assessment", self.call_before, CALLS)
        _check("confidence", self.confidence_before, CONFIDENCES)
        if self.reference is not None:
            _check("reference label", self.reference, LABELS)
        if self.box is not None and not self.box.is_valid:
            raise XrayError(f"A box has an area and lies in the image. Received: {self.box}.")
        if (self.call_after is None) != (self.confidence_after is None):
            raise XrayError("A second assessment and its confidence are given together.")
        if self.call_after is not None:
            if self.result is None:
                raise XrayError(
                    "The second assessment comes after the result of the model is shown."
                )
            _check("assessment", self.call_after, CALLS)
            _check("confidence", self.confidence_after, CONFIDENCES)

    @property
    def is_complete(self) -> bool:
        """Whether the second assessment is made."""
        return self.call_after is not None

    def reveal(self, result: ShownResult) -> Reading:
        """Return the reading with the result that is shown to the reader.

        Raises
        ------
        XrayError
            A result was shown already.
        """
        if self.result is not None:
            raise XrayError(f"The result of image {self.image} was shown already.")
        return replace(self, result=result)

    def conclude(self, call: Call, confidence: int) -> Reading:
        """Return the reading with its second assessment; a second assessment may be corrected.

        Raises
        ------
        XrayError
            No result was shown yet, or the call or the confidence is invalid.
        """
        return replace(self, call_after=call, confidence_after=confidence)


READING_COLUMNS: dict[str, str] = {
    "image": "number of the image in the session",
    "patient": "number of the patient in the table, from 1; empty if the patient is not known",
    "call_before": "first assessment: PNEUMONIA, NORMAL or UNSURE",
    "confidence_before": "confidence in the first assessment, 1 (guess) to 5 (certain)",
    "box_top": "upper edge of the reader's box, as a share of the height; empty without a box",
    "box_left": "left edge, as a share of the width",
    "box_bottom": "lower edge, as a share of the height",
    "box_right": "right edge, as a share of the width",
    "shown_as": "result of the model, in words; empty if it was not shown",
    "verdict": "result of the model, as a code",
    "probability": "of pneumonia, as the model gave it; empty without one",
    "cautions": "cautions that were shown, or why there is no result",
    "model": "name and version of the model",
    "call_after": "second assessment; empty if it was not made",
    "confidence_after": "confidence in the second assessment, 1 (guess) to 5 (certain)",
    "reference": "reference label: PNEUMONIA or NORMAL; empty if it is not known",
}
"""The columns of `readings_csv`, with their content."""


def readings_csv(readings: Sequence[Reading], *, names: bool = False) -> bytes:
    """Return readings as CSV, one row per reading, with READING_COLUMNS.

    Parameters
    ----------
    readings
        Also incomplete ones.
    names
        Whether to add a column `file`. File names can identify patients.

    Returns
    -------
    bytes
        UTF-8 with a byte order mark. No cell is run as a formula by a spreadsheet. Keys of patients
        are replaced by numbers, in the order of their first images.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*READING_COLUMNS, *(["file"] if names else [])])
    number: dict[int, int] = {}
    codes = patient_codes([reading.patient for reading in readings]).tolist() if readings else []
    for reading, code in zip(readings, codes, strict=True):
        known = bool(reading.patient and reading.patient.strip())
        patient = number.setdefault(code, len(number) + 1) if known else ""
        row = [reading.image, patient, *_cells(reading)]
        writer.writerow([*row, cell(reading.file)] if names else row)
    return text.getvalue().encode("utf-8-sig")


def _cells(reading: Reading) -> list[str | float]:
    box, result = reading.box, reading.result
    edges = ("", "", "", "") if box is None else tuple(round(share, 4) for share in box)
    shown: tuple[str | float, ...] = ("", "", "", "", "")
    if result is not None:
        probability = "" if result.probability is None else round(result.probability, 6)
        cautions = cell(" ".join(result.cautions))
        shown = (cell(result.shown_as), result.verdict, probability, cautions, cell(result.model))
    return [
        reading.call_before,
        reading.confidence_before,
        *edges,
        *shown,
        reading.call_after or "",
        "" if reading.confidence_after is None else reading.confidence_after,
        reading.reference or "",
    ]


def _check(name: str, value: object, allowed: object) -> None:
    choices = list(allowed)  # type: ignore[call-overload]
    if value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        raise XrayError(f"The {name} is one of {listed}. Received: {value!r}.")
