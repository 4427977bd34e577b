"""`python -m xray_core pacs`: what it prints, stores and returns, against a real Orthanc."""

import io
import logging
from datetime import date

import highdicom
import numpy as np
import pydicom
import pytest
from pacs_tools import IDENTITY, PASSWORD, USER

from xray_core.cli import main

ROOT = "1.2.826.0.1.3680043.8.498."
STUDY = f"{ROOT}1"


@pytest.fixture
def run(orthanc, micro_models, monkeypatch, capsys, tmp_path):
    """`run(*arguments)`: exit status, lines of output, text of errors; stored results allowed."""
    monkeypatch.setenv("XRAY_PACS_URL", orthanc.url)
    monkeypatch.setenv("XRAY_PACS_USER", USER)
    monkeypatch.setenv("XRAY_PACS_PASSWORD", PASSWORD)
    monkeypatch.setenv("XRAY_PACS_WRITE", "1")

    def call(command, *arguments):
        model = () if command == "search" else ("--models", str(micro_models), "--model", "micro")
        status = main(["pacs", command, *arguments, *model])
        output = capsys.readouterr()
        return status, output.out.splitlines(), output.err

    return call


@pytest.fixture
def mixed_study(orthanc, make_image):
    """A study with a chest X-ray, noise, a hand, a lateral view, a damaged image and a CT."""
    noise = np.random.default_rng(0).integers(0, 255, (224, 224)).astype(np.uint8)
    orthanc.upload(
        make_image(number=1, seed=1001, pneumonia=True),
        make_image(number=2, pixels=noise),
        make_image(number=3, BodyPartExamined="HAND"),
        make_image(number=4, ViewPosition="LL"),
        make_image(number=5, BitsAllocated=12),
        make_image(number=1, series="2", Modality="CT", SeriesNumber=2),
    )


def test_a_search_lists_studies_with_a_masked_identity(run, orthanc, make_image):
    orthanc.upload(make_image("1", StudyDate="20200102"), make_image("2", StudyDate="20200103"))
    status, lines, _ = run("search", "--from", "2020-01-01", "--to", "2020-01-02")
    assert status == 0
    assert lines[0].split("  ")[0] == "date"
    assert lines[1].split() == ["2020-01-02", "CR", "CHEST", "1", STUDY]
    assert lines[2] == "1 study."
    assert lines[-1] == "Identity is not shown. XRAY_PACS_SHOW_IDENTITY=1 shows it."
    assert [secret for secret in IDENTITY if secret in "".join(lines)] == []


def test_without_a_term_the_studies_of_today_are_listed(run, orthanc, make_image):
    orthanc.upload(
        make_image("1", StudyDate="20200101"),
        make_image("2", StudyDate=f"{date.today():%Y%m%d}"),
    )
    _, lines, _ = run("search")
    assert [line for line in lines if f"{ROOT}1" in line] == []
    assert lines[1].endswith(f"{ROOT}2")
    assert lines[2] == "1 study."
    _, lines, _ = run("search", "--modality", "DX")
    assert lines == ["0 studies."]


def test_an_identity_is_shown_if_the_operator_allows_it(run, orthanc, make_image, monkeypatch):
    monkeypatch.setenv("XRAY_PACS_SHOW_IDENTITY", "1")
    orthanc.upload(make_image(PatientName="DOE^JANE\x1b[31m"))
    status, lines, _ = run("search", "--patient-id", "MRN-*")
    assert status == 0
    for text in ("DOE^JANE", "MRN-4711", "ACC-0815", "CHEST PA"):
        assert text in lines[1]
    assert "\x1b" not in lines[1]


def test_every_image_of_a_study_has_a_result_or_a_reason(run, mixed_study, orthanc):
    status, lines, errors = run("analyse", "--study", STUDY)
    assert (status, errors) == (0, "")
    assert lines[0] == "1 of modality CT: skipped, not a radiograph (CR or DX)."
    assert lines[1].startswith("Image 1 of 5: Pneumonia suspected. The model finds signs")
    assert lines[2].startswith("Image 2 of 5: Not analysed. ")
    assert lines[3] == (
        "Image 3 of 5: skipped. According to the file, this is not a chest (body part HAND)."
    )
    assert "this is a lateral view" in lines[4]
    assert lines[5] == (
        "Image 5 of 5: Unreadable. The DICOM file stores 12 bits per pixel, which cannot be read."
    )
    assert len(lines) == 6
    assert len(orthanc.get("/instances")) == 6  # nothing was stored


def test_results_are_stored_once_in_the_study(run, mixed_study, orthanc):
    status, lines, _ = run("analyse", "--study", STUDY, "--store")
    assert status == 0
    assert lines[-1] == "3 results were stored, 0 were already there."
    stored = [pydicom.dcmread(io.BytesIO(file)) for file in orthanc.instances("SR")]
    assert len(stored) == 2
    for report in stored:
        assert report.StudyInstanceUID == STUDY
        assert report.PatientName == "DOE^JANE"
        document = highdicom.sr.ComprehensiveSR.from_dataset(report)
        (group,) = document.content.get_image_measurement_groups()
        values = {
            one.name.meaning: one.value.meaning for one in group.get_qualitative_evaluations()
        }
        measured = [one.name.value for one in group.get_measurements()]
        if values["Input check"] == "Refused":
            assert (values["Pneumonia"], measured) == ("Not analysed", [])
        else:
            assert (values["Pneumonia"], measured[0]) == ("Suspected", "103815-7")
    (study,) = orthanc.get("/studies")
    series = orthanc.get(f"/studies/{study}/series")
    assert sorted(one["MainDicomTags"]["Modality"] for one in series) == ["CR", "CT", "OT", "SR"]
    status, lines, _ = run("analyse", "--study", STUDY, "--store")
    assert status == 0
    assert lines[-1] == "0 results were stored, 3 were already there."
    assert "2 of modality SR: skipped, not a radiograph (CR or DX)." in lines
    assert len(orthanc.get("/instances")) == 9


def test_storing_without_permission_is_refused_before_anything_is_fetched(
    run, mixed_study, monkeypatch
):
    monkeypatch.setenv("XRAY_PACS_WRITE", "0")
    status, lines, errors = run("analyse", "--study", STUDY, "--store")
    assert (status, lines) == (1, [])
    assert errors == "Storing in the PACS is not allowed: set XRAY_PACS_WRITE=1.\n"


def test_results_can_be_written_into_a_folder(run, mixed_study, orthanc, tmp_path):
    status, lines, _ = run("analyse", "--study", STUDY, "--out", str(tmp_path / "new"))
    assert status == 0
    assert lines[-1] == f"3 DICOM files were written to {tmp_path / 'new'}."
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [
        "image-1-capture.dcm",
        "image-1-report.dcm",
        "image-2-report.dcm",
    ]
    assert len(orthanc.get("/instances")) == 6


def test_an_image_that_cannot_be_written_as_dicom_does_not_end_a_study(
    run, orthanc, make_image, refuse_results, tmp_path
):
    orthanc.upload(*(make_image(number=number) for number in (1, 2, 3)))
    refuse_results(".2")
    folder = tmp_path / "new"
    status, lines, errors = run("analyse", "--study", STUDY, "--store", "--out", str(folder))
    assert (status, errors) == (0, "")
    problem = "The result of an image could not be written as DICOM."
    assert [line.endswith(problem) for line in lines[:3]] == [False, True, False]
    assert lines[3:] == [
        f"4 DICOM files were written to {folder}.",
        "4 results were stored, 0 were already there.",
        "The results of 1 image could not be written as DICOM.",
    ]
    assert len(orthanc.instances("SR")) == 2


def test_a_study_without_a_chest_x_ray_is_no_failure(run, orthanc, make_image):
    orthanc.upload(
        make_image("1", BodyPartExamined="FOOT"), make_image("2", Modality="MR", series="9")
    )
    status, lines, _ = run("analyse", "--study", STUDY)
    assert status == 0
    assert lines == [
        "Image 1 of 1: skipped. According to the file, this is not a chest (body part FOOT)."
    ]
    status, lines, _ = run("analyse", "--study", f"{ROOT}2")
    assert status == 0
    assert lines == [
        "1 of modality MR: skipped, not a radiograph (CR or DX).",
        "The study has no radiographs (CR or DX).",
    ]


def test_a_study_of_500_images_is_analysed_completely(run, orthanc, make_image):
    grey = np.full((8, 8), 90, np.uint8)
    orthanc.upload(*(make_image(number=number, pixels=grey) for number in range(1, 501)))
    status, lines, _ = run("analyse", "--study", STUDY)
    assert status == 0
    assert [line.split(":")[0] for line in lines] == [
        f"Image {number} of 500" for number in range(1, 501)
    ]
    assert all(": Not analysed. " in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("analyse", "--study", f"{ROOT}77"), "no such study"),
        (("analyse", "--study", "../patients"), "consists of numbers and dots"),
        (("search", "--server", "other"), "No PACS has this name. Configured: environment."),
        (("search", "--from", "2026-11-25", "--to", "2026-11-24"), "after its last day"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, arguments, message):
    status, lines, errors = run(*arguments)
    assert (status, lines) == (1, [])
    assert message in errors
    assert errors.count("\n") == 1


def test_a_server_that_is_down_is_one_sentence(run, monkeypatch):
    monkeypatch.setenv("XRAY_PACS_URL", "http://localhost:9/dicom-web")
    status, lines, errors = run("search")
    assert (status, lines) == (1, [])
    assert errors == ("The PACS cannot be reached. Check that it runs, and its url.\n")


def test_a_connection_without_encryption_gives_a_warning(run, monkeypatch):
    monkeypatch.setenv("XRAY_PACS_URL", "http://pacs.invalid/dicom-web")
    _, _, errors = run("search")
    assert errors.startswith("Images and password travel to the PACS without encryption")


def test_watching_once_analyses_and_stores(run, mixed_study, orthanc, tmp_path):
    state = tmp_path / "watch.sqlite"
    arguments = ("--once", "--days", "3650", "--state", str(state))
    status, lines, _ = run("watch", *arguments, "--dry-run")
    assert (status, lines) == (0, ["1 studies searched, 5 images not analysed yet."])
    assert len(orthanc.get("/instances")) == 6
    status, lines, _ = run("watch", *arguments)
    assert status == 0
    assert lines[0][20:] == (
        "1 studies searched, 2 images analysed, 2 images skipped, 1 images unreadable, "
        "0 images not analysed yet, 0 images failed, 3 results stored"
    )
    status, lines, _ = run("watch", *arguments)
    assert "0 images analysed" in lines[0]
    status, lines, _ = run("watch", *arguments, "--dry-run")
    assert lines == ["1 studies searched, 0 images not analysed yet."]
    assert len(orthanc.get("/instances")) == 9


def test_no_command_logs_an_identity(run, mixed_study, caplog, recwarn, tmp_path):
    caplog.set_level(logging.DEBUG)
    outputs = [
        run("search", "--patient-id", "MRN-4711", "--accession", "ACC-0815"),
        run("analyse", "--study", STUDY, "--store"),
        run("watch", "--once", "--days", "3650", "--state", str(tmp_path / "watch.sqlite")),
    ]
    shown = [str(outputs), caplog.text, *(str(warning.message) for warning in recwarn)]
    for text in shown:
        assert [secret for secret in IDENTITY if secret in text] == []
    assert ROOT not in caplog.text
