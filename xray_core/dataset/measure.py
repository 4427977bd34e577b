"""The table of all images with their measured properties, cached until a file changes."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from xray_core.dataset.cache import NUMBER_TYPES, read_table, write_table
from xray_core.dataset.index import build_index, file_stamp, find_dataset, list_images
from xray_core.dataset.properties import MEASURED, measure_files

_SAVE_EVERY = 4096  # files between two writes of the cache, so that a stopped run can resume

_CHUNK = 64  # files per task of a process
_FEW = 256  # with fewer files, starting processes takes longer than the work

Progress = Callable[[int, int], None]
Result = TypeVar("Result")


def dataset_table(
    folder: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
    processes: int | None = None,
) -> pd.DataFrame:
    """Build the index of a dataset and measure its images: `build_index` and `measure_index`.

    Patients in two folds are not an error here; the audit reports them. The table is cached, so an
    unchanged folder is only listed.

    Parameters
    ----------
    folder : path-like, optional
        As for `find_dataset`.
    progress : callable, optional
        Called as `progress(done, total)` while files are measured.
    processes : int, optional
        Number of processes; by default one per core.

    Returns
    -------
    pandas.DataFrame
        One row per image: the columns of `build_index` and MEASURED.

    Raises
    ------
    DatasetError
        A folder is missing or empty.
    """
    root = find_dataset(folder)
    listing = pd.DataFrame(list_images(root)).sort_values("path", ignore_index=True)
    cached = read_table(root, "table")
    key = ["path", "bytes", "stamp"]
    if cached is not None and cached[key].equals(listing[key]):
        return cached.drop(columns="stamp")
    index = build_index(root, check=False)
    table = measure_index(index, root, progress=progress, processes=processes)
    write_table(root, "table", table.merge(listing[["path", "stamp"]], on="path"))
    return table


def measure_index(
    index: pd.DataFrame,
    folder: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    processes: int | None = None,
) -> pd.DataFrame:
    """Measure the images of an index; only new and changed files are read.

    Each process holds the pixels of one image at a time.

    Parameters
    ----------
    index : pandas.DataFrame
        As `build_index` returns it.
    folder : path-like
        The folder that the paths are relative to.
    progress : callable, optional
        Called as `progress(done, total)` while files are measured.
    processes : int, optional
        Number of processes; by default one per core.

    Returns
    -------
    pandas.DataFrame
        `index` with the columns MEASURED: `width` and `height` in pixels as stored; `mode`,
        Pillow's colour mode; `mean` and `spread` (standard deviation) in grey levels [0, 255];
        `sharpness`, the energy of the Laplacian (mean square); `border`, the mean grey of the
        outermost 5% on each side; `sha256` of the file's bytes; `perceptual_hash`, the 256-bit
        pHash (64 hex digits) of the image resized to 32 x 32; `problem`, why a file cannot be read,
        otherwise "".

    References
    ----------
    Pertuz, Puig and Garcia, Pattern Recognition 46, 2013 (energy of the Laplacian).
    """
    root = Path(folder)
    stamped = index[["path"]].assign(**_stamps(root, list(index["path"])))
    cached = read_table(root, "measured")
    others = None
    known = pd.DataFrame(columns=[*stamped.columns, *MEASURED])
    if cached is not None:
        known = stamped.merge(cached, on=list(stamped.columns))
        others = cached[~cached["path"].isin(stamped["path"])]
    missing = stamped[~stamped["path"].isin(known["path"])]
    rows: list[dict[str, Any]] = []
    saved = 0
    for chunk in map_files(measure_files, root, list(missing["path"]), processes):
        rows.extend(chunk)
        if progress:
            progress(len(rows), len(missing))
        if len(rows) - saved >= _SAVE_EVERY and len(rows) < len(missing):
            saved = len(rows)
            write_table(root, "measured", _joined(others, known, _frame(rows, missing)))
    if rows:
        known = _joined(known, _frame(rows, missing))
        write_table(root, "measured", _joined(others, known))
    return index.merge(known[["path", *MEASURED]], how="left", on="path")


def map_files(
    work: Callable[[Path, Sequence[str]], Result],
    root: Path,
    paths: Sequence[str],
    processes: int | None = None,
) -> Iterator[Result]:
    """Apply a function to the paths in chunks, in several processes.

    Parameters
    ----------
    work : callable
        Called as `work(root, chunk)`; can be pickled.
    root : pathlib.Path
        The folder that the paths are relative to.
    paths : sequence of str
        The files.
    processes : int, optional
        Number of processes; by default one per core.

    Yields
    ------
    object
        The result for one chunk, in any order.
    """
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    count = processes or os.cpu_count() or 1
    if len(paths) < _FEW or count == 1:
        yield from (work(root, chunk) for chunk in chunks)
        return
    # Unlike those of the standard library, joblib's processes do not run the main module again,
    # which is the page itself under Streamlit.
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=count, return_as="generator_unordered", batch_size=1)
    yield from parallel(delayed(work)(root, chunk) for chunk in chunks)


def _stamps(root: Path, paths: Sequence[str]) -> dict[str, list[Any]]:
    """Size and stamp of each file, which show whether it has changed."""
    sizes, stamps = [], []
    for path in paths:
        try:
            status = os.stat(root / path)
        except OSError:  # deleted since it was listed; measuring reports it
            sizes.append(-1)
            stamps.append("")
        else:
            sizes.append(status.st_size)
            stamps.append(file_stamp(status))
    return {"bytes": sizes, "stamp": stamps}


def _frame(rows: list[dict[str, Any]], stamped: pd.DataFrame) -> pd.DataFrame:
    return stamped.merge(pd.DataFrame(rows).astype(NUMBER_TYPES), on="path")


def _joined(*tables: pd.DataFrame | None) -> pd.DataFrame:
    return pd.concat([t for t in tables if t is not None and len(t)], ignore_index=True)
