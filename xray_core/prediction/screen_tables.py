"""The tables that `screen` writes: a CSV file, or a folder of Parquet files.

A killed run loses no row that was written and leaves none that is incomplete. A CSV file is only
appended to, one whole row at a time. The parts of a Parquet table are renamed into place when they
are complete, and count once the manifest lists them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import secrets
import time
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from xray_core.errors import XrayError
from xray_core.prediction.result import Prediction
from xray_core.spreadsheet import cell

if TYPE_CHECKING:
    import pyarrow as pa

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
COLUMNS = ("file", "sha256", *RESULT_COLUMNS, "engine")
MANIFEST = "_manifest.jsonl"
ROWS_PER_PART = 1_000
SECONDS_PER_PART = 60.0

Row = list[str | float]


class Part(NamedTuple):
    """A file of a Parquet table, and its number of rows by verdict."""

    name: str
    counts: Counter[str]


_HEADER = ",".join(f'"{name}"' for name in COLUMNS).encode() + b"\n"
_NUMBERS = frozenset({"probability", "map_in_lungs"})
_SYNC_SECONDS = 1.0


def result_cells(prediction: Prediction) -> Row:
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


def digest(name: str) -> int:
    """Return 64 bits that stand for the name of a file, as the table lists it."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


class ScreenTable(ABC):
    """A table with one row per file, open for one run.

    Attributes
    ----------
    path
        Where it is.
    counts
        Number of rows by verdict.
    """

    def __init__(self, path: Path, model: str, engine: str) -> None:
        self.path = path
        self.model = cell(model)
        self.engine = engine
        self.counts: Counter[str] = Counter()
        self._done = array("Q")
        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)

    def __contains__(self, name: str) -> bool:
        """Tell whether an earlier run listed a file; `name` as a cell of the table."""
        at = np.searchsorted(self._sorted, np.uint64(value := digest(name)))
        return bool(at < self._sorted.size and int(self._sorted[at]) == value)

    def open(self) -> None:
        """Read which files earlier runs listed, or begin the table."""
        self._read_earlier()
        self._sorted = np.sort(np.frombuffer(self._done, np.uint64))
        self._done = array("Q")

    @abstractmethod
    def _read_earlier(self) -> None:
        """Call `_add_earlier` for each row; cut or remove what is incomplete."""

    @abstractmethod
    def append(self, row: Row) -> None:
        """Add a row of COLUMNS."""

    @abstractmethod
    def close(self) -> None:
        """Store what was added."""

    def _add_earlier(self, name: str, verdict: str) -> None:
        self._done.append(digest(name))
        self.counts[verdict] += 1

    def _check(self, model: str, engine: str) -> None:
        for begun, now, option in ((model, self.model, "model"), (engine, self.engine, "engine")):
            if begun != now:
                raise XrayError(
                    f"{self.path} was started by the {option} {begun}, not by {now}. Nothing was "
                    f"changed; name another file with --out, or the other {option} with --{option}."
                )


@contextmanager
def open_table(path: Path, model: str, engine: str) -> Iterator[ScreenTable]:
    """Open or begin a table, and close it at the end of the block.

    Parameters
    ----------
    path
        With the ending .csv, or .parquet for a folder of Parquet files.
    model, engine
        Name and version of the model, and what runs it. A table holds the rows of one of each.

    Raises
    ------
    XrayError
        The table cannot be written, another run writes it, or it was started by another model,
        another engine or another program.
    """
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise XrayError(
            f"{path} is not a table: name one that ends in .csv or .parquet with --out."
        )
    if not path.parent.is_dir():
        raise XrayError(f"The table {path} cannot be written: create the folder {path.parent}.")
    table = (CsvTable if ending == ".csv" else ParquetTable)(path, model, engine)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
        try:
            table.open()
            try:
                yield table
            finally:
                table.close()
        finally:
            lock.release()
    except Timeout:
        raise XrayError(
            f"Another run is writing {path}: wait until it ends, or name another file with --out."
        ) from None
    except OSError as error:
        raise XrayError(
            f"The table {path} cannot be written: {error.strerror}. The rows so far are kept; run "
            "the same command again to resume."
        ) from error


class CsvTable(ScreenTable):
    """A CSV file. Each row is one line: control characters in names are escaped."""

    _file: IO[bytes]

    def _read_earlier(self) -> None:
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        try:
            self._read_rows()
        except (ValueError, StopIteration) as error:
            raise XrayError(
                f"{self.path} has a damaged row; name another file with --out."
            ) from error
        self._synced = time.monotonic()

    def _read_rows(self) -> None:
        file = self._file
        header = file.readline()
        if not header.endswith(b"\n") and _HEADER.startswith(header):
            file.seek(0)
            file.truncate()
            file.write(_HEADER)
            return
        if header != _HEADER:
            raise XrayError(
                f"{self.path} was not started by this command, or by an older version of it. "
                "Nothing was changed; name another file with --out."
            )
        whole = file.tell()
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            row = dict(zip(COLUMNS, next(csv.reader([line.decode()])), strict=True))
            self._check(row["model"], row["engine"])
            self._add_earlier(row["file"], row["verdict"])
        file.seek(whole)
        file.truncate()

    def append(self, row: Row) -> None:
        """Add a row; a killed run keeps it, a power cut what is older than a second."""
        line = io.StringIO()
        csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerow(row)
        self._file.write(line.getvalue().encode())
        self._file.flush()
        self.counts[str(row[COLUMNS.index("verdict")])] += 1
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Store the rows on the disk."""
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())


class ParquetTable(ScreenTable):
    """A folder of Parquet files, as pandas, Spark and DuckDB read it, and its manifest.

    The manifest has a line of JSON with the model and the engine, and one per part. Parts that it
    does not list were not complete; they are removed and their files are screened again.
    """

    def _read_earlier(self) -> None:
        self._rows: list[Row] = []
        self._run = secrets.token_hex(4)
        self._parts = 0
        self._listed: set[str] = set()
        self._stored = time.monotonic()
        self._manifest = self.path / MANIFEST
        foreign = self.path.exists() and not self._manifest.exists()
        if foreign and not (self.path.is_dir() and not any(self.path.iterdir())):
            raise XrayError(
                f"{self.path} was not started by this command. Nothing was changed; name another "
                "file with --out."
            )
        self.path.mkdir(exist_ok=True)
        try:
            self._read_manifest()
            for part in self._listed:
                self._read_part(self.path / part)
        except (ValueError, KeyError, FileNotFoundError) as error:
            raise XrayError(f"{self.path} is damaged: name another file with --out.") from error
        self._remove_unlisted()

    def _remove_unlisted(self) -> None:
        for file in self.path.glob("*part-*"):
            if file.name not in self._listed:
                file.unlink()

    def _read_manifest(self) -> None:
        self._manifest.touch()
        with self._manifest.open("r+b") as file:
            lines = file.readlines()
            if lines and not lines[-1].endswith(b"\n"):
                lines.pop()
                file.truncate(sum(map(len, lines)))
        if not lines:
            self._write_line({"model": self.model, "engine": self.engine, "columns": COLUMNS})
            return
        first, *parts = map(json.loads, lines)
        self._check(first["model"], first["engine"])
        if first["columns"] != [*COLUMNS]:
            raise XrayError(
                f"{self.path} was started by another version of this command. Nothing was changed; "
                "name another file with --out."
            )
        self._parts = len(parts)
        self._listed = {part["part"] for part in parts}

    def _read_part(self, file: Path) -> None:
        import pyarrow.parquet as pq

        with pq.ParquetFile(file) as part:
            for batch in part.iter_batches(columns=["file", "verdict"]):
                for name, verdict in zip(*(column.to_pylist() for column in batch), strict=True):
                    self._add_earlier(name, verdict)

    def append(self, row: Row) -> None:
        """Add a row; it is stored with the next part, after 1,000 rows or a minute."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_PER_PART or time.monotonic() - self._stored > SECONDS_PER_PART:
            self._store()

    def close(self) -> None:
        """Store the rows on the disk."""
        self._store()
        self._remove_unlisted()

    def _store(self) -> None:
        rows, self._rows = self._rows, []  # rows that cannot be written are screened again
        if rows:
            self.add_part(write_part(self.path, self.next_part(), rows))
        self._stored = time.monotonic()

    def next_part(self) -> str:
        """Return a name for a part that no other part or run has."""
        self._parts += 1
        return f"part-{self._parts:07d}-{self._run}.parquet"

    def add_part(self, part: Part) -> None:
        """List a complete part in the manifest."""
        self._write_line({"part": part.name, "verdicts": part.counts})
        self._listed.add(part.name)
        self.counts += part.counts

    def _write_line(self, content: dict[str, Any]) -> None:
        with self._manifest.open("ab") as file:
            file.write(json.dumps(content).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def write_part(folder: Path, name: str, rows: Sequence[Row]) -> Part:
    """Write rows of COLUMNS as a part of a Parquet table; complete or absent.

    Parameters
    ----------
    folder
        The table.
    name
        Of the part. One with the same name is replaced.
    rows
        The rows.
    """
    import pyarrow.parquet as pq

    temporary = folder / f".{secrets.token_hex(4)}-{name}"
    try:
        with temporary.open("wb") as file:
            pq.write_table(_arrow_table(rows), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    return Part(name, Counter(str(row[COLUMNS.index("verdict")]) for row in rows))


def _arrow_table(rows: Sequence[Row]) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema(
        [(name, pa.float64() if name in _NUMBERS else pa.string()) for name in COLUMNS]
    )
    columns = [
        [None if name in _NUMBERS and value == "" else value for value in values]
        for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)
    ]
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
