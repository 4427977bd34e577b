"""A reading keeps its order, and its table names nobody and runs nothing."""

import csv
import io
from dataclasses import replace

import pytest

from xray_core.errors import XrayError
from xray_core.evaluation.reading import READING_COLUMNS, Reading, ShownResult, readings_csv
from xray_core.imaging.adjustment import Box
from xray_core.prediction.result import Prediction

SHOWN = ShownResult("PNEUMONIA", "Pneumonia suspected", 0.87654321, "micro 1", ("A caution.", "B."))
FIRST = Reading(1, "NORMAL", 2)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def test_a_reading_is_made_in_three_steps() -> None:
    assert not FIRST.is_complete
    shown = FIRST.reveal(SHOWN)
    assert not shown.is_complete
    done = shown.conclude("PNEUMONIA", 4)
    assert done.is_complete
    assert (done.call_before, done.confidence_before) == ("NORMAL", 2)
    assert (done.call_after, done.confidence_after) == ("PNEUMONIA", 4)


def test_no_second_call_before_the_result_and_no_second_result() -> None:
    with pytest.raises(XrayError, match="after the result"):
        FIRST.conclude("PNEUMONIA", 4)
    with pytest.raises(XrayError, match="shown already"):
        FIRST.reveal(SHOWN).reveal(SHOWN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"call_before": "pneumonia"}, "The assessment is one of PNEUMONIA, NORMAL, UNSURE"),
        ({"confidence_before": 0}, "The confidence is one of 1, 2, 3, 4, 5"),
        ({"reference": "UNSURE"}, "The reference label is one of NORMAL, PNEUMONIA"),
        ({"box": Box(0.5, 0.0, 0.4, 1.0)}, "A box has an area"),
        ({"call_after": "UNSURE"}, "given together"),
        (
            {"result": SHOWN, "call_after": "MAYBE", "confidence_after": 1},
            "The assessment is one of",
        ),
        ({"result": SHOWN, "call_after": "UNSURE", "confidence_after": 9}, "The confidence is one"),
    ],
)
def test_other_values_are_refused(change: dict, message: str) -> None:
    with pytest.raises(XrayError, match=message):
        replace(FIRST, **change)


def test_a_result_has_a_known_verdict() -> None:
    with pytest.raises(XrayError, match="The verdict is one of"):
        ShownResult("MAYBE", "", None, "")  # type: ignore[arg-type]


def test_a_prediction_is_shown_with_its_cautions() -> None:
    prediction = Prediction(0.87654321, "PNEUMONIA", ("A caution.", "B."), model="micro 1")
    assert ShownResult.of(prediction) == SHOWN


def test_the_table_holds_box_and_both_calls() -> None:
    read = replace(FIRST, box=Box(0.1, 0.25, 0.52, 1.0), reference="PNEUMONIA")
    (row,) = rows(readings_csv([read.reveal(SHOWN).conclude("UNSURE", 1)]))
    assert list(row) == list(READING_COLUMNS)
    assert row == {
        "image": "1",
        "patient": "",
        "call_before": "NORMAL",
        "confidence_before": "2",
        "box_top": "0.1",
        "box_left": "0.25",
        "box_bottom": "0.52",
        "box_right": "1.0",
        "shown_as": "Pneumonia suspected",
        "verdict": "PNEUMONIA",
        "probability": "0.876543",
        "cautions": "A caution. B.",
        "model": "micro 1",
        "call_after": "UNSURE",
        "confidence_after": "1",
        "reference": "PNEUMONIA",
    }


def test_an_incomplete_reading_leaves_its_cells_empty() -> None:
    (row,) = rows(readings_csv([FIRST]))
    filled = {name: value for name, value in row.items() if value}
    assert filled == {"image": "1", "call_before": "NORMAL", "confidence_before": "2"}
    assert rows(readings_csv([])) == []


def test_patients_are_numbered_and_files_are_named_on_request_only() -> None:
    keys = ("MRN-4711", "DOE^JANE", None, "MRN-4711", " ", "DOE^JANE")
    read = [
        Reading(number, "UNSURE", 1, patient=key, file=f"MRN-4711-{number}.png")
        for number, key in enumerate(keys, start=1)
    ]
    table = readings_csv(read)
    assert [row["patient"] for row in rows(table)] == ["1", "2", "", "1", "", "2"]
    assert b"MRN" not in table
    assert b"DOE" not in table
    named = rows(readings_csv(read, names=True))
    assert [row["file"] for row in named][:2] == ["MRN-4711-1.png", "MRN-4711-2.png"]


def test_no_text_is_run_as_a_formula() -> None:
    formula = "=cmd()|x"
    shown = ShownResult("REFUSED", formula, None, formula, (formula,))
    read = replace(FIRST, file=formula).reveal(shown)
    (row,) = rows(readings_csv([read], names=True))
    for name in ("shown_as", "cautions", "model", "file"):
        assert row[name] == f"'{formula}"
