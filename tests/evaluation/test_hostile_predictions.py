"""Any file given as a table of predictions is read or refused in a sentence."""

import io
import random

import pytest

from xray_core.errors import XrayError
from xray_core.evaluation.groups import confident_errors, gate_scores, subtype_scores
from xray_core.evaluation.metrics import evaluate
from xray_core.evaluation.predictions import MAX_ROWS, MAX_SUBTYPES, read_predictions
from xray_core.evaluation.scores import prepare_table

NAMES = ("label", "probability", "file", "patient", "fold", "subtype", "verdict", "gate", "other")
CELLS = (
    *("NORMAL", "PNEUMONIA", "normal", "0", "1", "1.0", "0.5", "0.25", ".9", "2", "-1"),
    *("", " ", "NaN", "inf", "-inf", "1e400", "9" * 5000, "1_0", "0x1p-1", "½", "\uff11"),
    *("test", "validation", "refused", "passed", "none", "NA", "None", "True"),
    *("~nouser/x", "/etc/passwd", "../../x", "C:\\x", "a" * 5000, "x\0y", "\ufeff", "é\u2028"),
    *("=1+1", "![x](http://a.example/)", "<b>", '"', "''", ";", "\t", "\r", "a,b", "a\nb"),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "shift_jis")


def random_table(seed: int) -> bytes:
    """A CSV of a few rows, most of them valid."""
    draw = random.Random(seed)
    names = [*NAMES[:2], *draw.sample(NAMES[2:], k=draw.randrange(6))]
    if draw.random() < 0.05:
        names.append(draw.choice(NAMES))
    lines = []
    for _ in range(1 + draw.randrange(12)):
        cells = [
            draw.choice(("NORMAL", "PNEUMONIA"))
            if name == "label"
            else f"{draw.random():.3f}"
            if name == "probability"
            else f"{name}{draw.randrange(4)}"
            for name in names
        ]
        for _ in range(draw.choice((0, 0, 0, 0, 1, 3))):
            cells[draw.randrange(len(cells))] = draw.choice(CELLS)
        if draw.random() < 0.04:
            cells.append(draw.choice(CELLS))
        if draw.random() < 0.04:
            cells.pop()
        quote = draw.random() < 0.8
        lines.append(
            ",".join(
                '"' + cell.replace('"', '""') + '"' if quote and set(cell) & set('",\r\n') else cell
                for cell in cells
            )
        )
    header = ",".join(draw.choice((name, name.title(), f" {name} ")) for name in names)
    text = draw.choice(("\n", "\r\n", "\n\n")).join([header, *lines])
    data = text.encode(draw.choice((*("utf-8",) * 6, *ENCODINGS)), errors="replace")
    if draw.random() < 0.1:
        data = data[: draw.randrange(len(data) + 1)]
    if draw.random() < 0.1:
        data = bytes(b if draw.random() < 0.98 else draw.randrange(256) for b in data)
    return data


def test_any_table_is_evaluated_or_refused_in_a_sentence() -> None:
    read, refused = 0, {}
    for seed in range(400):
        try:
            table, notes = read_predictions(io.BytesIO(random_table(seed)))
        except XrayError as error:
            refused[seed] = str(error)
            continue
        read += 1
        assert len(table), seed
        assert table["probability"].between(0, 1).all(), seed
        assert set(table["label"]) <= {"NORMAL", "PNEUMONIA"}, seed
        assert (table["patient"] != "").all(), seed
        assert all(note.endswith(".") for note in notes), seed
        if read % 10 == 0:  # a bootstrap each
            evaluate(prepare_table(table), threshold=0.5)
            subtype_scores(table)
            gate_scores(table)
        confident_errors(table, threshold=0.5)
    assert read > 100
    assert len(refused) > 100
    assert all(words.endswith(".") and len(words) < 800 for words in refused.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,probability\n1,0.9,0.8\n", "Row 1 has 3 cells, but there are 2 columns"),
        ("label,probability,Label\n1,0.9,0\n", "more than one column label"),
        ("label,probability,a,a\n1,0.9,,\n1,0.8,,,,x\n", "Row 2 has 6 cells"),
        (f"{'x' * 5000},probability\n1,0.9\n", "Received: xxxxxx"),
        (f"label,probability\n{'x' * 5000},0.9\n", "Received: 'xxxxxx"),
        (f"label,probability\n1,0.9\n1,{'9' * 200_000}\n", "not a readable CSV table"),
    ],
)
def test_the_fault_is_named_in_a_short_sentence(text: str, words: str) -> None:
    with pytest.raises(XrayError, match=words) as caught:
        read_predictions(io.BytesIO(text.encode()))
    assert len(str(caught.value)) < 300


def test_cells_beyond_the_last_column_may_be_empty() -> None:
    table, _ = read_predictions(io.BytesIO(b"label,probability,,\n1,0.9,,\n0,0.1,,,,\n"))
    assert table["probability"].tolist() == [0.9, 0.1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encodings_of_spreadsheets_are_read(encoding: str) -> None:
    text = "Label,Probability,Patient\nPNEUMONIA,0.9,Müller\nNORMAL,0.2,007\n"
    table, _ = read_predictions(io.BytesIO(text.encode(encoding)))
    assert table["patient"].tolist() == ["Müller", "007"]


def test_blank_patients_are_patients_of_their_own() -> None:
    table, notes = read_predictions(
        io.BytesIO(b"label,probability,patient\n1,0.9,\n0,0.2, \n1,0.8,a\n1,0.7,a\n")
    )
    assert table["patient"].nunique() == 3
    [note] = notes
    assert note.startswith("2 rows have no patient: each counts as a patient of its own")


def test_a_subtype_column_with_too_many_values_is_ignored() -> None:
    rows = "".join(f"1,0.9,kind {n}\n" for n in range(MAX_SUBTYPES + 1))
    table, notes = read_predictions(io.BytesIO(f"label,probability,subtype\n{rows}".encode()))
    assert "subtype" not in table
    assert any("subtype" in note for note in notes)


def test_the_limit_of_rows_holds() -> None:
    text = "label,probability\n" + "1,0.9\n" * MAX_ROWS
    assert len(read_predictions(io.BytesIO(text.encode()))[0]) == MAX_ROWS
    with pytest.raises(XrayError, match="more than 200,000 rows"):
        read_predictions(io.BytesIO((text + "0,0.1\n").encode()))
