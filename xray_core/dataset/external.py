"""A table of external images: chest X-rays of other hospitals, for validation only.

The folder holds one CSV file and the images. Each row of the table is an image; the columns are:

- `set`: the source; sets are evaluated apart
- `file`: path of the image, relative to the folder
- `label`: NORMAL or PNEUMONIA, blank where there is no reliable label
- `patient`: key of the patient; an image without one is a patient of its own
- `view`, `sex`, `age` (years): blank where unknown; the columns may be absent

Other columns are ignored.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from xray_core.errors import DatasetError
from xray_core.labels import LABELS

EXTERNAL_VARIABLE = "XRAY_EXTERNAL_DIR"
COLUMNS = ("set", "file", "label", "patient", "view", "sex", "age")
_REQUIRED = ("set", "file", "label", "patient")


def find_external(argument: str | os.PathLike[str] | None = None) -> Path | None:
    """Find the folder of the external images: the argument, else $XRAY_EXTERNAL_DIR, else None.

    Raises
    ------
    DatasetError
        A folder was named and does not exist.
    """
    named = argument or os.environ.get(EXTERNAL_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DatasetError(f"There is no folder of external images at {folder}.")
    return folder


def read_external(folder: Path) -> pd.DataFrame:
    """Read the table of external images.

    Parameters
    ----------
    folder : pathlib.Path
        The folder that holds the table and the images.

    Returns
    -------
    pandas.DataFrame
        COLUMNS, one row per image, in the order of the file. Texts, "" where unknown, but for
        `age`, in years, NaN where unknown.

    Raises
    ------
    DatasetError
        There is not exactly one CSV file, a column is missing, a label is neither class nor blank,
        an age is no number, or an image is listed twice, missing, or outside the folder.
    """
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        raise DatasetError(
            f"{folder} must hold exactly one CSV file, the table of its images. "
            f"Found: {len(tables)}."
        )
    name = tables[0].name
    try:
        table = pd.read_csv(tables[0], dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # includes errors of the parser and of the encoding
        raise DatasetError(f"{tables[0]} cannot be read as a CSV table.") from error
    missing = [column for column in _REQUIRED if column not in table]
    if missing or table.empty:
        lacks = f"has no column {' and no column '.join(missing)}" if missing else "has no row"
        raise DatasetError(f"The table {name} {lacks}.")
    table = table.reindex(columns=list(COLUMNS), fill_value="").apply(
        lambda cells: cells.str.strip()
    )
    for row, cells in enumerate(table.itertuples(), start=1):
        if cells.label not in ("", *LABELS):
            raise DatasetError(
                f"Row {row} of {name}: a label is NORMAL, PNEUMONIA or blank. "
                f"Received: {cells.label}."
            )
        path = PurePosixPath(cells.file)
        if path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
            raise DatasetError(f"Row {row} of {name}: there is no image {cells.file} in {folder}.")
    if table["file"].duplicated().any():
        twice = table.loc[table["file"].duplicated(), "file"].iloc[0]
        raise DatasetError(f"{name} lists the image {twice} more than once.")
    age = pd.to_numeric(table["age"].replace("", np.nan), errors="coerce")
    wrong = (table["age"] != "") & age.isna()
    if wrong.any():
        raise DatasetError(
            f"Row {wrong.idxmax() + 1} of {name}: an age is a number of years. "
            f"Received: {table['age'][wrong.idxmax()]}."
        )
    table["age"] = age.astype(float)
    return table
