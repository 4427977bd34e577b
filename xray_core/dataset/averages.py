"""The average image of each class, and its standard deviation."""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_core.dataset.cache import cache_file, write_atomically
from xray_core.dataset.index import fingerprint
from xray_core.dataset.measure import map_files
from xray_core.errors import UnreadableImage
from xray_core.labels import LABELS
from xray_core.model.bundle_checks import read_arrays
from xray_core.model.recipes import INPUT_SIZE

FEWEST = 100  # images per class; an average of fewer may show single images
_LARGEST_FILE = 4_000_000  # bytes of the arrays, unpacked


@dataclass(frozen=True, eq=False)
class Averages:
    """Average image and standard deviation of each class at the model's input size.

    Attributes
    ----------
    mean, spread : dict of str to numpy.ndarray
        Mean and standard deviation by label, (224, 224), in grey levels [0, 255].
    images : dict of str to int
        Number of images by label.
    """

    mean: dict[str, np.ndarray]
    spread: dict[str, np.ndarray]
    images: dict[str, int]

    @property
    def difference(self) -> np.ndarray:
        """Pneumonia minus normal, (224, 224) grey levels; positive where pneumonia is brighter."""
        return self.mean["PNEUMONIA"] - self.mean["NORMAL"]


def average_images(
    table: pd.DataFrame,
    folder: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> Averages | None:
    """Compute the average image of each class; cached until the content of a file changes.

    Each process holds the pixels of one image at a time.

    Parameters
    ----------
    table : pandas.DataFrame
        The index as `measure_index` returns it.
    folder : path-like
        The folder that the paths are relative to.
    progress : callable, optional
        Called as `progress(done, total)`.
    processes : int, optional
        Number of processes; by default one per core.

    Returns
    -------
    Averages or None
        None if a class has no readable image.
    """
    root = Path(folder)
    cached = cache_file(root, f"averages-{fingerprint(table)[:16]}.npz")
    try:
        return read_averages(cached)
    except (OSError, ValueError):
        pass
    sums: dict[str, list] = {label: [0, 0.0, 0.0] for label in LABELS}
    done = 0
    for counted, parts in map_files(_sums, root, list(table["path"]), processes):
        done += counted
        for label, part in parts.items():
            sums[label] = [old + new for old, new in zip(sums[label], part, strict=True)]
        if progress:
            progress(done, len(table))
    if not all(total[0] for total in sums.values()):
        return None
    mean: dict[str, np.ndarray] = {}
    spread: dict[str, np.ndarray] = {}
    for label, (images, total, squares) in sums.items():
        average = total / images
        variance = np.maximum(squares / images - average**2, 0)
        mean[label], spread[label] = np.asarray(average), np.sqrt(variance)
    averages = Averages(mean, spread, {label: int(total[0]) for label, total in sums.items()})
    write_atomically(cached, encode_averages(averages))
    return averages


def save_averages(averages: Averages | None, file: Path) -> None:
    """Write averages to a bundle, unless a class has fewer than FEWEST images.

    Parameters
    ----------
    averages : Averages or None
        The averages.
    file : pathlib.Path
        The file to write.
    """
    if averages and min(averages.images.values()) >= FEWEST:
        file.write_bytes(encode_averages(averages))


def encode_averages(averages: Averages) -> bytes:
    """Encode averages as a compressed NPZ file of about 200 KB.

    Parameters
    ----------
    averages : Averages
        The averages.

    Returns
    -------
    bytes
        NPZ; grey levels are stored as integer tenths (uint16).
    """
    arrays: dict[str, Any] = {}
    for label in LABELS:
        for name, images in (("mean", averages.mean[label]), ("spread", averages.spread[label])):
            arrays[f"{name} {label}"] = np.rint(images * 10).astype(np.uint16)
        arrays[f"images {label}"] = averages.images[label]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_averages(file: str | os.PathLike[str]) -> Averages:
    """Read averages from a file that `encode_averages` encoded.

    Parameters
    ----------
    file : path-like
        The NPZ file.

    Returns
    -------
    Averages

    Raises
    ------
    OSError
        The file cannot be opened.
    ValueError
        The file does not contain averages.
    """
    names = [f"{name} {label}" for name in ("mean", "spread", "images") for label in LABELS]
    try:
        arrays = read_arrays(file, names, _LARGEST_FILE)
    except ValueError:  # format 1 names this array "films"
        old = [name.replace("images", "films") for name in names]
        stored = read_arrays(file, old, _LARGEST_FILE)
        arrays = {name.replace("films", "images"): array for name, array in stored.items()}
    images = {label: arrays[f"images {label}"] for label in LABELS}
    grey = {name: array for name, array in arrays.items() if not name.startswith("images")}
    if any(a.shape != INPUT_SIZE or a.dtype != np.uint16 for a in grey.values()) or any(
        count.shape != () or count.dtype.kind not in "iu" for count in images.values()
    ):
        raise ValueError("The file does not contain averages.")
    return Averages(
        {label: grey[f"mean {label}"].astype(np.float32) / 10 for label in LABELS},
        {label: grey[f"spread {label}"].astype(np.float32) / 10 for label in LABELS},
        {label: int(images[label]) for label in LABELS},
    )


def _sums(root: Path, paths: Sequence[str]) -> tuple[int, dict[str, list]]:
    """Number of paths; by class, number of images, sum and sum of squares of their pixels."""
    from xray_core.imaging.pixels import to_model_input
    from xray_core.imaging.radiograph import read_radiograph

    sums: dict[str, list] = {}
    for path in paths:
        try:
            grey = to_model_input(read_radiograph(root / path))[:, :, 0].astype(np.float64)
        except UnreadableImage:
            continue
        label = path.split("/")[1]
        total = sums.setdefault(label, [0, np.zeros_like(grey), np.zeros_like(grey)])
        total[0] += 1
        total[1] += grey
        total[2] += grey**2
    return len(paths), sums
