"""One finding of the audit: a sentence, a number and the rows behind it."""

from dataclasses import dataclass, field

import pandas as pd

# Most serious first. "checked": the check found no problem.
SEVERITIES = ("serious", "caution", "note", "checked")
IMAGE_COLUMNS = ["path", "split", "fold", "label", "subtype", "patient"]


@dataclass(frozen=True, eq=False)
class Finding:
    """One finding of the audit.

    Attributes
    ----------
    key : str
        Identifies the check.
    severity : str
        One of SEVERITIES: "serious" findings invalidate results, a "caution" biases them, a "note"
        is information, "checked" means that the check found no problem.
    title : str
        One sentence.
    number : float
        What was counted or measured, in `unit`.
    unit : str
        Unit of `number`.
    why : str
        What the finding means and what to do.
    rows : pandas.DataFrame
        The images behind the finding (with the column `path`), or a table that shows it.
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


def sort_by_severity(findings: list[Finding]) -> list[Finding]:
    """Sort findings by severity, most serious first; the order within a severity is kept.

    Parameters
    ----------
    findings : list of Finding

    Returns
    -------
    list of Finding
    """
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def image_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Select the columns that identify images, sorted by patient and path.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per image.

    Returns
    -------
    pandas.DataFrame
        The columns IMAGE_COLUMNS that `table` has.
    """
    columns = [column for column in IMAGE_COLUMNS if column in table]
    return table[columns].sort_values(["patient", "path"], ignore_index=True)
