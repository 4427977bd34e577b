"""The facts of an image that decide whether the model knows its kind: what, whence, how old."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydicom.dataset import Dataset

from xray_core.imaging.dicom.header import items, value

# OT and SC are what digitisers and screen captures call themselves.
_XRAY_MODALITIES = ("CR", "DX", "RG", "OT", "SC")
_CHEST = ("CHEST", "THORAX", "LUNG")
_LATERAL_VIEWS = ("LL", "RL", "LATERAL", "LAT")
_DAYS_PER_UNIT = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}


def code(header: Dataset, keyword: str) -> str | None:
    """Give a code string such as a modality, or None where there is none."""
    # A code string (PS3.5, 6.2) has no room for a name; what does not look like one is dropped.
    found = str(value(header, keyword) or "").strip().upper()
    return found if re.fullmatch(r"[A-Z0-9 _]{1,16}", found) else None


def cautions(header: Dataset, frames: int) -> list[str]:
    """Say in sentences what makes this file another thing than a frontal chest X-ray."""
    notes = []
    if frames > 1:
        notes.append(f"Only the first of {frames} frames was read.")
    modality, part = code(header, "Modality"), code(header, "BodyPartExamined")
    if modality and modality not in _XRAY_MODALITIES:
        notes.append(f"The file says that this is no X-ray (modality {modality}).")
    if part and not any(chest in part for chest in _CHEST):
        notes.append(f"The file says that this is not a chest (body part {part}).")
    if is_lateral(header):
        notes.append("The file says that this is a side view; the model knows frontal images only.")
    if value(header, "PresentationIntentType") == "FOR PROCESSING":
        notes.append("The file holds raw detector data, not an image made for viewing.")
    return notes


def is_lateral(header: Dataset) -> bool:
    """Tell whether View Position (0018,5101), the view's code or the description says lateral."""
    view = code(header, "ViewPosition")
    if view:
        return view in _LATERAL_VIEWS
    words = [str(value(item, "CodeMeaning") or "") for item in items(header, "ViewCodeSequence")]
    words += [
        str(value(header, keyword) or "") for keyword in ("SeriesDescription", "ProtocolName")
    ]
    text = " ".join(words).upper()
    # A lateral decubitus is a frontal view of a patient who lies on the side.
    return bool(re.search(r"\bLAT(ERAL)?\b", text)) and not re.search(
        r"DECUB|\b[AP]\.?[AP]\b", text
    )


def age_in_years(header: Dataset) -> float | None:
    """Give the patient's age (0010,1010), an age string (PS3.5, 6.2) such as 018M, in years.

    A number without a unit, as some archives write it, is in years. Of several values the first
    counts. None where there is none, or where it is no age.
    """
    found = value(header, "PatientAge")
    if isinstance(found, Sequence) and not isinstance(found, str | bytes):
        found = found[0] if found else None
    text = found.decode("ascii", "replace") if isinstance(found, bytes) else str(found or "")
    match = re.fullmatch(r"(\d{1,3})([DWMY]?)", text.strip(" \0").upper())
    if not match:
        return None
    count, unit = int(match[1]), match[2] or "Y"
    return count * _DAYS_PER_UNIT[unit] / _DAYS_PER_UNIT["Y"]
