import csv
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from xray_core.cli import main
from xray_core.errors import XrayError
from xray_core.prediction.reading import Readers
from xray_core.prediction.screen import COLUMNS, Summary, predict_rows, screen
from xray_core.prediction.sources import SourceFile
from xray_core.spreadsheet import cell

ROOT = Path(__file__).resolve().parents[2]
HEADER = (
    '"file","sha256","shown_as","verdict","probability","probability_note","sentence","gate",'
    '"map_in_lungs","reasons","adjustment","model","engine"\n'
)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names(path):
    return [row["file"] for row in rows(path)]


@pytest.fixture
def folder(tmp_path, image_png):
    """Six images in two folders, and two files that are not images."""
    root = tmp_path / "images"
    (root / "b").mkdir(parents=True)
    for i in range(4):
        (root / f"{i}.png").write_bytes(image_png(i, i % 2 == 1))
    for i in (4, 5):
        (root / "b" / f"{i}.png").write_bytes(image_png(i, i % 2 == 1))
    (root / "notes.txt").write_text("no image")
    (root / "empty.png").write_bytes(b"")
    return root


def run(folder, out, predictor, **options):
    return screen(folder, out, predictor, progress=False, batch_size=3, **options).counts


def test_one_row_per_file(folder, tmp_path, predictor):
    out = tmp_path / "out.csv"
    counts = run(folder, out, predictor)
    assert out.read_text().startswith(HEADER)
    assert sorted(names(out)) == [
        "0.png", "1.png", "2.png", "3.png", "b/4.png", "b/5.png", "empty.png", "notes.txt",
    ]  # fmt: skip
    assert counts["UNREADABLE"] == 2
    assert sum(counts.values()) == 8
    table = sorted(rows(out), key=lambda row: row["file"])
    assert table[6]["reasons"] == "The file is empty."
    assert table[6]["probability"] == ""
    for row in table:
        content = (folder / row["file"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["engine"] == predictor.engine
    for row in table[:6]:
        assert row["verdict"] in ("NORMAL", "PNEUMONIA", "UNCERTAIN")
        assert 0 <= float(row["probability"]) <= 1
        assert row["model"] == predictor.model


def test_the_rows_are_the_predictions(folder, tmp_path, predictor):
    run(folder, tmp_path / "out.csv", predictor)
    readable = [row for row in rows(tmp_path / "out.csv") if row["verdict"] != "UNREADABLE"]
    assert len(readable) == 6
    for row in readable:
        alone = predictor.predict(folder / row["file"])
        assert float(row["probability"]) == pytest.approx(alone.probability, abs=1e-4)
        assert row["verdict"] == alone.verdict
        assert row["shown_as"] == alone.shown_as
        assert row["sentence"] == alone.sentence != ""
        assert row["reasons"] == " ".join(alone.reasons)


def test_a_second_run_adds_nothing_and_counts_the_same(folder, tmp_path, predictor):
    out = tmp_path / "out.csv"
    first = run(folder, out, predictor)
    before = out.read_bytes()
    assert run(folder, out, predictor) == first
    assert out.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1, 30, len(HEADER), len(HEADER) + 5, 200, 290])
def test_a_table_cut_anywhere_is_continued(folder, tmp_path, predictor, kept):
    out, whole = tmp_path / "out.csv", tmp_path / "whole.csv"
    run(folder, whole, predictor)
    out.write_bytes(whole.read_bytes()[:kept])
    run(folder, out, predictor)
    assert out.read_bytes().count(b"\n") == 9
    assert sorted(names(out)) == sorted(names(whole))


def test_new_files_are_added_at_the_end(folder, tmp_path, predictor, image_png):
    out = tmp_path / "out.csv"
    run(folder, out, predictor)
    (folder / "00.png").write_bytes(image_png(9))
    run(folder, out, predictor)
    assert names(out)[-1] == "00.png"
    assert len(rows(out)) == 9


def test_a_table_of_another_model_is_not_changed(folder, tmp_path, predictor, monkeypatch):
    out = tmp_path / "out.csv"
    run(folder, out, predictor)
    before = out.read_bytes()
    monkeypatch.setattr(predictor, "model", "other 1")
    with pytest.raises(XrayError, match=r"started by the model micro .*, not by other 1"):
        run(folder, out, predictor)
    assert out.read_bytes() == before


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "my notes", "\n", HEADER + '"x"\n'])
def test_a_file_of_another_program_is_not_changed(folder, tmp_path, predictor, content):
    out = tmp_path / "out.csv"
    out.write_text(content)
    with pytest.raises(XrayError, match=r"--out"):
        run(folder, out, predictor)
    assert out.read_text() == content


def test_the_table_may_lie_among_the_images(folder, predictor):
    run(folder, folder / "a.csv", predictor)
    run(folder, folder / "a.csv", predictor)
    assert len(rows(folder / "a.csv")) == 8
    assert "a.csv" not in names(folder / "a.csv")


def test_circular_links_end(folder, tmp_path, predictor):
    (folder / "b" / "back").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "gone.png").symlink_to("nowhere.png")
    run(folder, tmp_path / "out.csv", predictor)
    table = {row["file"]: row["verdict"] for row in rows(tmp_path / "out.csv")}
    assert len(table) == 10
    assert table["self"] == table["gone.png"] == "UNREADABLE"


def test_a_linked_folder_is_followed(folder, tmp_path, predictor, image_png):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.png").write_bytes(image_png(7))
    (folder / "link").symlink_to(elsewhere)
    run(folder, tmp_path / "out.csv", predictor)
    assert "link/x.png" in names(tmp_path / "out.csv")


def test_a_folder_that_cannot_be_opened_gets_a_row(folder, tmp_path, predictor, monkeypatch):
    real = os.scandir

    def scandir(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    run(folder, tmp_path / "out.csv", predictor)
    table = {row["file"]: row for row in rows(tmp_path / "out.csv")}
    assert table["b/"]["verdict"] == "UNREADABLE"
    assert table["b/"]["reasons"] == "This folder cannot be opened."
    assert len(table) == 7


def test_hidden_files_and_those_of_file_managers_get_no_row(folder, tmp_path, predictor):
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "0.png").write_bytes(b"x")
    run(folder, tmp_path / "out.csv", predictor)
    assert len(rows(tmp_path / "out.csv")) == 8


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("image.png", "image.png"),
        ("=1+1.png", "'=1+1.png"),
        ("+1.png", "'+1.png"),
        ("-1.png", "'-1.png"),
        ("@x.png", "'@x.png"),
        ("\uff1dx.png", "'\uff1dx.png"),
        (" =x.png", "' =x.png"),
        ("'=x.png", "''=x.png"),
        ("\t=x.png", "\\u0009=x.png"),
        ("a\nb.png", "a\\u000ab.png"),
        ("a\\b.png", "a\\\\b.png"),
        ("a\udcffb.png", "a\\udcffb.png"),
        ("sub/=x.png", "sub/=x.png"),
        ("\u80ba.png", "\u80ba.png"),
    ],
)
def test_no_cell_is_a_formula_or_breaks_its_line(text, shown):
    assert cell(text) == shown


def test_files_with_such_names_are_predicted_once(tmp_path, predictor, image_png):
    folder = tmp_path / "images"
    folder.mkdir()
    odd = [
        "=cmd()|x.png",
        "a\nb.png",
        'say "so", then.png',
        "'=cmd()|x.png",
        os.fsdecode(b"\xff.png"),
    ]
    for name in odd:
        (folder / name).write_bytes(image_png(3))
    out = tmp_path / "out.csv"
    run(folder, out, predictor)
    run(folder, out, predictor)
    assert sorted(names(out)) == sorted(cell(name) for name in odd)
    assert not any(name.startswith("=") for name in names(out))


def test_a_missing_folder_is_a_sentence(tmp_path, predictor):
    with pytest.raises(XrayError, match=r"There is nothing at .* name a folder, a glob"):
        run(tmp_path / "nothing", tmp_path / "out.csv", predictor)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.txt").touch()
    with pytest.raises(XrayError, match="cannot be written: create the folder"):
        run(tmp_path / "images", tmp_path / "no" / "out.csv", predictor)
    assert not (tmp_path / "no").exists()


def test_the_progress_bar_starts_at_the_finished_files(folder, tmp_path, predictor, capsys):
    out = tmp_path / "out.csv"
    run(folder, out, predictor)
    (folder / "zz.txt").write_text("new")
    screen(folder, out, predictor)
    assert "9/9" in capsys.readouterr().err


SLOW_RUN = """
import sys, time
from types import SimpleNamespace
from xray_core.prediction.result import Prediction
from xray_core.prediction.screen import screen

def predict_many(sources, batch_size):
    for source in sources:
        time.sleep(0.01)
        yield Prediction(0.5, "UNCERTAIN", ("A reason.",), model="slow 1", gate="passed")

screen(sys.argv[1], sys.argv[2], SimpleNamespace(model="slow 1", predict_many=predict_many),
       progress=False)
"""


def test_a_killed_and_resumed_run_has_each_file_once(tmp_path, image_png):
    folder, out = tmp_path / "images", tmp_path / "out.csv"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i:02}.png").write_bytes(image_png(i))
    command = [sys.executable, "-c", SLOW_RUN, str(folder), str(out)]
    for lines in (10, 35):
        process = subprocess.Popen(command, cwd=ROOT)
        deadline = time.monotonic() + 60
        while not (out.exists() and out.read_bytes().count(b"\n") > lines):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(rows(out)) < 60
    subprocess.run(command, cwd=ROOT, check=True)
    assert sorted(names(out)) == [f"{i:02}.png" for i in range(60)]


def test_the_columns_are_those_of_the_contract():
    assert COLUMNS == (
        "file", "sha256", "shown_as", "verdict", "probability", "probability_note", "sentence",
        "gate", "map_in_lungs", "reasons", "adjustment", "model", "engine",
    )  # fmt: skip


def test_folders_may_be_nested_to_any_depth(tmp_path, image_png, predictor):
    root = tmp_path / "images"
    root.mkdir()
    here = os.getcwd()
    os.chdir(root)
    try:
        for _ in range(1_500):
            os.mkdir("a")
            os.chdir("a")
        Path("image.png").write_bytes(image_png(1, True))
    finally:
        os.chdir(here)
    try:
        out = tmp_path / "out.csv"
        counts = run(root, out, predictor)
        assert sum(counts.values()) == 1
        assert names(out) == ["a/" * 1_500 + "image.png"]
        assert rows(out)[0]["verdict"] == "PNEUMONIA"
    finally:  # no other way of removing them is without recursion
        subprocess.run(["rm", "-r", str(root)], check=True)


def test_a_folder_beyond_the_longest_path_is_a_row_with_its_reason(tmp_path, predictor):
    root = tmp_path / "images"
    root.mkdir()
    here = os.getcwd()
    os.chdir(root)
    try:
        for _ in range(50):
            os.mkdir("a" * 200)
            os.chdir("a" * 200)
    finally:
        os.chdir(here)
    try:
        counts = run(root, tmp_path / "out.csv", predictor)
        assert counts == {"UNREADABLE": 1}
        assert rows(tmp_path / "out.csv")[0]["reasons"] == "This folder cannot be opened."
    finally:
        subprocess.run(["rm", "-r", str(root)], check=True)


def test_overlays_are_stored_by_the_hash_of_the_image(folder, tmp_path, predictor):
    maps = tmp_path / "maps"
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    run(folder, tmp_path / "out.csv", predictor, maps=maps)
    table = {row["file"]: row for row in rows(tmp_path / "out.csv")}
    analysed = {row["sha256"] for row in table.values() if row["probability"]}
    assert {path.stem for path in maps.rglob("*.*")} == analysed
    sha256 = table["1.png"]["sha256"]
    with Image.open(maps / sha256[:2] / f"{sha256}.jpg") as overlay:
        assert overlay.format == "JPEG"
        assert overlay.size == (224, 224)


def test_rows_with_overlays_are_those_without(folder, tmp_path, predictor):
    run(folder, tmp_path / "with.csv", predictor, maps=tmp_path / "maps")
    run(folder, tmp_path / "without.csv", predictor)
    for a, b in zip(
        *(sorted(rows(tmp_path / f"{name}.csv"), key=lambda row: row["file"])
          for name in ("with", "without")),
        strict=True,
    ):  # fmt: skip
        for number in ("probability", "map_in_lungs"):
            a_value, b_value = a.pop(number), b.pop(number)
            assert (a_value == b_value == "") or float(a_value) == pytest.approx(
                float(b_value), abs=1e-3
            )
        assert a == b


def test_overlays_that_cannot_be_written_are_a_sentence(folder, tmp_path, predictor):
    (tmp_path / "maps").write_text("a file")
    with pytest.raises(XrayError, match=r"No overlay can be written to .* run the same command"):
        run(folder, tmp_path / "out.csv", predictor, maps=tmp_path / "maps")


def test_archives_and_lists_give_the_rows_of_their_files(folder, tmp_path, predictor):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(folder, ".")
    files = [str(path.relative_to(tmp_path)) for path in folder.rglob("*.*")]
    (tmp_path / "list.txt").write_text("\n".join([*files, "images/absent.png"]))
    tables = {}
    for source in ("images", "x.zip", "x.tar.gz", "list.txt"):
        run(tmp_path / source, tmp_path / f"{source}.csv", predictor)
        tables[source] = {
            row["file"].removeprefix("images/").removeprefix("./"): (row["sha256"], row["verdict"])
            for row in rows(tmp_path / f"{source}.csv")
        }
    assert tables["list.txt"].pop("absent.png") == ("", "UNREADABLE")
    assert tables["images"] == tables["x.zip"] == tables["x.tar.gz"] == tables["list.txt"]
    assert len(tables["images"]) == 8


def test_a_file_that_a_list_names_twice_has_one_row(folder, tmp_path, predictor):
    lines = ["images/0.png", "images/1.png", "images/0.png", "images/empty.png", "images/0.png"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    out = tmp_path / "out.csv"
    summary = screen(tmp_path / "list.txt", out, predictor, progress=False)
    assert sorted(names(out)) == ["images/0.png", "images/1.png", "images/empty.png"]
    assert (summary.added, summary.repeated) == (3, 2)
    assert summary.counts.total() == 3
    assert "3 rows: 1 " in summary.sentence
    assert "2 named again and skipped" in summary.sentence


def test_a_source_without_files_is_a_sentence(tmp_path, predictor):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    for source in ("empty", "empty.txt", "empty.zip", "absent-*.png"):
        with pytest.raises(XrayError, match="There are no files in"):
            run(tmp_path / source, tmp_path / "out.csv", predictor)


def test_rows_of_unreadable_files_do_not_wait_for_a_readable_one(predictor):
    files = (SourceFile(str(i), problem="No file.") for i in itertools.count())
    with Readers(count=1) as readers:
        found = predict_rows(files, predictor, readers, batch_size=4)
        assert sorted(next(found)[0] for _ in range(8)) == list("01234567")
        found.close()


def test_the_command_prints_a_summary_and_resumes(folder, tmp_path, micro_bundle, capsys):
    out = str(tmp_path / "out.parquet")
    model = ["--models", str(micro_bundle.parent), "--model", micro_bundle.name]
    for added in (8, 0):
        assert main(["screen", str(folder), "--out", out, *model]) == 0
        line = capsys.readouterr().out
        assert line.startswith(f"{out}: 8 rows: ")
        assert " 2 UNREADABLE. " in line
        assert f"This run: {added} images in " in line


def test_the_command_hands_on_its_options(tmp_path, monkeypatch):
    received = {}
    monkeypatch.setattr(
        "xray_core.prediction.predictor.Predictor.load",
        lambda path, **named: received.update(path=path, **named),
    )
    monkeypatch.setattr(
        "xray_core.prediction.screen.screen",
        lambda *arguments, **named: received.update(named) or Summary(Counter(), 0, 0, 0.0),
    )
    command = ["screen", "source", "--out", "t.csv", "--engine", "openvino", "--timeout", "2.5"]
    assert main([*command, "--maps", "overlays", "--models", "m", "--model", "n"]) == 0
    assert received == {
        "path": Path("m/n"), "engine": "openvino", "timeout": 2.5, "maps": Path("overlays"),
    }  # fmt: skip


def test_the_command_refuses_an_unknown_engine(capsys):
    with pytest.raises(SystemExit):
        main(["screen", "source", "--out", "t.csv", "--engine", "torch"])
    assert "invalid choice: 'torch'" in capsys.readouterr().err


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_is_a_positive_number(timeout, capsys):
    with pytest.raises(SystemExit):
        main(["screen", "source", "--out", "t.csv", "--timeout", timeout])
    assert "--timeout" in capsys.readouterr().err
