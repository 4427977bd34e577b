"""The average image of each class, and how far single images spread around it."""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_core.dataset.cache import cache_file, write_whole
from xray_core.dataset.index import fingerprint
from xray_core.dataset.parallel import in_chunks
from xray_core.errors import UnreadableImage
from xray_core.labels import LABELS
from xray_core.model.bundle_checks import read_arrays
from xray_core.model.recipes import INPUT_SIZE

FEWEST = 100  # images of a class, below which an average would still show single images
_LARGEST_FILE = 4_000_000  # bytes of the arrays, unpacked


@dataclass(frozen=True, eq=False)
class Averages:
    """Average image and spread of each class at the model's input size.

    `mean[label]` and `spread[label]` (standard deviation) are (224, 224) in grey levels,
    `images[label]` how many images went in. An average of a thousand images shows nobody.
    """

    mean: dict[str, np.ndarray]
    spread: dict[str, np.ndarray]
    images: dict[str, int]

    @property
    def difference(self) -> np.ndarray:
        """Pneumonia less normal, (224, 224) grey levels; positive where pneumonia is brighter."""
        return self.mean["PNEUMONIA"] - self.mean["NORMAL"]


def average_images(
    table: pd.DataFrame,
    folder: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> Averages | None:
    """Return the averages of the images in `table`, kept until the content of a file changes.

    `table` is the index as `measure_index` returns it.
    None where a class has no readable image. Pixels are held for one image a process.
    """
    root = Path(folder)
    kept = cache_file(root, f"averages-{fingerprint(table)[:16]}.npz")
    try:
        return read_averages(kept)
    except (OSError, ValueError):
        pass
    sums: dict[str, list] = {label: [0, 0.0, 0.0] for label in LABELS}
    done = 0
    for counted, parts in in_chunks(_sums, root, list(table["path"]), processes):
        done += counted
        for label, part in parts.items():
            sums[label] = [kept + new for kept, new in zip(sums[label], part, strict=True)]
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
    write_whole(kept, averages_bytes(averages))
    return averages


def save_averages(averages: Averages | None, file: Path) -> None:
    """Write the averages to a bundle's file, unless so few images went in that they show one."""
    if averages and min(averages.images.values()) >= FEWEST:
        file.write_bytes(averages_bytes(averages))


def averages_bytes(averages: Averages) -> bytes:
    """Return the averages as a compressed NPZ of whole tenths of grey levels, about 200 KB."""
    arrays: dict[str, Any] = {}
    for label in LABELS:
        for name, images in (("mean", averages.mean[label]), ("spread", averages.spread[label])):
            arrays[f"{name} {label}"] = np.rint(images * 10).astype(np.uint16)
        arrays[f"images {label}"] = averages.images[label]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_averages(file: str | os.PathLike[str]) -> Averages:
    """Return the averages in a file of `averages_bytes`; OSError or ValueError if it is not one."""
    names = [f"{name} {label}" for name in ("mean", "spread", "images") for label in LABELS]
    try:
        arrays = read_arrays(file, names, _LARGEST_FILE)
    except ValueError:  # a bundle of format 1 counts films
        old = [name.replace("images", "films") for name in names]
        stored = read_arrays(file, old, _LARGEST_FILE)
        arrays = {name.replace("films", "images"): array for name, array in stored.items()}
    images = {label: arrays[f"images {label}"] for label in LABELS}
    grey = {name: array for name, array in arrays.items() if not name.startswith("images")}
    if any(a.shape != INPUT_SIZE or a.dtype != np.uint16 for a in grey.values()) or any(
        count.shape != () or count.dtype.kind not in "iu" for count in images.values()
    ):
        raise ValueError("These arrays are no averages.")
    return Averages(
        {label: grey[f"mean {label}"].astype(np.float32) / 10 for label in LABELS},
        {label: grey[f"spread {label}"].astype(np.float32) / 10 for label in LABELS},
        {label: int(images[label]) for label in LABELS},
    )


def _sums(root: Path, paths: Sequence[str]) -> tuple[int, dict[str, list]]:
    """Return how many paths, and of each class images, sum and sum of squares of their pixels."""
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
