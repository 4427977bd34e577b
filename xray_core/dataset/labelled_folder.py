"""A folder of labelled images to evaluate a model on: a dataset, a split or class folders."""

import os
from pathlib import Path

import pandas as pd

from xray_core.dataset.index import SPLITS, SUFFIXES, patient_key, subtype_of
from xray_core.errors import DatasetError
from xray_core.labels import LABELS


def index_labelled(folder: str | os.PathLike[str]) -> tuple[Path, pd.DataFrame]:
    """Return the folder that the paths start from, and one row per image of one evaluation.

    `folder` holds NORMAL and PNEUMONIA, or splits (test, train, val) that hold them, or is the
    parent of such a folder called chest_xray. Where there is a test split, only its images are
    used. Columns: path, fold ("own" without splits), label, subtype, patient; sorted by path.

    Raises:
        DatasetError: no image lies in such a place.
    """
    given = Path(folder)
    for root in (given, given / "chest_xray", given / "chest_xray" / "chest_xray"):
        for splits in (("test",), tuple(s for s in SPLITS if s != "test"), ("",)):
            rows = [
                row for split in splits for label in LABELS for row in _rows(root, split, label)
            ]
            if rows:
                return root, pd.DataFrame(rows).sort_values("path", ignore_index=True)
    raise DatasetError(
        "This folder holds no labelled image: it needs the folders NORMAL and PNEUMONIA, by "
        f"themselves or inside test, with images ({', '.join(sorted(SUFFIXES))})."
    )


def _rows(root: Path, split: str, label: str) -> list[dict[str, str]]:
    try:
        with os.scandir(root / split / label) as entries:
            names = [
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and os.path.splitext(entry.name)[1].lower() in SUFFIXES
                and entry.is_file()
            ]
    except OSError:
        return []
    paths = [f"{split}/{label}/{name}".lstrip("/") for name in names]
    return [
        {
            "path": path,
            "fold": split or "own",
            "label": label,
            "subtype": subtype_of(path) if label == "PNEUMONIA" else "none",
            "patient": patient_key(path),
        }
        for path in paths
    ]
