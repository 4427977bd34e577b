"""A folder of images as a CSV, one row a file, that goes on where it stopped.

The table is only ever appended to, a whole row at a time, so that a run that was killed loses
nothing and does nothing twice. Each row is one line: control characters in names are escaped.
"""

import csv
import hashlib
import io
import os
import re
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xray_core.errors import XrayError
from xray_core.prediction.predictor import Prediction, Predictor

RESULT_COLUMNS = ("shown_as", "verdict", "probability", "sentence", "gate", "reasons", "model")
COLUMNS = ("file", *RESULT_COLUMNS)
STRAYS = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini", "DICOMDIR"})

_HEADER = ",".join(f'"{name}"' for name in COLUMNS).encode() + b"\n"
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff\\]")


class _Found(NamedTuple):
    """A file or, where `problem` is set, a folder that cannot be opened."""

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
    """Predict every file below `folder` into the CSV `out`; return the number of rows by verdict.

    Columns: COLUMNS; `file` is the path below `folder`. Files that `out` already lists are stepped
    over. Hidden files and what file managers leave behind are no images and get no row; a file that
    cannot be read, and a folder that cannot be opened, get one with their reason. Memory holds two
    batches of images and 8 bytes a row. Raises XrayError where `folder` is missing, `out` cannot be
    written, or `out` is a table that another model, or another program, began.
    """
    root, table = Path(folder), Path(out)
    if not root.is_dir():
        raise XrayError(f"There is no folder at {root}: name the folder that holds the images.")
    done, counts = _begun(table, predictor.model)
    try:
        with table.open("ab") as file:
            if file.tell() == 0:
                file.write(_HEADER)
            own = os.fstat(file.fileno())
            todo: Iterator[_Found] = (
                found for found in _walk(root, own) if _digest(cell(found.name)) not in done
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


def cell(text: str) -> str:
    """Return `text` as a table's cell that no spreadsheet runs as a formula, on one line.

    A leading =, +, -, @ (full width, too) or apostrophe gets an apostrophe before it; control
    characters, line breaks and undecodable bytes become escapes. Different texts stay different.
    """
    plain = _NOT_PRINTABLE.sub(lambda match: _escaped(match[0]), text)
    return f"'{plain}" if plain.lstrip()[:1] in tuple("=+-@'\uff1d\uff0b\uff0d\uff20") else plain


def _escaped(character: str) -> str:
    return "\\\\" if character == "\\" else f"\\u{ord(character):04x}"


def _begun(table: Path, model: str) -> tuple[set[bytes], Counter[str]]:
    """Return the names a table lists, as digests, and its verdicts; cut off a torn last line."""
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
                    f"{table} is not a table that this command began. Nothing was changed; name "
                    "another file with --out."
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
                        f"{table} was begun by the model {row['model']}, not by {model}. Nothing "
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


def _walk(root: Path, table: os.stat_result) -> Iterator[_Found]:
    """Yield the files below `root` but for `table`, in one order; each folder once, links too.

    The folders under way are kept in a list, so that no nesting is too deep.
    """
    seen: set[tuple[int, int]] = set()

    def listed(folder: Path) -> Iterator[os.DirEntry[str]] | None:
        """Entries of a folder, None where it was listed before; raises OSError."""
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return None
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: os.fsencode(entry.name)))

    def opened(folder: Path, prefix: str) -> Iterator[_Found]:
        """Put a folder on the list of those under way, or yield why it cannot be."""
        try:
            entries = listed(folder)
        except OSError:
            yield _Found(folder, prefix or ".", "This folder cannot be opened.")
        else:
            if entries is not None:
                under_way.append((entries, prefix))

    under_way: list[tuple[Iterator[os.DirEntry[str]], str]] = []
    yield from opened(root, "")
    while under_way:
        entries, prefix = under_way[-1]
        entry = next(entries, None)
        if entry is None:
            under_way.pop()
        elif entry.name.startswith(".") or entry.name in STRAYS:
            continue
        elif _is_folder(entry):
            yield from opened(Path(entry.path), f"{prefix}{entry.name}/")
        elif not (entry.inode() == table.st_ino and os.path.samestat(entry.stat(), table)):
            yield _Found(Path(entry.path), f"{prefix}{entry.name}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _with_bar(todo: Iterator[_Found], before: int, total: int) -> Iterator[_Found]:
    from tqdm import tqdm

    bar = tqdm(todo, total=max(total, before), initial=before, unit="image", smoothing=0.05)
    return iter(bar)


def _predict(
    todo: Iterator[_Found], predictor: Predictor, batch_size: int
) -> Iterator[tuple[str, Prediction]]:
    waiting: deque[_Found] = deque()

    def sources() -> Iterator[Path]:
        for file in todo:
            waiting.append(file)
            if file.problem is None:
                yield file.path

    def closed() -> Iterator[tuple[str, Prediction]]:
        while waiting and (problem := waiting[0].problem) is not None:
            name = waiting.popleft().name
            yield name, Prediction(None, "UNREADABLE", (problem,), model=predictor.model)

    for prediction in predictor.predict_many(sources(), batch_size=batch_size):
        yield from closed()
        yield waiting.popleft().name, prediction
    yield from closed()


def result_cells(prediction: Prediction) -> list[str | float]:
    """Return a prediction as the cells of RESULT_COLUMNS, for every table of the project."""
    probability = prediction.probability
    return [
        prediction.shown_as,
        prediction.verdict,
        "" if probability is None else round(probability, 6),
        cell(prediction.sentence),
        prediction.gate or "",
        cell(" ".join(prediction.reasons)),
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
