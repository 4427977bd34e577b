"""The cache of measurements: in the user's cache folder, never in the dataset's folder.

`XRAY_CACHE` sets another folder. A cache that cannot be read or written is not an error: the
measurements are then repeated.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from platformdirs import user_cache_path

NUMBER_TYPES = {
    "width": "Int64",
    "height": "Int64",
    "mean": "float64",
    "spread": "float64",
    "sharpness": "float64",
    "border": "float64",
}
_TYPES = NUMBER_TYPES | {"bytes": "int64"}
_FORMAT = 2  # to be raised whenever a column or its meaning changes


def cache_folder() -> Path:
    """Get the cache folder: $XRAY_CACHE, else the platform's user cache folder.

    Returns
    -------
    pathlib.Path
    """
    if named := os.environ.get("XRAY_CACHE"):
        return Path(named).expanduser()
    return user_cache_path("xray-demo", appauthor=False)


def cache_file(dataset: Path, name: str) -> Path:
    """Get the path of a dataset's cache file.

    Parameters
    ----------
    dataset : pathlib.Path
        The dataset's folder.
    name : str
        Name of the file, with suffix.

    Returns
    -------
    pathlib.Path
    """
    dataset_key = hashlib.sha256(str(dataset.resolve()).encode()).hexdigest()[:16]
    return cache_folder() / f"{dataset_key}-v{_FORMAT}-{name}"


def read_table(dataset: Path, name: str) -> pd.DataFrame | None:
    """Read a cached table.

    Parameters
    ----------
    dataset : pathlib.Path
        The dataset's folder.
    name : str
        Name of the table.

    Returns
    -------
    pandas.DataFrame or None
        None if there is no readable table.
    """
    try:
        return read_measured(cache_file(dataset, f"{name}.csv"))
    except (OSError, ValueError):
        return None


def read_measured(file: Path) -> pd.DataFrame:
    """Read a table of images from a CSV file with the types of the measurements.

    An image without a patient counts as a patient of its own, with its path as the key.

    Parameters
    ----------
    file : pathlib.Path
        The CSV file.

    Returns
    -------
    pandas.DataFrame
        Numbers in NUMBER_TYPES; all other columns as text.

    Raises
    ------
    ValueError
        The file is not such a table, or a number is infinite.
    """
    columns = pd.read_csv(file, nrows=0).columns
    types = {column: _TYPES.get(column, "str") for column in columns}
    table = pd.read_csv(
        file,
        dtype=types,
        index_col=False,
        keep_default_na=False,
        na_values={column: [""] for column in columns if column in NUMBER_TYPES},
    )
    if np.isinf(table.select_dtypes("float")).any(axis=None):
        raise ValueError("A number is infinite.")
    if "patient" in table and "path" in table:
        table["patient"] = table["patient"].where(table["patient"].str.strip() != "", table["path"])
    return table


def write_table(dataset: Path, name: str, table: pd.DataFrame) -> None:
    """Write a table to the cache.

    Parameters
    ----------
    dataset : pathlib.Path
        The dataset's folder.
    name : str
        Name of the table.
    table : pandas.DataFrame
        The table.
    """
    text = table.to_csv(index=False, lineterminator="\n")
    write_atomically(cache_file(dataset, f"{name}.csv"), text.encode())


def write_atomically(file: Path, data: bytes) -> None:
    """Write a cache file under a temporary name and rename it; file system errors are ignored.

    Parameters
    ----------
    file : pathlib.Path
        The cache file.
    data : bytes
        Its content.
    """
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(data)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
