"""What `screen` reads: the files of a folder, a glob, a list, a ZIP or a tar, one at a time.

A source is on this computer, or on any file system that fsspec knows, such as `s3://bucket/folder`.
Files are listed while they are read, so that memory does not grow with their number (a ZIP's own
directory excepted, which takes half a kilobyte per file).
"""

from __future__ import annotations

import functools
import glob
import os
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from xray_core.errors import XrayError
from xray_core.imaging.radiograph import MAX_BYTES
from xray_core.prediction.archive import ArchivedFile, is_ignored_name, read_entry

LIST_COLUMNS = ("path", "file")
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
KINDS = (
    "a folder, a glob (in quotes), a list of paths (.txt or .parquet), a ZIP (.zip) or a tar "
    f"({', '.join(TAR_ENDINGS)})"
)

_Identity = tuple[int, int]


class SourceFile(NamedTuple):
    """One file of a source.

    `name` is what the table lists. `path` is where the file is opened: a path on this computer or a
    URL; None for a file of an archive, which `load` reads instead. If `problem` is set, it is the
    reason why there is nothing to open, a sentence.
    """

    name: str
    path: str | None = None
    load: Callable[[], ArchivedFile] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class FileSource:
    """The files to screen.

    Attributes
    ----------
    text
        The source as the user named it.
    list_files
        Starts at the first file each time it is called. Raises XrayError where the source itself
        cannot be read any further.
    has_paths
        Whether each file can be opened by its path, also by another computer that has the same file
        system; False for archives.
    """

    text: str
    list_files: Callable[[], Iterator[SourceFile]]
    has_paths: bool = True


def open_source(text: str | os.PathLike[str], *, exclude: Collection[Path] = ()) -> FileSource:
    """Find out what a source is.

    Parameters
    ----------
    text
        A path on this computer or a URL of fsspec; of a folder, a list of paths, a ZIP or a tar; or
        a glob. The paths of a list are relative to the folder of the list.
    exclude
        Files and folders that are not listed although they lie in a folder that is: the tables.

    Returns
    -------
    FileSource
        Hidden files and those of file managers are not listed for folders and archives.

    Raises
    ------
    XrayError
        There is no such source, it cannot be opened, or a package for its file system is missing.
    """
    name = os.fspath(text)
    with _sentences(name):
        if "://" in name:
            return _open_remote(name)
        path = Path(name)
        if name.endswith(".parquet") and path.exists():
            return _list_source(name, name, path.parent)
        if path.is_dir():
            os.scandir(path).close()  # raises where it cannot be opened
            return FileSource(name, lambda: _walk(path, exclude))
        if path.is_file():
            return _open_file(name, name, path.parent)
        if glob.has_magic(name):
            return FileSource(name, lambda: _glob(name))
    raise XrayError(f"There is nothing at {name}: name {KINDS}.")


@contextmanager
def _sentences(name: str) -> Iterator[None]:
    """Turn what file systems and archives raise into sentences."""
    try:
        yield
    except XrayError:
        raise
    except FileNotFoundError:
        raise XrayError(f"There is nothing at {name}: name {KINDS}.") from None
    except PermissionError:
        raise XrayError(f"{name} cannot be opened: this program may not read it.") from None
    except ImportError as error:  # fsspec names the package that it lacks
        raise XrayError(_missing_package(name, error)) from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise XrayError(f"{name} is damaged or not what its name says: {error}.") from None
    except Exception as error:  # every remote file system raises errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise XrayError(f"{name} cannot be read: {reason}.") from None


def _missing_package(name: str, error: ImportError) -> str:
    if (error.name or "").startswith("fsspec"):
        return (
            f"{name} needs the package fsspec, and one for its file system (s3fs for s3://, gcsfs "
            "for gs://): python -m pip install fsspec s3fs"
        )
    return f"{name} needs a package that is not installed: {str(error).splitlines()[0]}"


def _open_remote(url: str) -> FileSource:
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    if glob.has_magic(path) and not system.exists(path):
        return FileSource(url, lambda: _remote_glob(url, system, path))
    if url.endswith(".parquet") and system.exists(path):
        return _list_source(url, url, None)
    if system.info(path)["type"] == "directory":
        return FileSource(url, lambda: _remote_walk(url, system, path))
    return _open_file(url, url, None)


def _open_file(text: str, path: str, folder: Path | None) -> FileSource:
    lowered = path.lower()
    if lowered.endswith(".zip"):
        return FileSource(text, lambda: _members(text, path, _zip_members), has_paths=False)
    if lowered.endswith(TAR_ENDINGS):
        return FileSource(text, lambda: _members(text, path, _tar_members), has_paths=False)
    if lowered.endswith(".txt"):
        return _list_source(text, path, folder)
    raise XrayError(f"{text} cannot be screened: name {KINDS}.")


@contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    """Open a file of this computer or of a file system that fsspec knows."""
    if "://" in path:
        import fsspec

        with fsspec.open(path, "rb") as file:
            yield file
    else:
        with open(path, "rb") as file:
            yield file


# Lists


def _list_source(text: str, path: str, folder: Path | None) -> FileSource:
    if path.endswith(".parquet"):
        _path_column(text, path)
        lines = _parquet_paths
    else:
        with _open(path):
            pass
        lines = _text_paths

    def files() -> Iterator[SourceFile]:
        with _sentences(text):
            for line in lines(text, path):
                if "://" in line or os.path.isabs(line):
                    yield SourceFile(line, line)
                elif folder is None:
                    yield SourceFile(line, f"{path.rsplit('/', 1)[0]}/{line}")
                else:
                    yield SourceFile(line, os.path.join(folder, line))

    return FileSource(text, files)


def _text_paths(text: str, path: str) -> Iterator[str]:
    with _open(path) as file:
        for number, line in enumerate(file):
            name = os.fsdecode(line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line)
            if "\0" in name:
                raise XrayError(f"{text} is not a list of paths: it is not a text file.")
            if name := name.rstrip("\r\n"):
                yield name


def _path_column(text: str, path: str) -> tuple[Any, str]:
    """Return a Parquet list as a dataset, and the name of its column of paths."""
    import pyarrow as pa
    import pyarrow.dataset

    if "://" in path:
        from fsspec.core import url_to_fs

        system, place = url_to_fs(path)
        table = pyarrow.dataset.dataset(place, filesystem=system, format="parquet")
    else:
        table = pyarrow.dataset.dataset(path, format="parquet")
    for name in LIST_COLUMNS:
        if name in table.schema.names and pa.types.is_string(table.schema.field(name).type):
            return table, name
    raise XrayError(
        f"{text} has no column of texts named {' or '.join(LIST_COLUMNS)}: name the column of "
        "paths so."
    )


def _parquet_paths(text: str, path: str) -> Iterator[str]:
    table, column = _path_column(text, path)
    # Without reading ahead, which would hold most of a large list in memory.
    batches = table.to_batches(
        columns=[column], batch_size=10_000, batch_readahead=0, fragment_readahead=1
    )
    for batch in batches:
        yield from (name for name in batch.column(0).to_pylist() if name)


# Folders and globs


def _walk(root: Path, exclude: Collection[Path]) -> Iterator[SourceFile]:
    """Yield the files below `root`, those of a folder before those of its subfolders.

    Each folder is listed once, also if links lead to it several times. Only one folder is open at a
    time and the others wait in a list, so that the nesting may have any depth.
    """
    seen: set[_Identity] = set()
    excluded = {identity for path in exclude if (identity := _identity(path)) is not None}
    inodes = {inode for _, inode in excluded}
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        below: list[tuple[Path, str]] = []
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_ignored_name(entry.name) or (
                        entry.inode() in inodes and _identity(Path(entry.path)) in excluded
                    ):
                        continue
                    if _is_folder(entry):
                        below.append((Path(entry.path), f"{prefix}{entry.name}/"))
                    else:
                        yield SourceFile(f"{prefix}{entry.name}", entry.path)
        except OSError:
            yield SourceFile(prefix or ".", problem="This folder cannot be opened.")
        waiting += sorted(below, reverse=True)


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _glob(pattern: str) -> Iterator[SourceFile]:
    for path in glob.iglob(pattern, recursive=True):
        if not os.path.isdir(path):
            yield SourceFile(path, path)


def _remote_walk(url: str, system: Any, root: str) -> Iterator[SourceFile]:
    problems: list[SourceFile] = []

    def on_error(error: OSError) -> None:
        problems.append(SourceFile(url, problem="A folder cannot be opened."))

    with _sentences(url):
        for folder, folders, files in system.walk(root, detail=True, on_error=on_error):
            for name in [name for name in folders if is_ignored_name(name)]:
                del folders[name]
            below = folder.removeprefix(root.rstrip("/")).strip("/")
            for name, details in files.items():
                if not is_ignored_name(name):
                    shown = f"{below}/{name}" if below else name
                    yield SourceFile(shown, system.unstrip_protocol(details["name"]))
            yield from problems
            problems.clear()


def _remote_glob(url: str, system: Any, pattern: str) -> Iterator[SourceFile]:
    with _sentences(url):
        for name, details in system.glob(pattern, detail=True).items():
            if details["type"] != "directory":
                path = system.unstrip_protocol(name)
                yield SourceFile(path, path)


# Archives


def _members(
    text: str, path: str, members: Callable[[IO[bytes]], Iterable[SourceFile]]
) -> Iterator[SourceFile]:
    with _sentences(text), _open(path) as file:
        yield from members(file)


def _zip_members(file: IO[bytes]) -> Iterator[SourceFile]:
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not _is_ignored(entry.filename):
                load = functools.partial(read_entry, archive, entry, MAX_BYTES)
                yield SourceFile(entry.filename, load=load)


def _tar_members(file: IO[bytes]) -> Iterator[SourceFile]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # the module keeps every member that it has passed
            if member.isdir() or _is_ignored(member.name):
                continue
            if member.isreg():
                load = functools.partial(_read_member, archive, member)
                yield SourceFile(member.name, load=load)
            else:
                problem = "This entry of the tar is a link or a device and was not read."
                yield SourceFile(member.name, problem=problem)


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> ArchivedFile:
    if member.size > MAX_BYTES:
        problem = f"This file is larger than {MAX_BYTES // 2**20} MB and was not read."
        return ArchivedFile(member.name, None, problem)
    try:
        content = archive.extractfile(member)
        data = None if content is None else content.read()
    except Exception:  # every decompressor raises its own errors
        data = None
    if data is None or len(data) < member.size:
        return ArchivedFile(member.name, None, "This file is damaged inside the tar.")
    return ArchivedFile(member.name, data)


def _is_ignored(name: str) -> bool:
    """Tell whether an entry is a folder, hidden, or a file of a file manager."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return name.endswith("/") or any(is_ignored_name(part) for part in parts if part != "..")
