import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xray_core.errors import XrayError
from xray_core.prediction import screen_tables
from xray_core.prediction.screen_tables import COLUMNS, MANIFEST, ParquetTable, open_table

ROOT = Path(__file__).resolve().parents[2]


def row(i, verdict="NORMAL"):
    values = {
        "file": f"{i}.png",
        "sha256": "ab" * 32,
        "verdict": verdict,
        "probability": "" if verdict == "UNREADABLE" else i / 1_000,
        "model": "m 1",
        "engine": "e",
    }
    return [values.get(column, "") for column in COLUMNS]


def write(path, numbers, *, model="m 1", engine="e"):
    with open_table(path, model, engine) as table:
        for i in numbers:
            if f"{i}.png" not in table:
                table.append(row(i, "UNREADABLE" if i % 10 == 0 else "NORMAL"))
        return table.counts


def read(path):
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    return table.sort_values("file", ignore_index=True)


@pytest.fixture(params=["csv", "parquet"])
def path(request, tmp_path):
    return tmp_path / f"t.{request.param}"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(screen_tables, "ROWS_PER_PART", 4)


def test_a_table_holds_the_rows_of_all_runs_once(path, small_parts):
    write(path, range(10))
    counts = write(path, range(25))
    assert counts == {"UNREADABLE": 3, "NORMAL": 22}
    table = read(path)
    assert list(table.columns) == list(COLUMNS)
    assert sorted(table["file"]) == sorted(f"{i}.png" for i in range(25))
    probability = table.set_index("file")["probability"]
    assert probability["7.png"] == 0.007
    assert probability.isna().sum() == 3


def test_both_kinds_of_table_hold_the_same(tmp_path, small_parts):
    for name in ("t.csv", "t.parquet"):
        write(tmp_path / name, range(30))
    csv, parquet = read(tmp_path / "t.csv"), read(tmp_path / "t.parquet")
    texts = [column for column in COLUMNS if column not in ("probability", "map_in_lungs")]
    assert (csv[texts].astype(object).fillna("") == parquet[texts]).all(axis=None)
    np.testing.assert_array_equal(csv["probability"], parquet["probability"])


def test_rows_reach_the_disk_in_whole_parts(tmp_path, small_parts):
    path = tmp_path / "t.parquet"
    with open_table(path, "m 1", "e") as table:
        for i in range(11):
            table.append(row(i))
        assert sorted(read(path)["file"]) == sorted(f"{i}.png" for i in range(8))
    assert len(read(path)) == 11
    assert len(list(path.glob("part-*.parquet"))) == 3


@pytest.mark.parametrize("kept", range(0, 500, 23))
def test_a_manifest_cut_anywhere_is_continued(tmp_path, small_parts, kept):
    path = tmp_path / "t.parquet"
    write(path, range(10))
    manifest = path / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:kept])
    write(path, range(10))
    assert sorted(read(path)["file"]) == sorted(f"{i}.png" for i in range(10))
    listed = {json.loads(line)["part"] for line in manifest.read_text().splitlines()[1:]}
    assert listed == {file.name for file in path.glob("*part*")}


def test_a_part_that_another_run_left_is_removed(tmp_path, small_parts):
    path = tmp_path / "t.parquet"
    write(path, range(6))
    with open_table(path, "m 1", "e") as table:
        assert isinstance(table, ParquetTable)
        screen_tables.write_part(path, "part-9999999-other.parquet", [row(3)])
    assert sorted(read(path)["file"]) == sorted(f"{i}.png" for i in range(6))


@pytest.mark.parametrize("begun", [("other 1", "e", "model other 1"), ("m 1", "x", "engine x")])
def test_a_table_of_another_model_or_engine_is_not_changed(path, begun):
    model, engine, named = begun
    write(path, range(3), model=model, engine=engine)
    if path.suffix == ".csv":  # the rows of this test name one model and engine
        text = path.read_text().replace("m 1", model).replace('"e"', f'"{engine}"')
        path.write_text(text)
    before = read(path)
    with pytest.raises(XrayError, match=rf"was started by the {named}, not by .* with --"):
        write(path, range(5))
    pd.testing.assert_frame_equal(read(path), before)


def test_two_runs_do_not_write_one_table(path):
    with open_table(path, "m 1", "e"), pytest.raises(XrayError, match="Another run is writing"):
        write(path, [1])
    write(path, [1])
    assert len(read(path)) == 1


def test_a_table_of_another_kind_is_a_sentence(tmp_path):
    with pytest.raises(XrayError, match=r"ends in \.csv or \.parquet"):
        write(tmp_path / "t.xlsx", [1])


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_another_program_wrote_is_not_changed(tmp_path, is_folder):
    path = tmp_path / "t.parquet"
    if is_folder:
        path.mkdir()
    (path / "part-1.parquet" if is_folder else path).write_text("x")
    with pytest.raises(XrayError, match="not started by this command"):
        write(path, [1])
    assert (path / "part-1.parquet" if is_folder else path).read_text() == "x"


@pytest.mark.parametrize("damage", ["{}\n", "no json\n"])
def test_a_damaged_manifest_is_a_sentence(tmp_path, damage):
    path = tmp_path / "t.parquet"
    write(path, [1])
    (path / MANIFEST).write_text(damage)
    with pytest.raises(XrayError, match="is damaged"):
        write(path, [1])


FULL_DISK = """
import resource, sys
sys.path[:0] = [{root!r}, {here!r}]
from test_screen_tables import write
from xray_core.errors import XrayError
from xray_core.prediction import screen_tables
from pathlib import Path
screen_tables.ROWS_PER_PART = 4
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    write(Path(sys.argv[1]), range(1000))
except XrayError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [150, 3_000, 9_000])
def test_a_full_disk_loses_no_row_and_the_run_resumes(path, limit):
    """A limit on the size of files makes writing fail as a full disk does, in the middle."""
    assert resource.RLIM_INFINITY in resource.getrlimit(resource.RLIMIT_FSIZE)
    program = FULL_DISK.format(root=str(ROOT), here=str(Path(__file__).parent), limit=limit)
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written: File too large. The rows so far are kept" in done.stdout
    stored = len(read(path)) if limit > 3_000 else 0
    assert limit < 9_000 or stored > 0
    counts = write(path, range(1_000))
    assert counts == {"UNREADABLE": 100, "NORMAL": 900}
    assert sorted(read(path)["file"]) == sorted(f"{i}.png" for i in range(1_000))
