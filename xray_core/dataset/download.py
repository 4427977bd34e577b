"""Download of the Kaggle dataset through kagglehub, with a check of its content."""

import errno
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from xray_core.dataset.index import DEFAULT_FOLDER, DOWNLOAD_COMMAND, build_index, find_dataset
from xray_core.errors import DatasetError

HANDLE = "paultimothymooney/chest-xray-pneumonia"
WEB_PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
LICENCE = "CC BY 4.0, Kermany et al., Cell 2018"
ARCHIVE_BYTES = 2_463_000_000  # approximate; the archive contains every image twice
NEEDED_BYTES = 5_000_000_000  # the archive and its unpacked content
IMAGES = {
    ("train", "NORMAL"): 1341,
    ("train", "PNEUMONIA"): 3875,
    ("val", "NORMAL"): 8,
    ("val", "PNEUMONIA"): 8,
    ("test", "NORMAL"): 234,
    ("test", "PNEUMONIA"): 390,
}
_JPEG_START = b"\xff\xd8"
_STAGING_VARIABLE = "KAGGLEHUB_CACHE"  # where kagglehub keeps archives, whole and partial
_running = threading.Lock()

BytesProgress = Callable[[int, int], None]


class Hub(Protocol):
    """The function of kagglehub that is used here."""

    def dataset_download(self, handle: str) -> str:
        """Download a dataset to $KAGGLEHUB_CACHE, or resume; return its folder."""


def download(
    destination: str | os.PathLike[str] | None = None,
    progress: BytesProgress | None = None,
    *,
    hub: Hub | None = None,
) -> Path:
    """Download the Kaggle dataset; a stopped download resumes.

    A dataset that is already present is checked and returned.

    Parameters
    ----------
    destination : path-like, optional
        The folder; by default `data/chest_xray`.
    progress : callable, optional
        Called as `progress(bytes_received, bytes_total)` from the calling thread, twice a second.
        The total is approximate.
    hub : Hub, optional
        Replaces kagglehub in tests.

    Returns
    -------
    pathlib.Path
        The folder that contains the splits.

    Raises
    ------
    DatasetError
        Kaggle cannot be reached or denies access, the disk is full, or the dataset is incomplete.
        The message says what to do.
    """
    target = Path(destination or DEFAULT_FOLDER).expanduser()
    if _has_content(target):
        check_download(target)
        return find_dataset(target)
    staging = target.parent / f".{target.name}-download"
    _check_space(target.parent, already=_size(staging))
    unpacked = _fetch(staging, progress, hub)
    if problem := _problem(unpacked):
        shutil.rmtree(staging, ignore_errors=True)
        raise DatasetError(f"{problem} It has been deleted: run `{DOWNLOAD_COMMAND}` again.")
    dataset = find_dataset(unpacked)
    # Kaggle's archive contains a second copy of the dataset inside the first.
    shutil.rmtree(dataset / "chest_xray", ignore_errors=True)
    shutil.rmtree(dataset / "__MACOSX", ignore_errors=True)
    if target.is_dir():
        target.rmdir()
    shutil.move(dataset, target)
    shutil.rmtree(staging, ignore_errors=True)
    return target


def check_download(folder: str | os.PathLike[str]) -> None:
    """Check that a folder contains all 5,856 images of the dataset, each a JPEG file.

    Parameters
    ----------
    folder : path-like
        The dataset's folder.

    Raises
    ------
    DatasetError
        Files are missing or damaged.
    """
    if problem := _problem(Path(folder)):
        raise DatasetError(f"{problem} Delete {folder} and run `{DOWNLOAD_COMMAND}` again.")


def _problem(folder: Path) -> str | None:
    try:
        root = find_dataset(folder)
        index = build_index(root)
    except DatasetError as error:
        return f"This is not the Kaggle dataset: {error}"
    counts: dict[Any, int] = index.groupby(["split", "label"]).size().to_dict()
    for (split, label), expected in IMAGES.items():
        present = counts.get((split, label), 0)
        if present != expected:
            return (
                f"The dataset is incomplete: {split}/{label} contains {present:,} of {expected:,} "
                "images."
            )
    if broken := _not_jpeg(root, index):
        return f"{len(broken):,} files are damaged, the first is {broken[0]}."
    return None


def _fetch(staging: Path, progress: BytesProgress | None, hub: Hub | None) -> Path:
    """Run kagglehub in a thread, and report its progress from this one."""
    if not _running.acquire(blocking=False):
        raise DatasetError("A download of the dataset is already running; wait for it to end.")
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            with _kagglehub_cache(staging):
                library = hub or _kagglehub()
                outcome["folder"] = Path(library.dataset_download(HANDLE))
        except BaseException as error:
            outcome["error"] = error
        finally:
            _running.release()

    # A daemon thread: Ctrl-C ends the program at once, and the partial download is kept.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    running = True
    while running:
        worker.join(0.5)
        running = worker.is_alive()
        if progress:
            progress(min(_size(staging), ARCHIVE_BYTES), ARCHIVE_BYTES)
    if error := outcome.get("error"):
        raise _download_error(error, staging) from error
    return outcome["folder"]


def _kagglehub() -> Hub:
    import kagglehub

    return kagglehub


@contextmanager
def _kagglehub_cache(staging: Path) -> Iterator[None]:
    # Its option `output_dir` does not accept a folder with a partial download.
    before = os.environ.get(_STAGING_VARIABLE)
    staging.mkdir(parents=True, exist_ok=True)
    os.environ[_STAGING_VARIABLE] = str(staging.resolve())
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_STAGING_VARIABLE, None)
        else:
            os.environ[_STAGING_VARIABLE] = before


def _download_error(error: BaseException, staging: Path) -> DatasetError:
    manually = f"or download it manually from {WEB_PAGE}"
    again = f"Run `{DOWNLOAD_COMMAND}` again later to resume, {manually}."
    kind = type(error).__name__
    if isinstance(error, DatasetError):
        return error
    if isinstance(error, ImportError):
        return DatasetError(f"Downloading needs kagglehub: `pip install kagglehub`, {manually}.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DatasetError(
            f"The disk is full: the dataset needs about {NEEDED_BYTES / 1e9:.0f} GB at {staging}. "
            "Free disk space and start the download again; it resumes."
        )
    if isinstance(error, PermissionError):
        return DatasetError(f"{staging} cannot be written: choose another destination.")
    if isinstance(error, zipfile.BadZipFile) or kind == "DataCorruptionError":
        shutil.rmtree(staging, ignore_errors=True)
        return DatasetError(
            f"The downloaded archive was damaged and has been deleted. Run `{DOWNLOAD_COMMAND}` "
            "again."
        )
    if kind in ("KaggleApiHTTPError", "UnauthenticatedError", "CredentialError", "HTTPError"):
        return DatasetError(
            f"Kaggle denied access to the dataset: sign in (see kaggle.com, Settings, API), "
            f"{manually}."
        )
    if isinstance(error, OSError):  # includes the errors of requests
        return DatasetError(f"Kaggle cannot be reached: check the internet connection. {again}")
    return DatasetError(f"The download failed ({kind}). {again}")


def _check_space(folder: Path, already: int) -> None:
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free + already < NEEDED_BYTES:
        raise DatasetError(
            f"The dataset needs about {NEEDED_BYTES / 1e9:.0f} GB, and {folder.resolve()} has "
            f"{free / 1e9:.1f} GB free. Free disk space, or choose another destination."
        )


def _has_content(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(place, name))
            except OSError:  # renamed since it was listed
                continue
    return total


def _not_jpeg(root: Path, index: pd.DataFrame) -> list[str]:
    broken = []
    for path in index["path"]:
        with open(root / path, "rb") as file:
            if file.read(2) != _JPEG_START:
                broken.append(path)
    return broken
