"""A table of predictions from a file: read, checked, completed with what can be left out."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from scipy.special import logit

from xray_core.errors import XrayError
from xray_core.evaluation.films import NEGATIVE, POSITIVE

_MAX_FILMS = 200_000


def read_predictions(source: str | Path | IO[bytes]) -> tuple[pd.DataFrame, list[str]]:
    """Read a CSV of predictions and say what was left out or assumed.

    Needed columns: label (NORMAL or PNEUMONIA, in any case, or 0/1) and probability (of PNEUMONIA,
    in [0, 1], at a prior of 50%). Optional: file, patient, fold, subtype, verdict, gate. Without
    `patient`, and where that is blank, every film is its own; of several folds only "test" is kept.
    Films without a probability are left out. Raises XrayError.
    """
    try:
        table = pd.read_csv(source, nrows=_MAX_FILMS + 1, dtype={"patient": str, "file": str})
    except (ValueError, OSError) as error:  # ParserError, EmptyDataError, UnicodeDecodeError too
        raise XrayError("This is no table in CSV form that can be read.") from error
    if len(table) > _MAX_FILMS:
        raise XrayError(f"The table has more than {_MAX_FILMS:,} rows.")
    table.columns = [str(name).strip().lower() for name in table.columns]
    missing = [name for name in ("label", "probability") if name not in table]
    if missing:
        raise XrayError(
            f"The table has no column {' and no column '.join(missing)}. Needed are label and "
            f"probability. Received: {', '.join(table.columns[:12]) or 'no column'}."
        )
    notes: list[str] = []
    table["label"] = _labels(table["label"])
    table["probability"] = pd.to_numeric(table["probability"], errors="coerce").astype(float)
    known = table["probability"].between(0, 1)
    if not known.all():
        outside = int((table["probability"].notna() & ~known).sum())
        notes.append(
            f"{int((~known).sum())} films were left out: "
            f"{int(table['probability'].isna().sum())} have no probability"
            + (f", {outside} one outside 0 to 1." if outside else ".")
        )
    if not known.any():
        raise XrayError("No film of the table has a probability between 0 and 1.")
    table = table[known].reset_index(drop=True)
    if "file" not in table:
        table["file"] = [f"film {k + 1}" for k in range(len(table))]
    if "patient" not in table:
        table["patient"] = np.arange(len(table)).astype(str)
        notes.append(
            "There is no column patient, so every film counts as a patient of its own; the "
            "intervals are too narrow if some films share a patient."
        )
    elif blank := int(
        (table["patient"].isna() | (table["patient"].map(str).str.strip() == "")).sum()
    ):
        notes.append(
            f"{blank} rows name no patient: each counts as a patient of its own, so the intervals "
            "are too narrow if some of these images share a patient."
        )
    if "fold" not in table:
        table["fold"] = "own"
    of_test = table["fold"] == "test"
    if of_test.any() and not of_test.all():
        notes.append(
            f"Only the {int(of_test.sum())} films of the fold test are evaluated, not the "
            f"{int((~of_test).sum())} of other folds."
        )
        table = table[of_test].reset_index(drop=True)
    return table, notes


def _labels(column: pd.Series) -> pd.Series:
    words = column.astype(str).str.strip().str.upper()
    named = words.replace({"1": POSITIVE, "1.0": POSITIVE, "0": NEGATIVE, "0.0": NEGATIVE})
    strange = named[~named.isin([POSITIVE, NEGATIVE])]
    if len(strange):
        raise XrayError(
            f"A label is NORMAL or PNEUMONIA (or 0 or 1). Received: {column[strange.index[0]]!r} "
            f"in row {strange.index[0] + 1}."
        )
    return named


def confident_errors(films: pd.DataFrame, *, threshold: float) -> pd.DataFrame:
    """The films on the wrong side of the threshold, the most confident first.

    Adds error ("missed" or "wrongly flagged") and distance (of the log-odds from the threshold's).
    """
    p = films["probability"].clip(1e-9, 1 - 1e-9)
    limit = float(np.clip(threshold, 1e-9, 1 - 1e-9))
    called, truth = films["probability"] >= threshold, films["label"] == POSITIVE
    distance = (logit(p) - logit(limit)).abs()
    wrong = films.assign(error=np.where(truth, "missed", "wrongly flagged"), distance=distance)[
        called != truth
    ]
    return wrong.sort_values(["distance", "file"], ascending=[False, True])
