"""The table of all images' plain properties: measured once, kept until a file changes."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xray_core.dataset.cache import NUMBER_TYPES, read_table, write_table
from xray_core.dataset.index import build_index, find_dataset, list_images, stamp_of
from xray_core.dataset.parallel import in_chunks
from xray_core.dataset.properties import MEASURED, measure_files

_SAVE_EVERY = 4096  # files between two writings of the cache, so that a stopped run is not lost

Progress = Callable[[int, int], None]


def dataset_table(
    folder: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
    processes: int | None = None,
) -> pd.DataFrame:
    """Return the index of `folder` with its measurements: `build_index` and `measure_index`.

    Shared patients are left for the audit to find. The whole table is kept, so that an unchanged
    folder costs one listing. Raises DatasetError as `build_index` does.
    """
    root = find_dataset(folder)
    listing = pd.DataFrame(list_images(root)).sort_values("path", ignore_index=True)
    kept = read_table(root, "table")
    key = ["path", "bytes", "stamp"]
    if kept is not None and kept[key].equals(listing[key]):
        return kept.drop(columns="stamp")
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
    """Return `index` with the columns MEASURED; only new and changed files are read.

    `width` and `height` are in pixels as stored, `mode` is Pillow's colour mode, `mean` and
    `spread` (standard deviation) are grey levels in [0, 255], `sharpness` is the energy of the
    Laplacian (mean square; Pertuz et al. 2013), `border` the mean grey of the outermost 5% on each
    side, `sha256` of the file's bytes, `perceptual_hash` the 256-bit pHash (64 hex digits) of the
    image shrunk to 32 x 32. A file that cannot be read is a row with the reason in `problem`, which
    is "" otherwise. Pixels are never held for more than one image a process.

    `progress(done, total)` is called as files are measured. `processes` defaults to one a core.
    """
    root = Path(folder)
    stamped = index[["path"]].assign(**_stamps(root, list(index["path"])))
    kept = read_table(root, "measured")
    others = None
    known = pd.DataFrame(columns=[*stamped.columns, *MEASURED])
    if kept is not None:
        known = stamped.merge(kept, on=list(stamped.columns))
        others = kept[~kept["path"].isin(stamped["path"])]
    missing = stamped[~stamped["path"].isin(known["path"])]
    rows: list[dict[str, Any]] = []
    saved = 0
    for chunk in in_chunks(measure_files, root, list(missing["path"]), processes):
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


def _stamps(root: Path, paths: Sequence[str]) -> dict[str, list[Any]]:
    """Return size and stamp of each file: what tells that it is still the same."""
    sizes, stamps = [], []
    for path in paths:
        try:
            status = os.stat(root / path)
        except OSError:  # gone since it was listed; measuring says so
            sizes.append(-1)
            stamps.append("")
        else:
            sizes.append(status.st_size)
            stamps.append(stamp_of(status))
    return {"bytes": sizes, "stamp": stamps}


def _frame(rows: list[dict[str, Any]], stamped: pd.DataFrame) -> pd.DataFrame:
    return stamped.merge(pd.DataFrame(rows).astype(NUMBER_TYPES), on="path")


def _joined(*tables: pd.DataFrame | None) -> pd.DataFrame:
    return pd.concat([t for t in tables if t is not None and len(t)], ignore_index=True)
