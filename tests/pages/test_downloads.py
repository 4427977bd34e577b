"""No table that a page gives away holds a cell that a spreadsheet would run."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from drawn_images import write_dataset
from page_tools import ROOT
from simulated_bundle import write_bundle
from streamlit.testing.v1 import AppTest

from ui.common.widgets import csv_bytes
from xray_core.model.bundle_writing import seal

FORMULA = '=HYPERLINK("http://evil.example","click")'
SECTIONS = (
    "All metrics",
    "ROC and PR",
    "Score distribution",
    "Calibration",
    "Clinical utility",
    "Groups",
    "Errors",
)
Captured = dict[str, Callable[[], bytes]]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Captured:
    """What each download of a CSV would give, by file name."""
    found: Captured = {}

    def button(label: str, data: object, file_name: str, **_: object) -> bool:
        if file_name.endswith(".csv"):
            found[file_name] = data
        return False

    monkeypatch.setattr(st, "download_button", button)
    return found


def cells(data: bytes) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(data.decode())) for cell in row]


def runs(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.lstrip()[:1] in tuple("=+-@\t\r")
    return False


def test_texts_and_names_are_guarded_and_numbers_stay() -> None:
    table = pd.DataFrame(
        {
            "=1+1": ["@SUM(A1)", "a\tb", None],
            "number": [-1.5, 2.0, float("nan")],
            "count": pd.array([-1, None, 2], dtype="Int64"),
            "mixed": [FORMULA, -3, True],
            "kind": pd.Categorical(["-x", "+y", "z"]),
        }
    )
    assert list(csv.reader(io.StringIO(csv_bytes(table).decode()))) == [
        ["'=1+1", "number", "count", "mixed", "kind"],
        ["'@SUM(A1)", "-1.5", "-1", f"'{FORMULA}", "'-x"],
        ["a\\u0009b", "2.0", "", "-3", "'+y"],
        ["", "", "2", "True", "z"],
    ]
    assert table.columns[0] == "=1+1"
    assert table.loc[0, "mixed"] == FORMULA


def test_the_evaluation_of_a_hostile_table(
    open_page: Callable[..., AppTest], models_folder: Path, tables: Captured
) -> None:
    write_bundle(models_folder)
    write_bundle(models_folder, "vgg16", separation=1.5)
    at = open_page("evaluation", evaluation_section="Your images")
    quoted = '"' + FORMULA.replace('"', '""') + '"'
    text = "label,probability,file,subtype,gate,verdict,patient\n" + "".join(
        f"{label},0.{k},{quoted},{quoted},{quoted},{quoted},{quoted}\n"
        for k, label in ((1, "PNEUMONIA"), (8, "PNEUMONIA"), (2, "NORMAL"), (9, "NORMAL"))
    )
    at.file_uploader[0].upload("t.csv", text.encode(), "text/csv").run()
    [button] = [b for b in at.button if b.label == "Evaluate this table"]
    button.click().run()
    for name in SECTIONS:
        [control] = [w for w in at.get("button_group") if w.key == "evaluation_section"]
        control.set_value(name).run()
        assert not at.exception
        assert not at.error
    given = {name: cells(data()) for name, data in tables.items()}
    assert len(given) >= 9
    assert {name: [c for c in found if runs(c)] for name, found in given.items()} == {
        name: [] for name in given
    }
    assert f"'{FORMULA}" in given["resnet50-your-table-errors.csv"]
    assert any(f"'{FORMULA}" in found for name, found in given.items() if "by-" in name)


def test_the_training_of_a_foreign_model(
    open_page: Callable[..., AppTest], models_folder: Path, tables: Captured
) -> None:
    bundle = write_bundle(models_folder)
    config = json.loads((bundle / "config.json").read_text())
    config["git_commit"] = config["layers"][1]["name"] = FORMULA
    config["libraries"] = {FORMULA: FORMULA}
    for key in ("files", "format"):
        del config[key]
    seal(bundle, config)
    at = open_page("training")
    assert not at.exception
    assert not at.error
    given = {name: cells(data()) for name, data in tables.items()}
    assert len(given) == 4
    assert [c for found in given.values() for c in found if runs(c)] == []
    assert f"'{FORMULA}" in given["resnet50-layers.csv"]
    assert f"'{FORMULA}" in given["resnet50-provenance.csv"]


def test_a_dataset_whose_names_are_formulas(
    open_page: Callable[..., AppTest],
    tables: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "=1+cmd.png"
    dataset = write_dataset(
        tmp_path / "chest_xray",
        {
            f"{split}/{label}": [name, "a.png"]
            for split in ("train", "test")
            for label in ("NORMAL", "PNEUMONIA")
        },
    )
    monkeypatch.setenv("XRAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("xray_core.dataset.measure.build_index", _index_by_name)
    at = open_page("dataset", dataset_folder=str(dataset))
    assert not at.exception
    assert not at.error
    found = cells(tables["dataset.csv"]())
    assert f"'{name}" in found
    assert [c for c in found if runs(c)] == []


def _index_by_name(folder: Path, **options: object) -> pd.DataFrame:
    """An index whose patients are the bare names of the files."""
    from xray_core.dataset.index import build_index

    index = build_index(folder, check=False)
    return index.assign(patient=index["path"].str.rpartition("/")[2])


def test_whatever_writes_a_csv_guards_its_cells() -> None:
    for folder in ("ui", "pages"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            if "to_csv(" in text or "csv.writer(" in text:
                assert re.search(r"import .*\bcell\b", text), path
