"""Where measurements are kept between runs: the user's cache folder, never the dataset's own.

`XRAY_CACHE` names another folder. A cache that cannot be read or written is no error: the work is
then done again.
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
_FORMAT = 2  # raise it whenever a column or its meaning changes


def cache_folder() -> Path:
    """Return the folder of this program's caches: XRAY_CACHE, or the platform's own place."""
    if named := os.environ.get("XRAY_CACHE"):
        return Path(named).expanduser()
    return user_cache_path("xray-demo", appauthor=False)


def cache_file(dataset: Path, name: str) -> Path:
    """Return the cache file called `name` (with suffix) of the dataset at `dataset`."""
    place = hashlib.sha256(str(dataset.resolve()).encode()).hexdigest()[:16]
    return cache_folder() / f"{place}-v{_FORMAT}-{name}"


def read_table(dataset: Path, name: str) -> pd.DataFrame | None:
    """Return the kept table called `name`, or None where there is none that can be read."""
    try:
        return read_measured(cache_file(dataset, f"{name}.csv"))
    except (OSError, ValueError):
        return None


def read_measured(file: Path) -> pd.DataFrame:
    """Return a table of images from CSV with the types it was measured in; any text stays text.

    Where `patient` is blank, the image is a patient of its own: its path takes the place of the key.
    Raises ValueError for what is no such table, or has a number that is infinite.
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
    """Keep `table` under `name`, whole or not at all."""
    text = table.to_csv(index=False, lineterminator="\n")
    write_whole(cache_file(dataset, f"{name}.csv"), text.encode())


def write_whole(file: Path, data: bytes) -> None:
    """Write a cache file beside its place and move it there; a full disk is passed over."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(data)
            os.replace(beside, file)
        except BaseException:
            os.unlink(beside)
            raise
