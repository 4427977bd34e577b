"""Images out of a ZIP file, one at a time, in memory: nothing is unpacked to a disk.

A name inside the archive is only a label, so a path that climbs out of a folder has nowhere to
climb to; such entries are reported all the same, since no honest exporter writes them. Bombs are
met by fixed bounds on what is declared and, since a declaration may lie, on what is read.
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
_STRAY = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", "DICOMDIR")
_DAMAGED = "This file is damaged inside the ZIP; please export it again."
_UNKNOWN_METHOD = (
    "This file is compressed by a method that cannot be read; please pack the ZIP again with the "
    "ordinary method (deflate)."
)


@dataclass(frozen=True)
class ArchivedFile:
    """One file of an archive: its path inside, and its bytes or the sentence why there are none."""

    name: str
    data: bytes | None
    problem: str | None = None


def is_archive(data: bytes) -> bool:
    """Tell whether the bytes begin as a ZIP file does, whatever the file is called."""
    return data[:4] in (b"PK\x03\x04", _END_OF_DIRECTORY)


def read_archive(data: bytes, *, max_file_bytes: int = MAX_BYTES) -> Iterator[ArchivedFile]:
    """Yield the files of a ZIP in their order, at most one of them in memory at a time.

    Folders and the strays of file managers are stepped over. A file that is encrypted, damaged,
    too large, or itself a ZIP is yielded with its problem and does not end the run. Raises
    `UnreadableImage`, on the first step, for an archive that is damaged, empty, or would unpack to
    more than `MAX_UNPACKED_BYTES` or `MAX_IMAGES` files.
    """
    with _opened(data) as archive:
        left = MAX_UNPACKED_BYTES
        for entry in _images(archive):
            image = _read_entry(archive, entry, min(max_file_bytes, left))
            yield image
            left -= len(image.data or b"")


def count_files(data: bytes) -> int:
    """Return how many images `read_archive` will yield; raises as it does."""
    with _opened(data) as archive:
        return len(_images(archive))


def _opened(data: bytes) -> zipfile.ZipFile:
    _check_directory(data)
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except Exception:  # a damaged table of contents raises whatever parsing it raises
        raise UnreadableImage("The ZIP file is damaged; please pack it again.") from None


def _images(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    entries = [entry for entry in archive.infolist() if not _is_stray(entry)]
    if not entries:
        raise UnreadableImage("The ZIP file holds no files.")
    if len(entries) > MAX_IMAGES:
        raise UnreadableImage(
            f"The ZIP file holds {len(entries)} files; at most {MAX_IMAGES} are read at once. "
            "Please split it."
        )
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise UnreadableImage(_too_much())
    return entries


def _check_directory(data: bytes) -> None:
    """Refuse a huge table of contents before `zipfile` builds an object for each of its lines.

    The record at the end of the file (APPNOTE.TXT 4.3.16) says how long the table is.
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


def _is_stray(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    # A damaged name may be empty, which `ZipInfo.is_dir` does not expect.
    if entry.filename.endswith("/") or not parts:
        return entry.filename != ""
    return parts[-1].startswith(".") or bool({*parts} & {*_STRAY})


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> ArchivedFile:
    name = entry.filename
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
        return ArchivedFile(name, None, "This file's path points outside the ZIP; it was not read.")
    if entry.flag_bits & 0x1:
        return ArchivedFile(name, None, "This file is protected by a password.")
    if entry.file_size > limit:
        return ArchivedFile(name, None, _too_large(limit))
    try:
        with archive.open(entry) as stream:
            data = stream.read(entry.file_size + 1)  # and no more, should the declaration lie
    except NotImplementedError:
        return ArchivedFile(name, None, _UNKNOWN_METHOD)
    except Exception as error:
        # Every decompressor raises errors of its own: zlib.error, lzma.LZMAError, OSError, and from
        # Python 3.14 on compression.zstd.ZstdError. None of them may end the run.
        del error  # a traceback would keep the bytes read so far
        return ArchivedFile(name, None, _DAMAGED)
    if is_archive(data):
        return ArchivedFile(name, None, "This is a ZIP inside the ZIP; please unpack it first.")
    return ArchivedFile(name, data)


def _too_large(limit: int) -> str:
    return f"This file is larger than {max(1, limit // 2**20)} MB and was not read."


def _too_much() -> str:
    return (
        f"The ZIP file would unpack to more than {MAX_UNPACKED_BYTES // 2**30} GB. Please split it."
    )
