"""The classes, subtypes and verdicts, and the words that show them to users.

Page, PDF, CSV and DICOM results use the same words for a verdict: those of `SHOWN_AS`.
"""

from typing import Literal, get_args

NORMAL = "NORMAL"
PNEUMONIA = "PNEUMONIA"
UNCERTAIN = "UNCERTAIN"
REFUSED = "REFUSED"
UNREADABLE = "UNREADABLE"

LABELS = (NORMAL, PNEUMONIA)
"""The two classes, as the dataset's folders name them. Their index is the network's target."""

SUBTYPES = {"bacteria": "bacterial", "virus": "viral"}
"""Subtypes of pneumonia, as the dataset's file names name them, with the adjective to show."""

Verdict = Literal["NORMAL", "PNEUMONIA", "UNCERTAIN", "REFUSED", "UNREADABLE"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

SHOWN_AS: dict[str, str] = {
    PNEUMONIA: "Pneumonia suspected",
    NORMAL: "No pneumonia detected",
    UNCERTAIN: "Indeterminate",
    REFUSED: "Not analysed",
    UNREADABLE: "Unreadable",
}
"""The words for each verdict."""

SHOWN_AS_UNLIKE = "Indeterminate: unlike the images this model was trained on"
"""The words for UNCERTAIN where the reason is that the image is unlike the training images."""
