"""Images are read from a ZIP in memory; bombs, paths and damage are reported in sentences."""

import io
import struct
import tracemalloc
import zipfile

import pytest

from xray_core.errors import UnreadableImage
from xray_core.prediction.archive import count_files, is_archive, read_archive


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_files_come_in_order_without_those_of_file_managers():
    data = zipped(
        {
            "b/": b"",
            "b/2.png": b"two",
            "__MACOSX/b/._2.png": b"junk",
            "b/.DS_Store": b"junk",
            "a/1.dcm": b"one",
        }
    )

    images = list(read_archive(data))

    assert count_files(data) == 2
    assert [(image.name, image.data) for image in images] == [
        ("b/2.png", b"two"),
        ("a/1.dcm", b"one"),
    ]


def test_a_zip_is_recognised_by_its_signature():
    assert is_archive(zipped({"a": b"1"}))
    assert not is_archive(b"\xff\xd8\xff\xe0 a JPEG")
    assert not is_archive(b"")


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/passwd", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"]
)
def test_a_path_that_points_outside_is_reported_and_does_not_end_the_run(name):
    images = list(read_archive(zipped({name: b"x", "good.png": b"y"})))

    assert images[0].data is None
    assert "points outside" in images[0].problem
    assert images[1].data == b"y"


def test_a_damaged_file_does_not_end_the_run():
    data = bytearray(zipped({"bad.png": b"B" * 50, "good.png": b"G"}, zipfile.ZIP_STORED))
    data[data.index(b"BBBB")] = 0  # the checksum no longer fits

    images = list(read_archive(bytes(data)))

    assert "damaged" in images[0].problem
    assert images[1].data == b"G"


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_damage_that_a_decompressor_finds_does_not_end_the_run(method):
    """Every byte of the compressed data is damaged once; the checksum alone detects some of it."""
    content = bytes(range(256)) * 2
    whole = zipped({"bad.png": content}, method)
    start = whole.index(b"bad.png") + len(b"bad.png")
    for place in range(start, whole.index(b"PK\x01\x02")):
        data = zipped({"first.png": b"F", "bad.png": content, "last.png": b"L"}, method)
        where = data.index(whole[start : start + 30]) + place - start
        data = data[:where] + bytes([data[where] ^ 0xFF]) + data[where + 1 :]

        first, bad, last = read_archive(data)

        assert (first.data, last.data) == (b"F", b"L")
        assert bad.data == content or "damaged" in bad.problem


@pytest.mark.parametrize("method", [1, 6, 9, 93, 95, 98, 200])
def test_a_method_that_cannot_be_unpacked_is_reported(method):
    """Among them Deflate64 (9) and Zstandard (93), for which there is no such data here."""
    data = bytearray(zipped({"bad.png": b"B" * 50, "good.png": b"G"}, zipfile.ZIP_STORED))
    for header, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = data.index(header) + offset
        data[place : place + 2] = struct.pack("<H", method)

    bad, good = read_archive(bytes(data))

    assert bad.data is None
    assert "compressed by a method" in bad.problem or "damaged" in bad.problem
    assert good.data == b"G"


def test_an_error_of_an_unknown_kind_does_not_end_the_run(monkeypatch):
    """As compression.zstd.ZstdError, which only later versions of Python have."""

    class ZstdError(Exception):
        pass

    def read(stream, size):
        raise ZstdError("Restored data doesn't match checksum")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", read)

    images = list(read_archive(zipped({"a.png": b"a", "b.png": b"b"})))

    assert ["damaged" in image.problem for image in images] == [True, True]


def test_a_file_without_a_name_does_not_end_the_run():
    data = zipped({"bad.png": b"B" * 50, "good.png": b"G"})

    bad, good = read_archive(data.replace(b"bad.png", b"\0ad.png"))

    assert bad.data in (None, b"B" * 50)
    assert good.data == b"G"


def test_an_encrypted_file_is_reported():
    data = bytearray(zipped({"secret.png": b"x"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1

    (image,) = read_archive(bytes(data))

    assert image.problem == "This file is protected by a password."


def test_a_zip_inside_a_zip_is_not_opened():
    (image,) = read_archive(zipped({"inner.zip": zipped({"a.png": b"x"})}))

    assert image.data is None
    assert "ZIP inside the ZIP" in image.problem


def test_an_archive_that_unpacks_to_gigabytes_is_refused_before_reading():
    data = bytearray(zipped({f"{number}.png": b"0" * 100 for number in range(3)}))
    position = -1
    for _ in range(3):  # three times 0.5 GB, declared in the table of contents
        position = data.index(b"PK\x01\x02", position + 1)
        data[position + 24 : position + 28] = struct.pack("<L", 2**29)

    with pytest.raises(UnreadableImage, match="more than 1 GB"):
        next(read_archive(bytes(data)))


def test_a_file_larger_than_declared_is_not_read_further():
    data = bytearray(zipped({"bomb.png": b"0" * 30_000_000}))
    assert len(data) < 40_000
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<L", 1000)
    data[22:26] = struct.pack("<L", 1000)

    tracemalloc.start()
    (image,) = read_archive(bytes(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert image.data is None or len(image.data) <= 1000
    assert peak < 5_000_000


def test_a_file_over_the_limit_is_reported():
    images = list(
        read_archive(zipped({"big": b"0" * 2_000_001, "small": b"1"}), max_file_bytes=2_000_000)
    )

    assert images[0].data is None
    assert "larger than" in images[0].problem
    assert images[1].data == b"1"


@pytest.mark.parametrize("count", [501, 5000])
def test_more_files_than_are_read_at_once_are_refused(count):
    data = zipped({f"{number}.png": b"" for number in range(count)}, zipfile.ZIP_STORED)

    with pytest.raises(UnreadableImage, match="at most 500"):
        next(read_archive(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"PK\x05\x06",
        zipped({"a.png": b"x" * 1000})[:-30],
        zipped({"a.png": b"x"})[:-22] + b"PK\x05\x06" + b"\xff" * 18,
        zipped({}),
    ],
    # A name made from the bytes would hold the time.
    ids=["no bytes", "entry", "directory", "cut", "bad directory", "no entries"],
)
def test_a_damaged_or_empty_zip_is_refused_with_a_sentence(data):
    with pytest.raises(UnreadableImage, match="ZIP"):
        list(read_archive(data))


def test_every_truncation_gives_a_sentence_or_an_image():
    whole = zipped({"a.png": b"abc" * 100, "b.png": b"def"})
    for length in range(len(whole)):
        with pytest.raises(UnreadableImage):
            list(read_archive(whole[:length]))
