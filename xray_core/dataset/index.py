"""A chest_xray folder as one table, with folds that share no patient.

The layout is `FOLDER/{train,val,test}/{NORMAL,PNEUMONIA}/*.{jpeg,jpg,png}` (`val` may be missing).
No pixel is read here; `measure.py` does that.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from xray_core.errors import DatasetError
from xray_core.labels import LABELS

COLUMNS = ("path", "split", "fold", "label", "subtype", "patient", "bytes")
SPLITS = ("train", "val", "test")
FOLDS = ("train", "validation", "test")
SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
ENVIRONMENT_VARIABLE = "CHEST_XRAY_DIR"
DEFAULT_FOLDER = Path("data/chest_xray")
DOWNLOAD_COMMAND = "python -m xray_core download"

_PNEUMONIA_NAME = re.compile(r"person(\d+)_(bacteria|virus)_", re.IGNORECASE)
_NORMAL_NAME = re.compile(r"(NORMAL2-)?IM-(\d+)-", re.IGNORECASE)


def find_dataset(argument: str | os.PathLike[str] | None = None) -> Path:
    """Return the dataset's folder: the argument, else $CHEST_XRAY_DIR, else `data/chest_xray`.

    The folder may also be the parent of a `chest_xray` folder, as an unpacked archive leaves it.
    Raises DatasetError, with the command that downloads the set, where there is none.
    """
    named = argument or os.environ.get(ENVIRONMENT_VARIABLE)
    folder = Path(named).expanduser() if named else DEFAULT_FOLDER
    if not folder.is_dir():
        raise DatasetError(
            f"There is no dataset at {folder}: name its folder with --data or "
            f"{ENVIRONMENT_VARIABLE}, or fetch it with `{DOWNLOAD_COMMAND}`."
        )
    for candidate in (folder, folder / "chest_xray", folder / "chest_xray" / "chest_xray"):
        if any((candidate / split).is_dir() for split in SPLITS):
            return candidate
    raise DatasetError(
        f"{folder} holds no chest X-ray dataset: it needs the folders train and test, each with "
        f"NORMAL and PNEUMONIA; fetch the set with `{DOWNLOAD_COMMAND}`."
    )


def build_index(
    folder: str | os.PathLike[str],
    *,
    validation_share: float = 0.10,
    seed: int = 0,
    check: bool = True,
) -> pd.DataFrame:
    """Return one row per image of `folder`, sorted by path, with the columns COLUMNS.

    `split` is the folder the file lies in. `fold` pools train and val and splits them again by
    patient, stratified by class and subtype, with about `validation_share` of the images in
    validation; test stays test. Images that are byte for byte equal stay in one fold. The folds
    depend on the names, the equal files and the seed alone, not on the order of listing.

    Raises DatasetError for a missing or empty folder, and, unless `check` is off, for a patient
    whose images lie in two folds.
    """
    root = find_dataset(folder)
    index = pd.DataFrame(list_images(root))
    index["patient"] = [patient_key(path) for path in index["path"]]
    index["subtype"] = [
        subtype_of(path) if label == "PNEUMONIA" else "none"
        for path, label in zip(index["path"], index["label"], strict=True)
    ]
    index = index.sort_values("path", ignore_index=True)
    index["fold"] = _folds(index, _linked_patients(root, index), validation_share, seed)
    index = index[list(COLUMNS)]
    if check:
        check_folds(index)
    return index


def list_images(root: Path) -> list[dict[str, str | int]]:
    """Return path (relative to `root`), split, label, bytes and `stamp` of each image.

    Stray files are stepped over. Raises DatasetError as `build_index` does.
    """
    return [
        image
        for split in _present_splits(root)
        for label in LABELS
        for image in _images(root, split, label)
    ]


def patient_key(filename: str) -> str:
    """Return the patient a file belongs to, as a text that no other patient shares.

    The key is the prefix and the number, because the numbering of Kaggle's files restarts for
    each prefix: `person7_bacteria_20.jpeg` -> "bacteria-7", `NORMAL2-IM-0381-0001.jpeg` ->
    "NORMAL2-IM-0381", `IM-0115-0001.jpeg` -> "IM-0115". A name of another pattern says nothing
    about patients: the image then counts as a patient of its own, and the key is `filename` whole.
    """
    name = filename.rpartition("/")[2]
    if match := _PNEUMONIA_NAME.match(name):
        return f"{match[2].lower()}-{match[1]}"
    if match := _NORMAL_NAME.match(name):
        return f"{(match[1] or '').upper()}IM-{match[2]}"
    return filename


def subtype_of(filename: str) -> str:
    """Return "bacteria" or "virus" where the file's name says so, else "none"."""
    match = _PNEUMONIA_NAME.match(filename.rpartition("/")[2])
    return match[2].lower() if match else "none"


def check_folds(index: pd.DataFrame) -> None:
    """Raise DatasetError if a patient's images lie in more than one fold."""
    folds = index.groupby("patient", sort=True)["fold"].nunique()
    shared = folds[folds > 1].index
    if len(shared):
        raise DatasetError(
            f"{len(shared)} patient(s) have images in more than one fold, so results would be too "
            f"good to be true; the first is {shared[0]}. Move each patient's images into one split."
        )


def fingerprint(table: pd.DataFrame) -> str:
    """Return a SHA-256 (hex) over every file's path and content: equal for equal sets of files.

    `table` is the index as `measure_index` returns it, with the column `sha256`.
    """
    digest = hashlib.sha256()
    for path, content in sorted(zip(table["path"], table["sha256"], strict=True)):
        digest.update(f"{path}\0{content}\n".encode())
    return digest.hexdigest()


def limited(index: pd.DataFrame, n: int, seed: int = 0) -> pd.DataFrame:
    """Return at most `n` images of each class and fold, drawn by chance with `seed`."""
    order = index["path"].map(lambda path: _draw(seed, path)).sort_values().index
    chosen = index.loc[order].groupby(["fold", "label"]).head(n)
    return chosen.sort_values("path", ignore_index=True)


def _present_splits(root: Path) -> list[str]:
    missing = [split for split in ("train", "test") if not (root / split).is_dir()]
    if missing:
        raise DatasetError(
            f"{root} lacks the folder {' and '.join(missing)}: a dataset has train and test, each "
            "with NORMAL and PNEUMONIA."
        )
    return [split for split in SPLITS if (root / split).is_dir()]


def _images(root: Path, split: str, label: str) -> list[dict[str, str | int]]:
    folder = root / split / label
    if not folder.is_dir():
        raise DatasetError(
            f"{root / split} holds no folder {label}: both classes, NORMAL and PNEUMONIA, are "
            "needed in every split."
        )
    try:
        with os.scandir(folder) as entries:
            images = [
                _image(entry, split, label)
                for entry in entries
                if not entry.name.startswith(".")
                and os.path.splitext(entry.name)[1].lower() in SUFFIXES
                and entry.is_file()
            ]
    except OSError:
        raise DatasetError(
            f"{folder} cannot be read: give this program the right to list it."
        ) from None
    if not images:
        raise DatasetError(
            f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}): every class folder needs "
            "at least one."
        )
    return images


def _image(entry: os.DirEntry[str], split: str, label: str) -> dict[str, str | int]:
    status = entry.stat()
    return {
        "path": f"{split}/{label}/{entry.name}",
        "split": split,
        "label": label,
        "bytes": status.st_size,
        "stamp": stamp_of(status),
    }


def stamp_of(status: os.stat_result) -> str:
    """Return a text that changes when a file does: times of change, and which file it is.

    The second time is the file system's own. It changes with any writing, even one that keeps the
    size and sets the first time back.
    """
    return f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _linked_patients(root: Path, index: pd.DataFrame) -> pd.Series:
    """Return each row's group: its patient, or one name for patients who share an equal file.

    Only files of equal size can be equal, so only those are read.
    """
    from scipy.cluster.hierarchy import DisjointSet  # a fifth of a second, not for all who import

    linked = DisjointSet(index["patient"].unique())
    pool = index[index["split"] != "test"]
    for first, *others in _patients_of_equal_files(root, pool):
        for other in others:
            linked.merge(first, other)
    # The folds are drawn by these names: of linked patients the first in the alphabet stands.
    name = {
        patient: min(members)
        for members in linked.subsets()
        if len(members) > 1
        for patient in members
    }
    return index["patient"].map(lambda patient: name.get(patient, patient))


def _patients_of_equal_files(root: Path, rows: pd.DataFrame) -> Iterable[Sequence[str]]:
    # Empty files are damaged, not equal: two of them link no patients.
    alike = rows[rows.duplicated("bytes", keep=False) & (rows["bytes"] > 0)]
    by_content: dict[bytes, list[str]] = {}
    for path, patient in zip(alike["path"], alike["patient"], strict=True):
        try:
            with open(os.path.join(root, path), "rb") as file:
                content = hashlib.sha256(file.read()).digest()
        except OSError:  # whoever reads the images names those that cannot be read
            continue
        by_content.setdefault(content, []).append(patient)
    return [patients for patients in by_content.values() if len(set(patients)) > 1]


def _folds(index: pd.DataFrame, group: pd.Series, share: float, seed: int) -> list[str]:
    """Return each row's fold; the groups of a stratum go to validation by a seeded draw."""
    pool = index.assign(group=group)[index["split"] != "test"]
    strata = pool.groupby("group", sort=True)[["label", "subtype"]].first()
    sizes = Counter(pool["group"])
    validation: set[str] = set()
    for _, stratum in strata.groupby(["label", "subtype"], sort=True):
        drawn = sorted(stratum.index, key=lambda name: _draw(seed, name))
        validation.update(_fill(drawn, sizes, share))
    return [
        "test" if split == "test" else "validation" if name in validation else "train"
        for split, name in zip(index["split"], group, strict=True)
    ]


def _fill(drawn: Sequence[str], sizes: Mapping[str, int], share: float) -> list[str]:
    """Return the first groups whose images fit into `share` of all; one at least where two are."""
    target = round(share * sum(sizes[name] for name in drawn))
    chosen: list[str] = []
    images = 0
    for name in drawn:
        if images + sizes[name] <= target:
            chosen.append(name)
            images += sizes[name]
    if not chosen and share > 0 and len(drawn) > 1:
        chosen = [min(drawn, key=sizes.__getitem__)]
    return chosen


def _draw(seed: int, name: str) -> str:
    """Return a hash to sort by: a shuffle that no other file's presence changes."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
