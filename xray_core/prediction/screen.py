"""Predicting a folder of images into a CSV table with one row per file; resumable.

The table is only appended to, one whole row at a time, so that a run that was killed loses no
result and repeats none. Each row is one line: control characters in names are escaped.
"""

import csv
import hashlib
import io
import os
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xray_core.errors import XrayError
from xray_core.prediction.predictor import Prediction, Predictor
from xray_core.spreadsheet import cell

RESULT_COLUMNS = (
    "shown_as",
    "verdict",
    "probability",
    "probability_note",
    "sentence",
    "gate",
    "map_in_lungs",
    "reasons",
    "adjustment",
    "model",
)
COLUMNS = ("file", *RESULT_COLUMNS)
IGNORED = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini", "DICOMDIR"})

_HEADER = ",".join(f'"{name}"' for name in COLUMNS).encode() + b"\n"


class _File(NamedTuple):
    """A file or, if `problem` is set, a folder that cannot be opened."""

    path: Path
    name: str
    problem: str | None = None


def screen(
    folder: str | Path,
    out: str | Path,
    predictor: Predictor,
    *,
    progress: bool = True,
    batch_size: int = 32,
) -> Counter[str]:
    """Predict every file below a folder into a CSV table.

    Hidden files and the files of file managers get no row. A file that cannot be read, and a folder
    that cannot be opened, get a row with the reason. Memory holds two batches of model inputs and 8
    bytes per row.

    Parameters
    ----------
    folder
        The folder of images.
    out
        The table, with the columns COLUMNS; `file` is the path below `folder`. Files that it
        already lists are skipped.
    predictor
        The model.
    progress
        Whether to draw a progress bar.
    batch_size
        Number of images in one forward pass.

    Returns
    -------
    collections.Counter
        Number of rows of the table by verdict.

    Raises
    ------
    XrayError
        `folder` is missing, `out` cannot be written, or `out` was started by another model or
        another program.
    """
    root, table = Path(folder), Path(out)
    if not root.is_dir():
        raise XrayError(f"There is no folder at {root}: name the folder that holds the images.")
    done, counts = _read_table(table, predictor.model)
    try:
        with table.open("ab") as file:
            if file.tell() == 0:
                file.write(_HEADER)
            own = os.fstat(file.fileno())
            todo: Iterator[_File] = (
                image for image in _walk(root, own) if _digest(cell(image.name)) not in done
            )
            if progress:
                todo = _with_bar(todo, len(done), sum(1 for _ in _walk(root, own)))
            for number, (name, prediction) in enumerate(_predict(todo, predictor, batch_size), 1):
                file.write(_line(name, prediction))
                file.flush()  # a killed run keeps what was flushed, a power cut what was synced
                if number % batch_size == 0:
                    os.fsync(file.fileno())
                counts[prediction.verdict] += 1
            os.fsync(file.fileno())
    except OSError as error:
        raise XrayError(f"The table {table} cannot be written: {error.strerror}.") from error
    return counts


def _read_table(table: Path, model: str) -> tuple[set[bytes], Counter[str]]:
    """Return digests of the listed names and counts of verdicts; cut an incomplete last line."""
    done: set[bytes] = set()
    counts: Counter[str] = Counter()
    if not table.exists():
        return done, counts
    try:
        with table.open("r+b") as file:
            header = file.readline()
            if not header.endswith(b"\n") and _HEADER.startswith(header):
                file.truncate(0)
                return done, counts
            if header != _HEADER:
                raise XrayError(
                    f"{table} was not started by this command. Nothing was changed; name another "
                    " file with --out."
                )
            whole = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(whole)
                    break
                whole += len(line)
                row = dict(zip(COLUMNS, next(csv.reader([line.decode()])), strict=True))
                if row["model"] != cell(model):
                    raise XrayError(
                        f"{table} was started by the model {row['model']}, not by {model}. Nothing "
                        "was changed; name another file with --out, or the other model with "
                        "--model."
                    )
                done.add(_digest(row["file"]))
                counts[row["verdict"]] += 1
    except (ValueError, StopIteration) as error:
        raise XrayError(f"{table} has a damaged row; name another file with --out.") from error
    except OSError as error:
        raise XrayError(f"The table {table} cannot be opened: {error.strerror}.") from error
    return done, counts


def _walk(root: Path, table: os.stat_result) -> Iterator[_File]:
    """Yield the files below `root` except `table`, in a fixed order; each folder once, also links.

    The open folders are kept in a list, so that the nesting may have any depth.
    """
    seen: set[tuple[int, int]] = set()

    def list_entries(folder: Path) -> Iterator[os.DirEntry[str]] | None:
        """Entries of a folder, None where it was listed before; raises OSError."""
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return None
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: os.fsencode(entry.name)))

    def open_folder(folder: Path, prefix: str) -> Iterator[_File]:
        """Add a folder to the open ones, or yield the reason why it cannot be opened."""
        try:
            entries = list_entries(folder)
        except OSError:
            yield _File(folder, prefix or ".", "This folder cannot be opened.")
        else:
            if entries is not None:
                open_folders.append((entries, prefix))

    open_folders: list[tuple[Iterator[os.DirEntry[str]], str]] = []
    yield from open_folder(root, "")
    while open_folders:
        entries, prefix = open_folders[-1]
        entry = next(entries, None)
        if entry is None:
            open_folders.pop()
        elif entry.name.startswith(".") or entry.name in IGNORED:
            continue
        elif _is_folder(entry):
            yield from open_folder(Path(entry.path), f"{prefix}{entry.name}/")
        elif not (entry.inode() == table.st_ino and os.path.samestat(entry.stat(), table)):
            yield _File(Path(entry.path), f"{prefix}{entry.name}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _with_bar(todo: Iterator[_File], done: int, total: int) -> Iterator[_File]:
    from tqdm import tqdm

    bar = tqdm(todo, total=max(total, done), initial=done, unit="image", smoothing=0.05)
    return iter(bar)


def _predict(
    todo: Iterator[_File], predictor: Predictor, batch_size: int
) -> Iterator[tuple[str, Prediction]]:
    waiting: deque[_File] = deque()

    def sources() -> Iterator[Path]:
        for file in todo:
            waiting.append(file)
            if file.problem is None:
                yield file.path

    def unopened_folders() -> Iterator[tuple[str, Prediction]]:
        while waiting and (problem := waiting[0].problem) is not None:
            name = waiting.popleft().name
            yield name, Prediction(None, "UNREADABLE", (problem,), model=predictor.model)

    for prediction in predictor.predict_many(sources(), batch_size=batch_size):
        yield from unopened_folders()
        yield waiting.popleft().name, prediction
    yield from unopened_folders()


def result_cells(prediction: Prediction) -> list[str | float]:
    """Return a prediction as the cells of RESULT_COLUMNS, for all tables of results."""
    probability = prediction.probability
    return [
        prediction.shown_as,
        prediction.verdict,
        "" if probability is None else round(probability, 6),
        prediction.probability_note,
        cell(prediction.sentence),
        prediction.gate or "",
        "" if prediction.map_in_lungs is None else round(prediction.map_in_lungs, 4),
        cell(" ".join(prediction.reasons)),
        cell(prediction.adjustment),
        cell(prediction.model),
    ]


def _line(name: str, prediction: Prediction) -> bytes:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerow(
        [cell(name), *result_cells(prediction)]
    )
    return line.getvalue().encode()


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()
