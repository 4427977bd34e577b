"""What an audit says: one finding is one sentence, one number and the rows behind it."""

from dataclasses import dataclass, field

import pandas as pd

# From grave to harmless. "fine" is a check that found nothing.
SEVERITIES = ("grave", "caution", "note", "fine")
IMAGE_COLUMNS = ["path", "split", "fold", "label", "subtype", "patient"]


@dataclass(frozen=True, eq=False)
class Finding:
    """One finding of the audit.

    `severity` is one of SEVERITIES: "grave" findings make results wrong, a "caution" bends them,
    a "note" is good to know, "fine" is a check passed. `title` is one sentence, `number` what was
    counted or measured, in `unit`. `why` says what it means and what to do. `rows` are the images
    behind it (with the column `path`), or the table that shows it.
    """

    key: str
    severity: str
    title: str
    number: float
    unit: str
    why: str
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"Expected one of {SEVERITIES}. Received: severity={self.severity!r}")


def from_grave_to_harmless(findings: list[Finding]) -> list[Finding]:
    """Return the findings by severity, those of one severity in their old order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def image_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return what identifies the images of `table`, by patient."""
    columns = [column for column in IMAGE_COLUMNS if column in table]
    return table[columns].sort_values(["patient", "path"], ignore_index=True)
