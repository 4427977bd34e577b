"""The index of a dataset folder: one row per image, in folds that share no patient.

The layout is `FOLDER/{train,val,test}/{NORMAL,PNEUMONIA}/*.{jpeg,jpg,png}` (`val` may be missing).
Pixels are not read here; `measure.py` reads them.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """Find the dataset's folder: the argument, else $CHEST_XRAY_DIR, else `data/chest_xray`.

    Parameters
    ----------
    argument : path-like, optional
        The folder, or the parent of a `chest_xray` folder, as an unpacked archive has it.

    Returns
    -------
    pathlib.Path
        The folder that contains the splits.

    Raises
    ------
    DatasetError
        There is no dataset; the message includes the download command.
    """
    named = argument or os.environ.get(ENVIRONMENT_VARIABLE)
    folder = Path(named).expanduser() if named else DEFAULT_FOLDER
    if not folder.is_dir():
        raise DatasetError(
            f"There is no dataset at {folder}: set its folder with --data or "
            f"{ENVIRONMENT_VARIABLE}, or download it with `{DOWNLOAD_COMMAND}`."
        )
    for candidate in (folder, folder / "chest_xray", folder / "chest_xray" / "chest_xray"):
        if any((candidate / split).is_dir() for split in SPLITS):
            return candidate
    raise DatasetError(
        f"{folder} contains no chest X-ray dataset: the folders train and test are required, each "
        f"with NORMAL and PNEUMONIA. Download the dataset with `{DOWNLOAD_COMMAND}`."
    )


def build_index(
    folder: str | os.PathLike[str],
    *,
    validation_share: float = 0.10,
    seed: int = 0,
    held_out: tuple[int, int] | None = None,
    check: bool = True,
) -> pd.DataFrame:
    """List the images of a dataset and assign them to folds.

    The train and val folders are pooled and split again by patient, stratified by class and
    subtype; test stays test. Byte-for-byte copies stay in one fold. The folds depend only on the
    file names, the copies and the seed, not on the order of listing.

    Parameters
    ----------
    folder : path-like
        The dataset's folder, as for `find_dataset`.
    validation_share : float
        Share of the pooled images in the validation fold, in [0, 1].
    seed : int
        Seed of the split.
    held_out : tuple of int, optional
        (k, n) for run k of a cross-validation in n parts, counted from 1: the images of the test
        folder are left out, part k of the others is the fold "test", and the remaining parts are
        split into "train" and "validation". The parts share no patient, and each image is in one.
    check : bool
        Raise an error if a patient has images in two folds.

    Returns
    -------
    pandas.DataFrame
        One row per image, sorted by path, with the columns COLUMNS; `split` is the folder of the
        file, `fold` is "train", "validation" or "test".

    Raises
    ------
    DatasetError
        A folder is missing or empty, a patient has images in two folds, or a class has fewer
        patients than a cross-validation has parts.
    """
    root = find_dataset(folder)
    index = pd.DataFrame(list_images(root))
    index["patient"] = [patient_key(path) for path in index["path"]]
    index["subtype"] = [
        subtype_of(path) if label == "PNEUMONIA" else "none"
        for path, label in zip(index["path"], index["label"], strict=True)
    ]
    index = index.sort_values("path", ignore_index=True)
    group = _linked_patients(root, index)
    tested = index["split"] == "test"
    if held_out is not None:
        index, group = index[~tested].reset_index(drop=True), group[~tested].reset_index(drop=True)
        number, parts = held_out
        tested = _parts(index, group, parts, seed) == number
    index["fold"] = _folds(index, group, tested, validation_share, seed)
    index = index[list(COLUMNS)]
    if check:
        check_folds(index)
    return index


def index_labelled(folder: str | os.PathLike[str]) -> tuple[Path, pd.DataFrame]:
    """List the labelled images of a folder on which a model is to be evaluated.

    Parameters
    ----------
    folder : path-like
        Contains NORMAL and PNEUMONIA, or splits (test, train, val) with them, or a folder
        `chest_xray` of this kind. If there is a test split, only its images are used.

    Returns
    -------
    root : pathlib.Path
        The folder that the paths are relative to.
    index : pandas.DataFrame
        One row per image, sorted by path, with the columns path, fold ("own" without splits),
        label, subtype and patient.

    Raises
    ------
    DatasetError
        No labelled image was found.
    """
    given = Path(folder)
    for root in (given, given / "chest_xray", given / "chest_xray" / "chest_xray"):
        for splits in (("test",), tuple(s for s in SPLITS if s != "test"), ("",)):
            rows = [
                row
                for split in splits
                for label in LABELS
                for row in _labelled_rows(root, split, label)
            ]
            if rows:
                return root, pd.DataFrame(rows).sort_values("path", ignore_index=True)
    raise DatasetError(
        "This folder contains no labelled image: the folders NORMAL and PNEUMONIA are required, "
        "directly or inside a folder test, with images "
        f"({', '.join(sorted(SUFFIXES))})."
    )


def list_images(root: Path) -> list[dict[str, str | int]]:
    """List the image files of a dataset; other files are ignored.

    Parameters
    ----------
    root : pathlib.Path
        The folder that contains the splits.

    Returns
    -------
    list of dict
        path (relative to `root`), split, label, bytes, and `stamp` (see `file_stamp`).

    Raises
    ------
    DatasetError
        A folder is missing, empty or not readable.
    """
    return [
        image
        for split in _present_splits(root)
        for label in LABELS
        for image in _images(root, split, label)
    ]


def patient_key(filename: str) -> str:
    """Derive the patient key from a file name.

    The key is the prefix and the number, because the numbering of Kaggle's files restarts for each
    prefix: `person7_bacteria_20.jpeg` -> "bacteria-7", `NORMAL2-IM-0381-0001.jpeg` ->
    "NORMAL2-IM-0381", `IM-0115-0001.jpeg` -> "IM-0115". For any other pattern the image counts as
    a patient of its own.

    Parameters
    ----------
    filename : str
        Name or path of the file.

    Returns
    -------
    str
        The key; `filename` for other patterns.
    """
    name = filename.rpartition("/")[2]
    if match := _PNEUMONIA_NAME.match(name):
        return f"{match[2].lower()}-{match[1]}"
    if match := _NORMAL_NAME.match(name):
        return f"{(match[1] or '').upper()}IM-{match[2]}"
    return filename


def subtype_of(filename: str) -> str:
    """Derive the subtype of pneumonia from a file name.

    Parameters
    ----------
    filename : str
        Name or path of the file.

    Returns
    -------
    str
        "bacteria", "virus" or "none".
    """
    match = _PNEUMONIA_NAME.match(filename.rpartition("/")[2])
    return match[2].lower() if match else "none"


def check_folds(index: pd.DataFrame) -> None:
    """Check that no patient has images in more than one fold.

    Parameters
    ----------
    index : pandas.DataFrame
        With the columns `patient` and `fold`.

    Raises
    ------
    DatasetError
        A patient has images in more than one fold.
    """
    folds = index.groupby("patient", sort=True)["fold"].nunique()
    shared = folds[folds > 1].index
    if len(shared):
        raise DatasetError(
            f"{len(shared)} patient(s) have images in more than one fold, so results would be too "
            f"optimistic; the first is {shared[0]}. Move each patient's images into one split."
        )


def fingerprint(table: pd.DataFrame) -> str:
    """Compute a SHA-256 over the path and content of all files.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns `path` and `sha256`, as `measure_index` returns it.

    Returns
    -------
    str
        64 hex digits; equal for equal sets of files.
    """
    digest = hashlib.sha256()
    for path, content in sorted(zip(table["path"], table["sha256"], strict=True)):
        digest.update(f"{path}\0{content}\n".encode())
    return digest.hexdigest()


def limit_index(index: pd.DataFrame, n: int, seed: int = 0) -> pd.DataFrame:
    """Draw at most `n` images of each class and fold at random.

    Parameters
    ----------
    index : pandas.DataFrame
        As `build_index` returns it.
    n : int
        Largest number of images per class and fold.
    seed : int
        Seed of the draw.

    Returns
    -------
    pandas.DataFrame
        The rows drawn, sorted by path.
    """
    order = index["path"].map(lambda path: _draw(seed, path)).sort_values().index
    drawn = index.loc[order].groupby(["fold", "label"]).head(n)
    return drawn.sort_values("path", ignore_index=True)


def _present_splits(root: Path) -> list[str]:
    missing = [split for split in ("train", "test") if not (root / split).is_dir()]
    if missing:
        raise DatasetError(
            f"{root} has no folder {' and '.join(missing)}: train and test are required, each with "
            "NORMAL and PNEUMONIA."
        )
    return [split for split in SPLITS if (root / split).is_dir()]


def _images(root: Path, split: str, label: str) -> list[dict[str, str | int]]:
    folder = root / split / label
    if not folder.is_dir():
        raise DatasetError(
            f"{root / split} has no folder {label}: both classes, NORMAL and PNEUMONIA, are "
            "required in every split."
        )
    try:
        images = [_image(entry, split, label) for entry in _image_files(folder)]
    except OSError:
        raise DatasetError(f"{folder} cannot be read: check its permissions.") from None
    if not images:
        raise DatasetError(
            f"{folder} contains no image ({', '.join(sorted(SUFFIXES))}): every class folder needs "
            "at least one."
        )
    return images


def _labelled_rows(root: Path, split: str, label: str) -> list[dict[str, str]]:
    try:
        names = [entry.name for entry in _image_files(root / split / label)]
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


def _image_files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The image files of a folder, by suffix; hidden files are left out."""
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if not entry.name.startswith(".") and suffix in SUFFIXES and entry.is_file():
                yield entry


def _image(entry: os.DirEntry[str], split: str, label: str) -> dict[str, str | int]:
    status = entry.stat()
    return {
        "path": f"{split}/{label}/{entry.name}",
        "split": split,
        "label": label,
        "bytes": status.st_size,
        "stamp": file_stamp(status),
    }


def file_stamp(status: os.stat_result) -> str:
    """Build a text that changes when a file changes: modification time, change time and inode.

    The change time is set by the file system on every write, even if the size stays the same and
    the modification time is reset.

    Parameters
    ----------
    status : os.stat_result
        Status of the file.

    Returns
    -------
    str
    """
    return f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _linked_patients(root: Path, index: pd.DataFrame) -> pd.Series:
    """Each row's group: its patient, or one name for patients with a byte-for-byte copy in common.

    Only files of equal size are read.
    """
    from scipy.cluster.hierarchy import DisjointSet  # imported here: it takes 0.2 s

    linked = DisjointSet(index["patient"].unique())
    pool = index[index["split"] != "test"]
    for first, *others in _patients_of_equal_files(root, pool):
        for other in others:
            linked.merge(first, other)
    # The folds are drawn by these names; linked patients use the alphabetically first one.
    name = {
        patient: min(members)
        for members in linked.subsets()
        if len(members) > 1
        for patient in members
    }
    return index["patient"].map(lambda patient: name.get(patient, patient))


def _patients_of_equal_files(root: Path, rows: pd.DataFrame) -> Iterable[Sequence[str]]:
    # Empty files are damaged, not copies: they do not link patients.
    candidates = rows[rows.duplicated("bytes", keep=False) & (rows["bytes"] > 0)]
    by_content: dict[bytes, list[str]] = {}
    for path, patient in zip(candidates["path"], candidates["patient"], strict=True):
        try:
            with open(os.path.join(root, path), "rb") as file:
                content = hashlib.sha256(file.read()).digest()
        except OSError:  # reported when the images are read
            continue
        by_content.setdefault(content, []).append(patient)
    return [patients for patients in by_content.values() if len(set(patients)) > 1]


def _folds(
    index: pd.DataFrame, group: pd.Series, tested: pd.Series, share: float, seed: int
) -> list[str]:
    """The fold of each row; within a stratum, groups are drawn for validation with the seed."""
    sizes = Counter(group[~tested])
    validation: set[str] = set()
    for stratum in _strata(index[~tested], group[~tested]):
        drawn = sorted(stratum, key=lambda name: _draw(seed, name))
        validation.update(_fill(drawn, sizes, share))
    return [
        "test" if is_tested else "validation" if name in validation else "train"
        for is_tested, name in zip(tested, group, strict=True)
    ]


def _parts(index: pd.DataFrame, group: pd.Series, parts: int, seed: int) -> pd.Series:
    """The part of each row, from 1; the parts of a stratum have about as many images each."""
    few = group.groupby(index["label"]).nunique()
    if few.min() < parts:
        raise DatasetError(
            f"{parts} folds need at least {parts} patients of each class, and {few.idxmin()} has "
            f"{few.min()}: choose fewer."
        )
    sizes = Counter(group)
    part: dict[str, int] = {}
    whole = dict.fromkeys(range(1, parts + 1), 0)
    for stratum in _strata(index, group):
        filled = dict.fromkeys(whole, 0)
        # Another order than that of the validation fold, which would be drawn from few parts.
        for name in sorted(stratum, key=lambda name: _draw(seed, f"part/{name}")):
            part[name] = min(whole, key=lambda number: (filled[number], whole[number]))
            filled[part[name]] += sizes[name]
            whole[part[name]] += sizes[name]
    return group.map(part)


def _strata(index: pd.DataFrame, group: pd.Series) -> list[list[str]]:
    """The groups by class and subtype."""
    first = index.assign(group=group).groupby("group", sort=True)[["label", "subtype"]].first()
    return [list(rows.index) for _, rows in first.groupby(["label", "subtype"], sort=True)]


def _fill(drawn: Sequence[str], sizes: Mapping[str, int], share: float) -> list[str]:
    """Groups for validation, in order, up to `share` of the images; at least one of two or more."""
    target = round(share * sum(sizes[name] for name in drawn))
    selected: list[str] = []
    images = 0
    for name in drawn:
        if images + sizes[name] <= target:
            selected.append(name)
            images += sizes[name]
    if not selected and share > 0 and len(drawn) > 1:
        selected = [min(drawn, key=sizes.__getitem__)]
    return selected


def _draw(seed: int, name: str) -> str:
    """A hash to sort by: a random order that does not depend on which other files exist."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()
