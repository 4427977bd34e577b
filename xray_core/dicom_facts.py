"""The facts of a film that decide whether the model knows its kind: what, whence, how old."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from xray_core.dicom_file import items, value

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
    """Say in sentences what makes this file another thing than a frontal chest film."""
    notes = []
    if frames > 1:
        notes.append(f"Only the first of {frames} frames was read.")
    modality, part = code(header, "Modality"), code(header, "BodyPartExamined")
    if modality and modality not in _XRAY_MODALITIES:
        notes.append(f"The file says that this is no X-ray film (modality {modality}).")
    if part and not any(chest in part for chest in _CHEST):
        notes.append(f"The file says that this is not a chest (body part {part}).")
    if is_lateral(header):
        notes.append("The file says that this is a side view; the model knows frontal films only.")
    if value(header, "PresentationIntentType") == "FOR PROCESSING":
        notes.append("The file holds raw detector data, not a film made for viewing.")
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
    """Give the patient's age (0010,1010), an age string such as 018M, in years."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", str(value(header, "PatientAge") or "").strip())
    if not match:
        return None
    return int(match[1]) if match[2] == "Y" else int(match[1]) * _DAYS_PER_UNIT[match[2]] / 365.25
