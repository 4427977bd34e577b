"""What is read from a DICOM header: age, type of the image, and no identity."""

import logging
import warnings

import pytest
from dicom_maker import SECRETS, as_bytes, dicom_image, image_bytes, stored
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from xray_core.imaging.radiograph import read_radiograph


@pytest.mark.parametrize(
    ("age", "years"),
    [
        ("004Y", 4),
        ("051Y", 51),
        ("51Y", 51),
        (" 051Y ", 51),
        ("051y", 51),
        ("051", 51),  # without a unit, as some archives write it
        ("51", 51),
        ("4", 4),
        ("018M", 1.5),
        ("18M", 1.5),
        ("006W", 0.115),
        ("026W", 0.498),
        ("010D", 0.027),
        ("000Y", 0),
        ("051Y\\012M", 51),  # the first of several values
        ("51\\52", 51),
        ("\\051Y", None),
        ("", None),
        (" ", None),
        ("ABC", None),
        ("old", None),
        ("Y", None),
        ("-51Y", None),
        ("51.5", None),
        ("0051Y", None),
        ("19731102", None),
    ],
)
@pytest.mark.parametrize("representation", ["AS", "LO"])
def test_age_in_years(age: str, years: float | None, representation: str) -> None:
    data = dicom_image(stored(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of invalid age strings
        data.add_new("PatientAge", representation, age)
        read = read_radiograph(as_bytes(data))
    assert read.age_years == (years if years is None else pytest.approx(years, abs=1e-3))


@pytest.mark.parametrize(("number", "representation"), [("51", "IS"), (51, "US"), ("51", "DS")])
def test_an_age_stored_as_a_number_is_in_years(number: object, representation: str) -> None:
    data = dicom_image(stored(0, 1))
    data.add_new("PatientAge", representation, number)
    assert read_radiograph(as_bytes(data)).age_years == 51


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Modality": "CT"}, "not an X-ray"),
        ({"Modality": "MG"}, "not an X-ray"),
        ({"BodyPartExamined": "HAND"}, "not a chest"),
        ({"ViewPosition": "LL"}, "lateral view"),
        ({"ViewPosition": "LATERAL"}, "lateral view"),
        ({"SeriesDescription": "Chest LAT"}, "lateral view"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw detector data"),
    ],
)
def test_other_than_a_frontal_chest_radiograph_is_noted(elements: dict, message: str) -> None:
    read = read_radiograph(image_bytes(stored(0, 1, dtype="u1"), **elements))
    assert len(read.notes) == 1
    assert message in read.notes[0]


@pytest.mark.parametrize(
    "elements",
    [
        {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA"},
        {"ViewPosition": "AP", "SeriesDescription": "PA and LAT"},
        {"SeriesDescription": "Thorax p.a./lateral"},
        {"SeriesDescription": "Lateral decubitus"},
        {"SeriesDescription": "Platinum"},
        {"Modality": "OT"},
        {"Modality": "", "BodyPartExamined": ""},
    ],
)
def test_frontal_chest_radiographs_have_no_note(elements: dict) -> None:
    assert read_radiograph(image_bytes(stored(0, 1, dtype="u1"), **elements)).notes == ()


def test_the_view_code_indicates_a_lateral_view() -> None:
    code = Dataset()
    code.CodeMeaning = "left lateral"
    read = read_radiograph(image_bytes(stored(0, 1), ViewCodeSequence=Sequence([code])))
    assert any("lateral view" in note for note in read.notes)


def test_no_identity_is_kept_shown_or_logged(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    data = dicom_image(
        stored(0, 1), SpecificCharacterSet="ISO_IR 999", SeriesDescription=SECRETS[0]
    )
    data.add_new("ViewPosition", "LO", SECRETS[0])
    data.add_new("BodyPartExamined", "LO", SECRETS[3] + "^")
    data.add_new("PatientAge", "LO", SECRETS[1])
    data.add_new("WindowCenter", "LO", SECRETS[1])
    data.add_new("WindowWidth", "LO", SECRETS[2])
    with caplog.at_level(logging.DEBUG):
        read = read_radiograph(as_bytes(data))
        text = repr(read) + caplog.text + " ".join(str(warning.message) for warning in recwarn)
    for secret in SECRETS:
        assert secret not in text
        assert secret.replace("^", " ") not in text
