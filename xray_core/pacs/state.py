"""What a watcher remembers: which images are claimed, and which are done. It identifies nobody.

The database holds keyed hashes (HMAC-SHA-256) of UIDs. The key is in a file beside it, so that
nobody who has only the database can tell whether a UID is in it. A claim ends by itself after the
time of its lease: the images of a watcher that was killed are analysed by the next one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from xray_core.errors import PacsError

MAX_CRASHES = 5
"""An image whose watcher ended this often before it was done is given up."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    image BLOB PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('claimed', 'failed', 'done')),
    owner TEXT NOT NULL,
    until REAL NOT NULL,
    crashes INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    stored INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS studies (
    study BLOB PRIMARY KEY,
    instances INTEGER NOT NULL,
    stored INTEGER NOT NULL
) WITHOUT ROWID;
"""
_CANNOT_OPEN = "The state of the watcher cannot be opened"
_DAMAGED = (
    " The file or its key is damaged, or is not a watcher's database. Move both files away to "
    "begin with a new one: images are then analysed again, and results that the PACS has are not "
    "stored again."
)
_FIRST_RETRY, _LAST_RETRY = 60.0, 3600.0  # seconds


class WatchState:
    """The state of the watchers of this computer.

    Parameters
    ----------
    file : path
        The database; created with its folder where missing. It must not lie on a network drive,
        on which SQLite's locks may not work.
    lease : float
        Seconds after which a claim ends.

    Raises
    ------
    PacsError
        The file cannot be opened.
    """

    def __init__(self, file: Path, lease: float) -> None:
        self._lease = lease
        self._owner = secrets.token_hex(8)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
            self._key = _read_or_create_key(file.with_name(f"{file.name}.key"))
            self._database = sqlite3.connect(file, timeout=60, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            damaged = type(error) is sqlite3.DatabaseError  # else locked, or no access
            raise PacsError(f"{_CANNOT_OPEN}: {file}.{_DAMAGED if damaged else ''}") from None
        except OSError as error:
            raise PacsError(f"{_CANNOT_OPEN}: {file}: {error.strerror}.") from None

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def claim(self, image: str, *, store: bool) -> bool:
        """Claim an image that nobody has claimed or finished.

        Parameters
        ----------
        image : str
            What identifies the image and the model.
        store : bool
            Whether results are stored. An image that was finished without storing is then claimed
            again.

        Returns
        -------
        bool
            Whether this watcher now has the claim.
        """
        now = time.time()
        with self._transaction():
            row = self._row(image)
            if row is not None and not _is_free(row, now, store):
                return False
            crashes = row["crashes"] + (row["state"] == "claimed") if row is not None else 0
            failures = row["failures"] if row is not None else 0
            self._database.execute(
                "INSERT OR REPLACE INTO images VALUES (?, 'claimed', ?, ?, ?, ?, 0)",
                (self._hash(image), self._owner, now + self._lease, crashes, failures),
            )
        return True

    def renew(self, image: str) -> bool:
        """Extend a claim by a lease; False if it has ended and another watcher has the image."""
        with self._transaction():
            done = self._database.execute(
                "UPDATE images SET until = ? WHERE image = ? AND owner = ? AND state = 'claimed'",
                (time.time() + self._lease, self._hash(image), self._owner),
            )
        return done.rowcount == 1

    def finish(self, image: str, *, stored: bool) -> None:
        """Record that an image of a claim of this watcher is done."""
        with self._transaction():
            self._database.execute(
                "UPDATE images SET state = 'done', stored = ?, until = 0 "
                "WHERE image = ? AND owner = ? AND state = 'claimed'",
                (stored, self._hash(image), self._owner),
            )

    def fail(self, image: str) -> None:
        """Record that an image could not be fetched or stored; it is free again after a while."""
        with self._transaction():
            row = self._row(image)
            if row is None or row["owner"] != self._owner or row["state"] != "claimed":
                return
            pause = min(_FIRST_RETRY * 2 ** row["failures"], _LAST_RETRY)
            self._database.execute(
                "UPDATE images SET state = 'failed', failures = failures + 1, until = ? "
                "WHERE image = ?",
                (time.time() + pause, self._hash(image)),
            )

    def is_done(self, image: str, *, store: bool) -> bool:
        """Return True if an image needs nothing more: it is done (and stored), or given up.

        Raises
        ------
        PacsError
            The state cannot be read.
        """
        row = self._row(image)
        if row is None:
            return False
        given_up = row["state"] == "claimed" and _is_given_up(row) and row["until"] < time.time()
        return given_up or (row["state"] == "done" and (bool(row["stored"]) or not store))

    def is_complete(self, study: str, instances: int, *, store: bool) -> bool:
        """Return True if a study was complete when it had as many objects as now.

        Raises
        ------
        PacsError
            The state cannot be read.
        """
        row = self._read("SELECT * FROM studies WHERE study = ?", study)
        return (
            row is not None and row["instances"] == instances and (bool(row["stored"]) or not store)
        )

    def complete(self, study: str, instances: int, *, stored: bool) -> None:
        """Record that all images of a study are done."""
        with self._transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO studies VALUES (?, ?, ?)",
                (self._hash(study), instances, stored),
            )

    def _hash(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(), hashlib.sha256)

    def _row(self, image: str) -> sqlite3.Row | None:
        return self._read("SELECT * FROM images WHERE image = ?", image)

    def _read(self, query: str, text: str) -> sqlite3.Row | None:
        """Return the row of a query for the hash of a text, None without one."""
        try:
            with closing(self._database.cursor()) as cursor:
                cursor.row_factory = sqlite3.Row
                found: sqlite3.Row | None = cursor.execute(query, (self._hash(text),)).fetchone()
        except sqlite3.Error:
            raise PacsError("The state of the watcher cannot be read.") from None
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the write lock of the database, so that a decision and its record are one step."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error:
            raise PacsError("The state of the watcher cannot be written.") from None


def _is_free(row: sqlite3.Row, now: float, store: bool) -> bool:
    if row["state"] == "done":
        return store and not row["stored"]
    if row["state"] == "claimed" and _is_given_up(row):
        return False
    return bool(row["until"] < now)


def _is_given_up(row: sqlite3.Row) -> bool:
    return bool(row["crashes"] + 1 >= MAX_CRASHES)


def _read_or_create_key(file: Path) -> bytes:
    """Return the key; of several watchers that start together, one creates it for all."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    if not file.exists():
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as new:
            new.write(secrets.token_bytes(32))
            new.flush()
            os.fsync(new.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = file.read_bytes()
    if len(key) != 32:
        raise sqlite3.DatabaseError
    return key
