"""Read a table of predictions from a CSV file: check it and fill in the optional columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO

import numpy as np
import pandas as pd

from xray_core.errors import XrayError
from xray_core.evaluation.scores import NEGATIVE, POSITIVE

MAX_ROWS = 200_000
MAX_SUBTYPES = 20
_MAX_BYTES = 200 * 2**20
_COLUMNS = ("label", "probability", "file", "patient", "fold", "subtype", "verdict", "gate")
_UNIQUE_TEXTS = frozenset({"probability", "file", "patient"})
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_NOT_A_TABLE = "This is not a readable CSV table."


def read_predictions(source: str | Path | IO[bytes]) -> tuple[pd.DataFrame, list[str]]:
    """Read a CSV of predictions, and report what was left out or assumed.

    Parameters
    ----------
    source
        A CSV file in UTF-8, UTF-16 with a byte order mark, or Windows-1252. Required columns, in
        upper or lower case: label (NORMAL or PNEUMONIA, or 0 or 1) and probability (of PNEUMONIA,
        in [0, 1], at a prior of 50%). Optional: file, patient, fold, subtype, verdict, gate. Others
        are ignored.

    Returns
    -------
    table
        Without the images that have no probability. Where the patient is missing or blank, the
        image is a patient of its own. If one of several folds is "test", only that fold is kept.
    notes
        A sentence for each thing that was left out or assumed.

    Raises
    ------
    XrayError
        It cannot be read, has more than MAX_ROWS rows, lacks a required column, has a column twice,
        or a row or a label is invalid.
    """
    table = _read_columns(_decode(source))
    notes: list[str] = []
    table["label"] = _normalized_labels(table["label"])
    table["probability"] = pd.to_numeric(table["probability"], errors="coerce").astype(float)
    known = table["probability"].between(0, 1)
    if not known.all():
        outside = int((table["probability"].notna() & ~known).sum())
        notes.append(
            f"{int((~known).sum())} images were left out: "
            f"{int(table['probability'].isna().sum())} without a probability"
            + (f", {outside} with one outside 0 to 1." if outside else ".")
        )
    if not known.any():
        raise XrayError("No image of the table has a probability between 0 and 1.")
    table = table[known].reset_index(drop=True)
    if "file" not in table:
        table["file"] = [f"image {k + 1}" for k in range(len(table))]
    if "patient" not in table:
        table["patient"] = np.arange(len(table)).astype(str)
        notes.append(
            "There is no column patient, so every image counts as a patient of its own; the "
            "intervals are too narrow if some images share a patient."
        )
    blank = table["patient"].str.strip().str.lower().isin(["", "nan"])
    if blank.any():
        table.loc[blank, "patient"] = [f"no patient, row {k + 1}" for k in np.flatnonzero(blank)]
        notes.append(
            f"{int(blank.sum())} rows have no patient: each counts as a patient of its own, so the "
            "intervals are too narrow if some of these images share a patient."
        )
    if "subtype" in table:
        table["subtype"] = table["subtype"].where(table["subtype"] != "")
        if table["subtype"].nunique() > MAX_SUBTYPES:
            table = table.drop(columns="subtype")
            notes.append(
                f"The column subtype has more than {MAX_SUBTYPES} different values and is ignored."
            )
    if "fold" not in table:
        table["fold"] = "own"
    in_test = table["fold"] == "test"
    if in_test.any() and not in_test.all():
        notes.append(
            f"Only the {int(in_test.sum())} images of the fold test are evaluated, not the "
            f"{int((~in_test).sum())} of other folds."
        )
        table = table[in_test].reset_index(drop=True)
    return table, notes


def _decode(source: str | Path | IO[bytes]) -> TextIO:
    try:
        if isinstance(source, str | Path):
            with Path(source).open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        else:
            data = source.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with NUL
        raise XrayError(_NOT_A_TABLE) from error
    if len(data) > _MAX_BYTES:
        raise XrayError(f"The table is larger than {_MAX_BYTES // 2**20} MB.")
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "")
    encoding = marked or "utf-8"
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        if marked:
            raise XrayError(_NOT_A_TABLE) from None
        encoding = "cp1252"  # what spreadsheets on Windows write
    return io.TextIOWrapper(io.BytesIO(data), encoding, errors="replace", newline="")


def _read_columns(text: TextIO) -> pd.DataFrame:
    """Return the known columns as texts, "" where a cell is missing."""
    rows = _rows(text)
    names = [name.strip().lower() for name in next(rows, [])]
    if not names:
        raise XrayError(_NOT_A_TABLE)
    if missing := [name for name in ("label", "probability") if name not in names]:
        shown = ", ".join(_short(name) for name in names[:12])
        raise XrayError(
            f"The table has no column {' and no column '.join(missing)}. Required are label and "
            f"probability. Received: {shown or 'no column'}."
        )
    if repeated := [name for name in _COLUMNS if names.count(name) > 1]:
        raise XrayError(f"The table has more than one column {' and '.join(repeated)}.")
    place = {name: names.index(name) for name in _COLUMNS if name in names}
    cells: dict[str, list[str]] = {name: [] for name in place}
    texts: dict[str, str] = {}  # most columns hold few different ones: each is kept once
    for number, row in enumerate(rows, 1):
        if number > MAX_ROWS:
            raise XrayError(f"The table has more than {MAX_ROWS:,} rows.")
        if any(row[len(names) :]):
            raise XrayError(
                f"Row {number} has {len(row)} cells, but there are {len(names)} columns: put "
                "text that contains a comma in double quotes."
            )
        for name, column in place.items():
            cell = row[column].strip() if column < len(row) else ""
            cells[name].append(cell if name in _UNIQUE_TEXTS else texts.setdefault(cell, cell))
    return pd.DataFrame(cells, dtype=str)


def _rows(text: TextIO) -> Iterator[list[str]]:
    try:
        for row in csv.reader(text, strict=True):
            if any(cell.strip() for cell in row):
                yield row
    except csv.Error as error:
        raise XrayError(_NOT_A_TABLE) from error


def _normalized_labels(column: pd.Series) -> pd.Series:
    labels = column.str.upper().replace(
        {"1": POSITIVE, "1.0": POSITIVE, "0": NEGATIVE, "0.0": NEGATIVE}
    )
    unknown = labels[~labels.isin([POSITIVE, NEGATIVE])]
    if len(unknown):
        first = unknown.index[0]
        raise XrayError(
            f"A label is NORMAL or PNEUMONIA (or 0 or 1). Received: {_short(column[first])!r} in "
            f"row {first + 1}."
        )
    return labels


def _short(text: str) -> str:
    plain = "".join(c if c.isprintable() else "\ufffd" for c in text[:40])
    return plain if len(text) <= 40 else plain[:39] + "…"
