import io
import os
import sys
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xray_core.errors import XrayError
from xray_core.prediction.sources import open_source


def listed(source, **options):
    return {file.name: file.path for file in open_source(source, **options).list_files()}


def contents(source):
    """Return the bytes, or the problem, of each file of an archive."""
    return {
        file.name: file.problem or (content := file.load()).data or content.problem
        for file in open_source(source).list_files()
    }


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for name in ("a.png", "b/c.png", "b/.hidden.png", "__MACOSX/x.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_a_folder_lists_each_file_with_its_path(folder):
    assert listed(folder) == {
        "a.png": str(folder / "a.png"),
        "b/c.png": str(folder / "b" / "c.png"),
    }


def test_tables_and_overlays_inside_the_folder_are_not_listed(folder):
    (folder / "t.csv").touch()
    (folder / "maps").mkdir()
    (folder / "maps" / "x.jpg").touch()
    exclude = [folder / "t.csv", folder / "maps", folder / "absent"]
    assert set(listed(folder, exclude=exclude)) == {"a.png", "b/c.png"}


def test_a_text_list_is_relative_to_its_folder(tmp_path):
    absolute = str(tmp_path / "other" / "z.png")
    lines = f"\ufeffa.png\r\n\nb/ c.png\n{absolute}\ns3://bucket/d.png\nlast.png"
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8", newline="")
    assert listed(tmp_path / "list.txt") == {
        "a.png": str(tmp_path / "a.png"),
        "b/ c.png": str(tmp_path / "b" / " c.png"),
        absolute: absolute,
        "s3://bucket/d.png": "s3://bucket/d.png",
        "last.png": str(tmp_path / "last.png"),
    }


def test_a_text_list_may_name_files_that_are_no_valid_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff.png\n")
    assert listed(tmp_path / "list.txt") == {
        os.fsdecode(b"\xff.png"): os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    }


def test_a_binary_file_is_no_text_list(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"PK\x03\x04\0\0")
    with pytest.raises(XrayError, match="not a text file"):
        listed(tmp_path / "list.txt")


@pytest.mark.parametrize("column", ["path", "file"])
def test_a_parquet_list_has_a_column_of_paths(tmp_path, column):
    names = [f"{i}.png" for i in range(25_000)]
    table = pa.table({"other": list(range(25_000)), column: names})
    pq.write_table(table, tmp_path / "list.parquet")
    assert list(listed(tmp_path / "list.parquet")) == names


def test_a_folder_of_parquet_files_is_a_list_as_well(tmp_path):
    (tmp_path / "list.parquet").mkdir()
    for i in range(3):
        pq.write_table(pa.table({"path": [f"{i}.png"]}), tmp_path / "list.parquet" / f"{i}.parquet")
    assert set(listed(tmp_path / "list.parquet")) == {"0.png", "1.png", "2.png"}


@pytest.mark.parametrize("table", [{"image": ["a.png"]}, {"path": [1]}])
def test_a_parquet_file_without_a_column_of_paths_is_a_sentence(tmp_path, table):
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    with pytest.raises(XrayError, match="no column of texts named path or file"):
        listed(tmp_path / "list.parquet")


def test_a_glob_lists_files_and_no_folders(folder):
    pattern = str(folder / "**" / "*")
    assert set(listed(pattern)) == {
        str(folder / name) for name in ("a.png", "b/c.png", "__MACOSX/x.png")
    }


def test_a_zip_of_any_number_of_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(1_000):
            archive.writestr(f"in/{i}.png", str(i))
        archive.writestr("in/.hidden.png", "x")
        archive.writestr("../out.png", "x")
        archive.writestr("inner.zip", b"PK\x03\x04")
        archive.mkdir("empty")
    found = contents(tmp_path / "x.zip")
    assert len(found) == 1_002
    assert found["in/999.png"] == b"999"
    assert "outside the ZIP" in found["../out.png"]
    assert "ZIP inside the ZIP" in found["inner.zip"]


def add(archive, name, data, **fields):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "tar.xz", "tar.bz2"])
def test_a_tar_is_read_in_one_pass(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    kind = {"tar": "", "tgz": "gz"}.get(ending, ending[4:])
    with tarfile.open(path, f"w:{kind}") as archive:
        add(archive, "./in/a.png", b"a")
        add(archive, "in/link.png", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "in/._a.png", b"x")
        add(archive, "b.png", b"b" * 100_000)
    found = contents(path)
    assert found["./in/a.png"] == b"a"
    assert "link or a device" in found["in/link.png"]
    assert found["b.png"] == b"b" * 100_000
    assert len(found) == 3


def test_the_end_of_a_cut_tar_is_a_sentence_after_the_files_before(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for i in range(3):
            add(archive, f"{i}.png", bytes(1_000))
    with (tmp_path / "x.tar").open("r+b") as file:
        file.truncate(2 * 1_536 + 600)  # a header is 512 bytes, the content fills 1,024
    files = open_source(tmp_path / "x.tar").list_files()
    assert [next(files).load().data for _ in range(2)] == [bytes(1_000)] * 2
    assert next(files).load().problem == "This file is damaged inside the tar."
    with pytest.raises(XrayError, match=r"x\.tar is damaged"):
        next(files)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_a_file_that_is_no_archive_is_a_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(b"no archive")
    with pytest.raises(XrayError, match="is damaged or not what its name says"):
        contents(tmp_path / name)


def test_a_source_of_no_known_kind_is_a_sentence(tmp_path):
    (tmp_path / "a.png").touch()
    for name in ("a.png", "absent", "absent.txt"):
        with pytest.raises(XrayError, match="name a folder, a glob"):
            open_source(tmp_path / name)


def test_a_source_that_may_not_be_read_is_a_sentence(folder, monkeypatch):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(XrayError, match="this program may not read it"):
        open_source(folder)


def test_a_file_system_is_a_url(folder, tmp_path):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    url = f"file://{folder}"
    assert listed(url) == {"a.png": f"{url}/a.png", "b/c.png": f"{url}/b/c.png"}
    assert set(listed(f"{url}/b/*")) >= {f"{url}/b/c.png"}
    (tmp_path / "list.txt").write_text("images/a.png\n")
    assert listed(f"file://{tmp_path}/list.txt") == {"images/a.png": f"{url}/a.png"}
    pq.write_table(pa.table({"path": ["images/a.png"]}), tmp_path / "list.parquet")
    assert listed(f"file://{tmp_path}/list.parquet") == {"images/a.png": f"{url}/a.png"}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", "a")
    assert contents(f"file://{tmp_path}/x.zip") == {"a.png": b"a"}
    with pytest.raises(XrayError, match="There is nothing at"):
        open_source(f"file://{tmp_path}/absent")


def test_a_missing_file_system_package_is_named(monkeypatch):
    registry = pytest.importorskip("fsspec.registry", reason="fsspec is not installed")
    known = {"class": "absent_package.Files", "err": "Install absent-package for lost://"}
    monkeypatch.setitem(registry.known_implementations, "lost", known)
    with pytest.raises(XrayError, match="package that is not installed: Install absent-package"):
        open_source("lost://bucket/folder")
    with pytest.raises(XrayError, match="cannot be read"):
        open_source("nothing-of-the-kind://bucket/folder")


def test_without_fsspec_a_url_is_a_sentence(monkeypatch):
    for name in ("fsspec", "fsspec.core"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(XrayError, match="python -m pip install fsspec s3fs"):
        open_source("s3://bucket/folder")
