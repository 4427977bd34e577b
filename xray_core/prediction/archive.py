"""Reading images from a ZIP file one at a time, in memory; nothing is written to disk.

`read_archive` reads what a visitor uploads; `sources` reads ZIP files of any size by `read_entry`.

Names inside the archive are labels and never paths on this computer. Entries whose name leads out
of the archive are reported and not read. Against ZIP bombs, the declared sizes are limited, and so
are the bytes read, since declared sizes may be false.
"""

import io
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import MAX_BYTES

MAX_IMAGES = 500
MAX_UNPACKED_BYTES = 2**30
MAX_DIRECTORY_BYTES = 4 * 2**20

_END_OF_DIRECTORY = b"PK\x05\x06"
_END_SIZE = 22
_LONGEST_COMMENT = 2**16
_ZIP64_LOCATOR = b"PK\x06\x07"
_IGNORED = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", "DICOMDIR"})
_DAMAGED = "This file is damaged inside the ZIP; please export it again."
_UNKNOWN_METHOD = (
    "This file is compressed by a method that cannot be read; please pack the ZIP again with the "
    "ordinary method (deflate)."
)


@dataclass(frozen=True)
class ArchivedFile:
    """One file of an archive.

    `name` is its path inside the archive, `data` its bytes. Where `data` is None, `problem` is the
    reason, a sentence.
    """

    name: str
    data: bytes | None
    problem: str | None = None


def is_archive(data: bytes) -> bool:
    """Tell whether the bytes have the signature of a ZIP file; the file name is not considered."""
    return data[:4] in (b"PK\x03\x04", _END_OF_DIRECTORY)


def read_archive(data: bytes, *, max_file_bytes: int = MAX_BYTES) -> Iterator[ArchivedFile]:
    """Yield the files of a ZIP in their order, at most one of them in memory at a time.

    Parameters
    ----------
    data
        The bytes of the ZIP file.
    max_file_bytes
        Largest size of one unpacked file.

    Yields
    ------
    ArchivedFile
        Every file except folders and the files of file managers. A file that is encrypted, damaged,
        too large, or itself a ZIP has a `problem` and does not end the iteration.

    Raises
    ------
    UnreadableImage
        On the first step: the archive is damaged, empty, or would unpack to more than
        `MAX_UNPACKED_BYTES` or `MAX_IMAGES` files.
    """
    with _open(data) as archive:
        remaining = MAX_UNPACKED_BYTES
        for entry in _entries(archive):
            file = read_entry(archive, entry, min(max_file_bytes, remaining))
            yield file
            remaining -= len(file.data or b"")


def count_files(data: bytes) -> int:
    """Return the number of files that `read_archive` yields; raises as it does."""
    with _open(data) as archive:
        return len(_entries(archive))


def _open(data: bytes) -> zipfile.ZipFile:
    _check_directory(data)
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except Exception:  # parsing a damaged directory may raise anything
        raise UnreadableImage("The ZIP file is damaged; please pack it again.") from None


def _entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    entries = [entry for entry in archive.infolist() if not _is_ignored(entry)]
    if not entries:
        raise UnreadableImage("The ZIP file holds no files.")
    if len(entries) > MAX_IMAGES:
        raise UnreadableImage(
            f"The ZIP file holds {len(entries)} files; at most {MAX_IMAGES} are read at once. "
            "Please split it."
        )
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise UnreadableImage(
            f"The ZIP file would unpack to more than {MAX_UNPACKED_BYTES // 2**30} GB. "
            "Please split it."
        )
    return entries


def _check_directory(data: bytes) -> None:
    """Refuse a large central directory before `zipfile` creates an object for each entry.

    The record at the end of the file states its size (APPNOTE.TXT, section 4.3.16).
    """
    start = data.rfind(_END_OF_DIRECTORY, max(0, len(data) - _END_SIZE - _LONGEST_COMMENT))
    if start < 0 or len(data) - start < _END_SIZE:
        raise UnreadableImage("The ZIP file is damaged or incomplete; please pack it again.")
    entries, length = struct.unpack("<HL", data[start + 10 : start + 16])
    zip64 = data[max(0, start - 20) : start].startswith(_ZIP64_LOCATOR)
    if zip64 or length > MAX_DIRECTORY_BYTES or entries > 8 * MAX_IMAGES:
        raise UnreadableImage(
            f"The ZIP file holds too many files; at most {MAX_IMAGES} are read at once. "
            "Please split it."
        )


def _is_ignored(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    # A damaged name may be empty, which `ZipInfo.is_dir` does not expect.
    if entry.filename.endswith("/") or not parts:
        return entry.filename != ""
    return parts[-1].startswith(".") or bool({*parts} & _IGNORED)


def is_ignored_name(name: str) -> bool:
    """Tell whether a file or folder is hidden, or one that file managers make."""
    return name.startswith(".") or name in _IGNORED


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> ArchivedFile:
    """Read one file of a ZIP, or the sentence why it cannot be read.

    Parameters
    ----------
    archive
        The ZIP.
    entry
        One of its files.
    limit
        Largest number of bytes that are read.
    """
    name = entry.filename
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
        return ArchivedFile(name, None, "This file's path points outside the ZIP; it was not read.")
    if entry.flag_bits & 0x1:
        return ArchivedFile(name, None, "This file is protected by a password.")
    if entry.file_size > limit:
        megabytes = max(1, limit // 2**20)
        problem = f"This file is larger than {megabytes} MB and was not read."
        return ArchivedFile(name, None, problem)
    try:
        with archive.open(entry) as stream:
            data = stream.read(entry.file_size + 1)  # no more, as the declared size may be false
    except NotImplementedError:
        return ArchivedFile(name, None, _UNKNOWN_METHOD)
    except Exception as error:
        # Every decompressor raises its own errors: zlib.error, lzma.LZMAError, OSError and, from
        # Python 3.14 on, compression.zstd.ZstdError. None of them may end the iteration.
        del error  # a traceback would keep the bytes read so far
        return ArchivedFile(name, None, _DAMAGED)
    if is_archive(data):
        return ArchivedFile(name, None, "This is a ZIP inside the ZIP; please unpack it first.")
    return ArchivedFile(name, data)
