"""Every film's plain properties, measured once and kept until the file changes."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_core.dataset.cache import NUMBER_TYPES, read_table, write_table
from xray_core.dataset.index import build_index, find_dataset, list_images
from xray_core.dataset.parallel import in_chunks
from xray_core.errors import UnreadableImage

MEASURED = (
    "width",
    "height",
    "mode",
    "mean",
    "spread",
    "sharpness",
    "border",
    "sha256",
    "perceptual_hash",
    "problem",
)
BORDER_SHARE = 0.05
HASH_BITS = 256  # of the perceptual hash
_HASH_SIDE = 16
_SHRUNK = 32  # side of the film that pHash sees
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
    key = ["path", "bytes", "modified"]
    if kept is not None and kept[key].equals(listing[key]):
        return kept.drop(columns="modified")
    index = build_index(root, check=False)
    table = measure_index(index, root, progress=progress, processes=processes)
    write_table(root, "table", table.merge(listing[["path", "modified"]], on="path"))
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
    film shrunk to 32 x 32. A file that cannot be read is a row with the reason in `problem`, which
    is "" otherwise. Pixels are never held for more than one film a process.

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


def measure_file(root: Path, path: str) -> dict[str, Any]:
    """Return the measurements of the one film at `root / path`, as `measure_index` names them."""
    return measure_files(root, [path])[0]


def measure_files(root: Path, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return `measure_file` of each path, on one core.

    The hashes come last, all in a row: between two films the decoder would push the library's
    code out of the processor's cache, and it would take twice as long.
    """
    import cv2

    cv2.setNumThreads(1)  # the processes already fill the cores
    measured = [_measured(root, path) for path in paths]
    for row, small in measured:
        if small is not None:
            row["perceptual_hash"] = _perceptual_hash(small)
    return [row for row, _ in measured]


def _measured(root: Path, path: str) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return a film's row without its perceptual hash, and the film (32, 32) uint8 for that.

    The film is None where the file cannot be read.
    """
    import cv2

    from xray_core.images import read_radiograph

    row: dict[str, Any] = dict.fromkeys(MEASURED)
    row |= {"path": path, "problem": "", "mode": "", "sha256": "", "perceptual_hash": ""}
    try:
        with open(os.path.join(root, path), "rb") as file:
            data = file.read()
    except OSError:
        return row | {"problem": "The file cannot be opened; may this program read it?"}, None
    row["sha256"] = hashlib.sha256(data).hexdigest()
    try:
        film = read_radiograph(data)
    except UnreadableImage as error:
        return row | {"problem": str(error)}, None
    levels = cv2.convertScaleAbs(film.pixels)  # (H, W), whole grey levels
    mean, spread = cv2.meanStdDev(levels)
    small = cv2.resize(levels, (_SHRUNK, _SHRUNK), interpolation=cv2.INTER_AREA)
    row |= {
        "height": film.original_size[0],
        "width": film.original_size[1],
        "mode": film.colour_mode,
        "mean": round(float(mean[0, 0]), 3),
        "spread": round(float(spread[0, 0]), 3),
        "sharpness": round(cv2.norm(cv2.Laplacian(levels, cv2.CV_16S)) ** 2 / levels.size, 3),
        "border": round(_border(levels), 3),
    }
    return row, small


def _perceptual_hash(small: np.ndarray) -> str:
    """Return the 256-bit pHash of a film shrunk to (32, 32) uint8, as 64 hex digits."""
    from imagehash import phash
    from PIL import Image

    bits = phash(Image.fromarray(small), _HASH_SIDE, _SHRUNK // _HASH_SIDE).hash  # (16, 16)
    return np.packbits(bits).tobytes().hex()


def _stamps(root: Path, paths: Sequence[str]) -> dict[str, list[int]]:
    """Return size and time of change of each file: what tells that it is still the same."""
    sizes, times = [], []
    for path in paths:
        try:
            status = os.stat(root / path)
        except OSError:  # gone since it was listed; measuring says so
            sizes.append(-1)
            times.append(-1)
        else:
            sizes.append(status.st_size)
            times.append(status.st_mtime_ns)
    return {"bytes": sizes, "modified": times}


def _frame(rows: list[dict[str, Any]], stamped: pd.DataFrame) -> pd.DataFrame:
    return stamped.merge(pd.DataFrame(rows).astype(NUMBER_TYPES), on="path")


def _joined(*tables: pd.DataFrame | None) -> pd.DataFrame:
    return pd.concat([t for t in tables if t is not None and len(t)], ignore_index=True)


def _border(levels: np.ndarray) -> float:
    """Return the mean grey of a frame that is 5% of height and width wide."""
    import cv2

    height, width = levels.shape
    down, across = (max(1, round(BORDER_SHARE * side)) for side in (height, width))
    inside = levels[down : height - down, across : width - across]
    frame_size = levels.size - inside.size
    inner_sum = cv2.sumElems(inside)[0] if inside.size else 0.0
    return float(cv2.sumElems(levels)[0] - inner_sum) / frame_size
