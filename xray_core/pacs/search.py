"""What a search of a PACS is asked and what it finds (QIDO-RS; DICOM JSON, PS3.18, annex F)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from xray_core.errors import PacsError

MODALITIES = ("CR", "DX")
"""Computed and digital radiography, the modalities that are searched and analysed."""
MAX_STUDIES = 500
"""A search returns no more studies."""

Row = dict[str, Any]
"""One data set of a response in DICOM JSON: elements by their tags."""


@dataclass(frozen=True)
class StudyQuery:
    """What to search for. Empty fields match everything; `*` and `?` are wildcards.

    Parameters
    ----------
    patient_id, accession, description : str
    first, last : datetime.date, optional
        The days of the study, both inclusive.
    modalities : tuple of str
        Studies with at least one series of one of these are returned.
    """

    patient_id: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    description: str = field(default="", repr=False)
    first: date | None = None
    last: date | None = None
    modalities: tuple[str, ...] = MODALITIES


class Identity(NamedTuple):
    """What identifies a patient in the response to a search. To be shown only if allowed."""

    patient_name: str
    patient_id: str
    accession: str
    description: str

    def __repr__(self) -> str:
        return "Identity(...)"


@dataclass(frozen=True)
class StudyFound:
    """A study that matches a query.

    Parameters
    ----------
    uid : str
        Study Instance UID (0020,000D).
    day : datetime.date or None
        Study Date (0008,0020).
    modalities, body_parts : tuple of str
        Those of its series.
    images : int
        Number of images of the modalities that were searched for.
    instances : int
        Number of objects of any kind, also results.
    identity : Identity
    """

    uid: str = field(repr=False)
    day: date | None
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    images: int
    instances: int
    identity: Identity = field(repr=False)


class ImageReference(NamedTuple):
    """The UIDs of a stored image: Study, Series and SOP Instance UID."""

    study: str
    series: str
    instance: str

    def __repr__(self) -> str:
        return "ImageReference(...)"


@dataclass(frozen=True)
class StudyContent:
    """What a study contains.

    Parameters
    ----------
    images : tuple of ImageReference
        The objects of radiographic series (CR, DX), in the order of series and instance numbers.
    others : tuple of (str, int)
        Modality and number of objects of each other series.
    """

    images: tuple[ImageReference, ...]
    others: tuple[tuple[str, int], ...]


def search_filters(query: StudyQuery) -> dict[str, str]:
    """Return the terms of a query by DICOM keyword, as they are sent.

    Raises
    ------
    PacsError
        A term is longer than DICOM allows, or has a backslash or a control character.
    """
    filters = {}
    for keyword, text in (
        ("PatientID", query.patient_id),
        ("AccessionNumber", query.accession),
        ("StudyDescription", query.description),
    ):
        text = text.strip()
        if not text:
            continue
        if len(text) > 64 or not text.isprintable() or "\\" in text:
            raise PacsError("A search term has at most 64 characters and no backslash.")
        # Orthanc 1.10 does not decode what has to be encoded in an address. A wildcard needs no
        # encoding, and `matches` compares the response with the term itself.
        filters[keyword] = re.sub(r"[^\w.\-~*?]", "?", text, flags=re.ASCII)
    if query.first is not None or query.last is not None:
        first, last = (
            "" if day is None else day.strftime("%Y%m%d") for day in (query.first, query.last)
        )
        filters["StudyDate"] = first if first == last else f"{first}-{last}"
    return filters


def matches(query: StudyQuery, study: Row) -> bool:
    """Tell whether a study has the terms of a query, as far as the response states its elements."""
    for text, tag in (
        (query.patient_id, "00100020"),
        (query.accession, "00080050"),
        (query.description, "00081030"),
    ):
        parts = {"*": ".*", "?": "."}
        pattern = "".join(parts.get(letter, re.escape(letter)) for letter in text.strip())
        value = first_value(study, tag)
        if pattern and value and not re.fullmatch(pattern, value, re.IGNORECASE):
            return False
    return True


def _values(row: Row, tag: str) -> list[Any]:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def first_value(row: Row, tag: str) -> str:
    """Return the first value of an element of DICOM JSON (PS3.18, annex F), "" without one."""
    values = _values(row, tag)
    return str(values[0]).strip() if values and not isinstance(values[0], dict) else ""


def number_in(row: Row, tag: str) -> int:
    """Return the whole number in an element, 0 without one."""
    text = first_value(row, tag)
    return int(text) if text.isdecimal() else 0


def person_name(row: Row) -> str:
    """Return the Patient's Name (0010,0010), "" without one."""
    values = _values(row, "00100010")
    name = values[0] if values else ""
    return str(name.get("Alphabetic", "") if isinstance(name, dict) else name)


def day_in(text: str) -> date | None:
    """Return the day of a DICOM date, YYYYMMDD; None if it is none."""
    try:
        return date.fromisoformat(text[:8])
    except ValueError:
        return None
