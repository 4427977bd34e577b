"""The Kaggle dataset, fetched through kagglehub, checked, and put where the rest looks for it."""

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
ARCHIVE_BYTES = 2_463_000_000  # about; Kaggle packs every image twice
NEEDED_BYTES = 5_000_000_000  # the archive and what is unpacked from it
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
    """What is used of kagglehub."""

    def dataset_download(self, handle: str) -> str:
        """Fetch a dataset below $KAGGLEHUB_CACHE, going on where it stopped; return its folder."""


def download(
    destination: str | os.PathLike[str] | None = None,
    progress: BytesProgress | None = None,
    *,
    hub: Hub | None = None,
) -> Path:
    """Fetch the Kaggle set to `destination` (`data/chest_xray`) and return the folder.

    A stopped download goes on where it stopped. A set that is there already is checked and
    returned. `progress(bytes so far, about how many in all)` is called from the calling thread
    about twice a second. `hub` stands in for kagglehub in tests.

    Raises DatasetError, which says what to do, when Kaggle cannot be reached or refuses, the disk
    is full, or what arrived is not whole.
    """
    target = Path(destination or DEFAULT_FOLDER).expanduser()
    if _holds_something(target):
        check_download(target)
        return find_dataset(target)
    staging = target.parent / f".{target.name}-download"
    _check_space(target.parent, already=_size(staging))
    unpacked = _fetch(staging, progress, hub)
    if problem := _problem(unpacked):
        shutil.rmtree(staging, ignore_errors=True)
        raise DatasetError(f"{problem} It has been deleted: run `{DOWNLOAD_COMMAND}` again.")
    found = find_dataset(unpacked)
    # Kaggle's archive holds a second copy of the set inside the first.
    shutil.rmtree(found / "chest_xray", ignore_errors=True)
    shutil.rmtree(found / "__MACOSX", ignore_errors=True)
    if target.is_dir():
        target.rmdir()
    shutil.move(found, target)
    shutil.rmtree(staging, ignore_errors=True)
    return target


def check_download(folder: str | os.PathLike[str]) -> None:
    """Raise DatasetError unless `folder` holds all 5,856 images of the set, each a JPEG."""
    if problem := _problem(Path(folder)):
        raise DatasetError(f"{problem} Delete {folder} and run `{DOWNLOAD_COMMAND}` again.")


def _problem(folder: Path) -> str | None:
    try:
        root = find_dataset(folder)
        index = build_index(root)
    except DatasetError as error:
        return f"This is not the Kaggle set: {error}"
    counts: dict[Any, int] = index.groupby(["split", "label"]).size().to_dict()
    for (split, label), wanted in IMAGES.items():
        found = counts.get((split, label), 0)
        if found != wanted:
            return (
                f"The dataset is not whole: {split}/{label} holds {found:,} of {wanted:,} images."
            )
    if broken := _not_jpeg(root, index):
        return f"{len(broken):,} files are damaged, the first is {broken[0]}."
    return None


def _fetch(staging: Path, progress: BytesProgress | None, hub: Hub | None) -> Path:
    """Let kagglehub work in a thread of its own, and report its progress from this one."""
    if not _running.acquire(blocking=False):
        raise DatasetError("A download of the dataset is already running; wait for it to end.")
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            with _kagglehub_keeps_its_files_in(staging):
                library = hub or _kagglehub()
                outcome["folder"] = Path(library.dataset_download(HANDLE))
        except BaseException as error:
            outcome["error"] = error
        finally:
            _running.release()

    # A daemon: Ctrl-C ends the program at once, and what has arrived stays for the next try.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    running = True
    while running:
        worker.join(0.5)
        running = worker.is_alive()
        if progress:
            progress(min(_size(staging), ARCHIVE_BYTES), ARCHIVE_BYTES)
    if error := outcome.get("error"):
        raise _as_sentence(error, staging) from error
    return outcome["folder"]


def _kagglehub() -> Hub:
    import kagglehub

    return kagglehub


@contextmanager
def _kagglehub_keeps_its_files_in(staging: Path) -> Iterator[None]:
    # Its `output_dir` would not do: it refuses a folder that a stopped download left behind.
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


def _as_sentence(error: BaseException, staging: Path) -> DatasetError:
    by_hand = f"or fetch it by hand from {WEB_PAGE}"
    again = f"Run `{DOWNLOAD_COMMAND}` again later, it goes on where it stopped, {by_hand}."
    kind = type(error).__name__
    if isinstance(error, DatasetError):
        return error
    if isinstance(error, ImportError):
        return DatasetError(f"Downloading needs kagglehub: `pip install kagglehub`, {by_hand}.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DatasetError(
            f"The disk is full: the dataset needs about {NEEDED_BYTES / 1e9:.0f} GB at {staging}. "
            "Make room and start the download again; it goes on where it stopped."
        )
    if isinstance(error, PermissionError):
        return DatasetError(f"{staging} cannot be written: choose another destination.")
    if isinstance(error, zipfile.BadZipFile) or kind == "DataCorruptionError":
        shutil.rmtree(staging, ignore_errors=True)
        return DatasetError(
            f"What arrived from Kaggle was damaged and has been deleted. Run `{DOWNLOAD_COMMAND}` "
            "again."
        )
    if kind in ("KaggleApiHTTPError", "UnauthenticatedError", "CredentialError", "HTTPError"):
        return DatasetError(
            f"Kaggle did not hand out the dataset: sign in (see kaggle.com, Settings, API), "
            f"{by_hand}."
        )
    if isinstance(error, OSError):  # all of requests' own errors, too
        return DatasetError(f"Kaggle cannot be reached; is there a way to the internet? {again}")
    return DatasetError(f"The download failed ({kind}). {again}")


def _check_space(folder: Path, already: int) -> None:
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free + already < NEEDED_BYTES:
        raise DatasetError(
            f"The dataset needs about {NEEDED_BYTES / 1e9:.0f} GB, and {folder.resolve()} has "
            f"{free / 1e9:.1f} GB left. Make room, or name another destination."
        )


def _holds_something(folder: Path) -> bool:
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
