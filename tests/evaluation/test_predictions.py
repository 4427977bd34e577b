"""Tables of predictions from outside."""

import io

import pytest

from xray_core.errors import XrayError
from xray_core.evaluation.predictions import read_predictions
from xray_core.evaluation.scores import prepare_table


def read(text):
    return read_predictions(io.BytesIO(text.encode()))


def test_a_minimal_table_is_completed_and_the_assumptions_reported():
    table, notes = read("Label,Probability\npneumonia,0.9\n0,0.2\n")

    assert table["label"].tolist() == ["PNEUMONIA", "NORMAL"]
    assert table["patient"].nunique() == 2
    assert table["file"].tolist() == ["image 1", "image 2"]
    assert table["fold"].unique().tolist() == ["own"]
    assert any("every image counts as a patient" in note for note in notes)


def test_images_without_a_probability_are_left_out_and_counted():
    table, notes = read("label,probability,patient\n1,0.9,a\n0,,b\n0,1.7,c\n1,oops,d\n")

    assert len(table) == 1
    assert notes == ["3 images were left out: 2 without a probability, 1 with one outside 0 to 1."]


@pytest.mark.parametrize("header", ["patient", "Patient"])
def test_blank_patient_cells_are_each_a_patient_of_their_own(header):
    table, notes = read(
        f"label,probability,{header}\n1,0.9,\n1,0.8,  \n0,0.2,3\n0,0.1,3\n0,0.3,NaN\n"
    )

    assert prepare_table(table).weights.patients == 4
    assert any("3 rows have no patient" in note for note in notes)


def test_numbered_patients_may_have_blanks_too():
    table, notes = read("label,probability,Patient\n1,0.9,1\n0,0.2,\n0,0.1,1\n")

    assert prepare_table(table).weights.patients == 2
    assert any("1 rows have no patient" in note for note in notes)


def test_a_bundles_own_table_is_read_as_it_is():
    table, notes = read(
        "file,fold,label,subtype,patient,logit,probability,verdict,gate\n"
        "test/NORMAL/a.jpeg,test,NORMAL,none,007,-2,0.1,NORMAL,passed\n"
    )

    assert notes == []
    assert table.loc[0, "patient"] == "007"
    assert table.loc[0, "subtype"] == "none"


def test_of_several_folds_the_test_fold_is_kept():
    table, notes = read(
        "label,probability,patient,fold\n1,0.9,a,validation\n0,0.2,b,test\n1,0.7,c,test\n"
    )

    assert table["patient"].tolist() == ["b", "c"]
    assert notes == ["Only the 2 images of the fold test are evaluated, not the 1 of other folds."]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a readable CSV table"),
        ("a,b\n1,2\n", "no column label and no column probability"),
        ("label,probability\nCOVID,0.3\n", "Received: 'COVID' in row 1"),
        ("label,probability\n1,\n", "No image of the table has a probability"),
        ('label,probability\n"1,0.2\n', "not a readable CSV table"),
    ],
)
def test_an_invalid_table_is_refused(text, words):
    with pytest.raises(XrayError, match=words):
        read(text)
