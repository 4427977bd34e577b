"""The table of external images: what is read, and what is refused with a sentence."""

from pathlib import Path

import pandas as pd
import pytest

from xray_core.dataset.external import COLUMNS, EXTERNAL_VARIABLE, find_external, read_external
from xray_core.errors import DatasetError

TABLE = """set,file,label,extra,patient,age,sex,view
one,one/a.png,NORMAL,x,p1,7,F,PA
one,one/b.png, ,y,p1,,M,AP
two,two/c.png,PNEUMONIA,,,,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one/a.png", "one/b.png", "two/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"an image")
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path


def test_the_table_is_read_under_any_name(folder: Path) -> None:
    table = read_external(folder)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["label"]) == ["NORMAL", "", "PNEUMONIA"]
    assert list(table["view"]) == ["PA", "AP", ""]
    assert list(table["age"].fillna(-1)) == [7, -1, -1]


def test_view_sex_and_age_may_be_absent(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv").drop(columns=["age", "sex", "view"])
    table.to_csv(folder / "table.csv", index=False)
    read = read_external(folder)
    assert (read[["view", "sex"]] == "").all(axis=None)
    assert read["age"].isna().all()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("set,file,label", "set,file,class", "has no column label"),
        ("p1,7,F", "p1,seven,F", "Row 1 of table.csv: an age is a number of years"),
        ("NORMAL,x", "HEALTHY,x", "Row 1 of table.csv: a label is NORMAL, PNEUMONIA or blank"),
        ("two/c.png", "two/d.png", "Row 3 of table.csv: there is no image two/d.png"),
        ("two/c.png", "../c.png", "Row 3 of table.csv: there is no image ../c.png"),
        ("two/c.png", "one/a.png", "lists the image one/a.png more than once"),
        (TABLE, "set,file,label,patient\n", "has no row"),
        (TABLE, "", "cannot be read as a CSV table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(old: str, new: str, words: str, folder: Path) -> None:
    (folder.parent / "c.png").write_bytes(b"an image outside the folder")
    (folder / "table.csv").write_text(TABLE.replace(old, new))
    with pytest.raises(DatasetError, match=words):
        read_external(folder)


def test_there_must_be_one_table(folder: Path) -> None:
    (folder / "other.csv").write_text(TABLE)
    with pytest.raises(DatasetError, match="exactly one CSV file"):
        read_external(folder)
    for file in folder.glob("*.csv"):
        file.unlink()
    with pytest.raises(DatasetError, match="exactly one CSV file"):
        read_external(folder)


def test_the_folder_is_the_argument_or_that_of_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_external() is None
    assert find_external(folder) == folder
    monkeypatch.setenv(EXTERNAL_VARIABLE, str(folder))
    assert find_external() == folder
    with pytest.raises(DatasetError, match="There is no folder of external images at"):
        find_external(folder / "nowhere")
