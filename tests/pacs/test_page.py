"""The PACS tab of the Prediction page, and results as DICOM, against a real Orthanc."""

import io
import logging
import zipfile
from collections.abc import Callable
from datetime import date, timedelta

import highdicom
import numpy as np
import pydicom
import pytest
import streamlit as st
from pacs_tools import ACCESSION, IDENTITY, PASSWORD, PATIENT_ID, USER, Orthanc
from page_tools import ROOT, page_text
from streamlit import config
from streamlit.testing.v1 import AppTest

from ui.prediction.cases import Visit
from ui.prediction.pacs_tab import REMOTE
from xray_core.pacs.client import PacsClient

UID = "1.2.826.0.1.3680043.8.498."
TODAY = f"{date.today():%Y%m%d}"
SECRETS = (*IDENTITY, "CHEST PA")


@pytest.fixture
def open_page(micro_models, monkeypatch, tmp_path) -> Callable[[], AppTest]:
    """`open_page()`: the Prediction page without a PACS in the settings."""
    monkeypatch.setenv("XRAY_MODELS", str(micro_models))
    monkeypatch.setenv("CHEST_XRAY_DIR", str(tmp_path / "no-dataset-here"))
    script = str(ROOT / "pages" / "prediction.py")
    return lambda: AppTest.from_file(script, default_timeout=60).run()


@pytest.fixture
def with_pacs(open_page, orthanc: Orthanc, monkeypatch) -> Callable[..., AppTest]:
    """`with_pacs(**settings)`: the page with `orthanc`; settings are XRAY_PACS_* variables."""

    def run(**settings: str) -> AppTest:
        own = {"URL": orthanc.url, "USER": USER, "PASSWORD": PASSWORD, **settings}
        for name, value in own.items():
            monkeypatch.setenv(f"XRAY_PACS_{name}", value)
        return open_page()

    return run


@pytest.fixture
def downloads(monkeypatch) -> dict[str, object]:
    """What each download of the page would give, by the label of its button."""
    found: dict[str, object] = {}

    def button(label: str, data: object, **_: object) -> bool:
        found[label] = data
        return False

    monkeypatch.setattr(st, "download_button", button)
    return found


def press(at: AppTest, label: str) -> AppTest:
    return next(button for button in at.button if button.label.startswith(label)).click().run()


def has_button(at: AppTest, label: str) -> bool:
    return any(button.label.startswith(label) for button in at.button)


def studies(at: AppTest):
    """The list of studies, None without one."""
    return next((one.value for one in at.dataframe if "Body part" in one.value), None)


def select(at: AppTest, *rows: int) -> AppTest:
    number = at.session_state["pacs_search"].number
    at.session_state[f"pacs-studies-{number}"] = {
        "selection": {"rows": list(rows), "columns": [], "cells": []}
    }
    return at.run()


def fetch_all(at: AppTest) -> AppTest:
    at = press(at, "Search")
    return press(select(at, *range(len(studies(at)))), "Fetch and analyse")


def shown(at: AppTest) -> str:
    """All that the page shows, with the tables."""
    return "\n".join([page_text(at), *(one.value.to_csv() for one in at.dataframe)])


def cases(at: AppTest):
    return at.session_state["prediction_visit"].cases


def test_without_a_pacs_the_page_has_no_tabs(open_page):
    at = open_page()
    assert not at.exception
    assert [tab.label for tab in at.tabs] == []
    assert not has_button(at, "Search")


def test_a_search_lists_the_studies_of_today_without_identity(with_pacs, orthanc, make_image):
    yesterday = f"{date.today() - timedelta(days=1):%Y%m%d}"
    orthanc.upload(
        make_image("1", StudyDate=TODAY),
        make_image("1", number=2, StudyDate=TODAY),
        make_image("2", StudyDate=yesterday),
    )
    at = press(with_pacs(), "Search")
    assert studies(at).to_dict("records") == [
        {
            "Study": 1,
            "Date": date.today().isoformat(),
            "Modality": "CR",
            "Images": 2,
            "Body part": "CHEST",
        }
    ]
    assert [secret for secret in SECRETS if secret in shown(at)] == []
    assert "Patient identity and study descriptions are hidden." in shown(at)


def test_the_operator_can_allow_identity(with_pacs, orthanc, make_image):
    orthanc.upload(make_image("1", StudyDate=TODAY))
    (row,) = studies(press(with_pacs(SHOW_IDENTITY="1"), "Search")).to_dict("records")
    assert (row["Patient ID"], row["Accession number"]) == (PATIENT_ID, ACCESSION)
    assert row["Description"] == "CHEST PA"


@pytest.mark.parametrize(
    ("label", "term", "found"),
    [
        ("Patient ID", "P-2", [2]),
        ("Accession number", "A-3", [3]),
        ("Description", "*LUNG*", [2]),
        ("Description", "nothing", None),
    ],
)
def test_each_field_restricts_a_search(with_pacs, orthanc, make_image, label, term, found):
    for number in (1, 2, 3):
        orthanc.upload(
            make_image(
                str(number),
                StudyDate=TODAY,
                PatientID=f"P-{number}",
                AccessionNumber=f"A-{number}",
                StudyDescription="LUNGS" if number == 2 else "CHEST",
                BodyPartExamined=f"PART{number}",
            )
        )
    at = with_pacs()
    next(field for field in at.text_input if field.label == label).set_value(term)
    at = press(at, "Search")
    if found is None:
        assert studies(at) is None
        assert "No study with radiographs (CR or DX) matches." in [one.value for one in at.info]
    else:
        assert list(studies(at)["Body part"]) == [f"PART{number}" for number in found]


def test_a_search_that_finds_nothing_says_that_the_pacs_has_more(with_pacs, monkeypatch):
    monkeypatch.setattr(PacsClient, "search", lambda client, query: ([], True))
    at = press(with_pacs(), "Search")
    assert [one.value for one in at.info] == [
        "No study with radiographs (CR or DX) matches. The PACS has more: narrow the search."
    ]


def test_dates_and_modality_restrict_a_search(with_pacs, orthanc, make_image):
    orthanc.upload(
        make_image("1", StudyDate="20200101"),
        make_image("2", StudyDate="20200103", Modality="DX"),
        make_image("3", StudyDate="20200105"),
    )
    at = with_pacs()
    at.date_input[0].set_value((date(2020, 1, 1), date(2020, 1, 3)))
    at = press(at, "Search")
    assert list(studies(at)["Date"]) == ["2020-01-03", "2020-01-01"]
    at.date_input[0].set_value(())
    at = press(at, "Search")
    assert len(studies(at)) == 3
    at.button_group[0].set_value(["DX"])
    assert list(studies(press(at, "Search"))["Modality"]) == ["DX"]


def test_fetched_images_are_analysed_as_dropped_files_are(
    with_pacs, orthanc, make_image, predictor
):
    files = [
        make_image("1", StudyDate=TODAY, StudyTime="120000"),
        make_image("2", seed=1001, pneumonia=True, StudyDate=TODAY, StudyTime="130000"),
    ]
    orthanc.upload(*files)
    at = fetch_all(with_pacs())
    assert not at.exception
    assert [case.number for case in cases(at)] == [1, 2]
    by_instance = {
        pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID: predictor.predict(data) for data in files
    }
    for case in cases(at):
        expected = by_instance[pydicom.dcmread(io.BytesIO(case.data)).SOPInstanceUID]
        assert case.result.verdict == expected.verdict
        assert case.result.probability == pytest.approx(expected.probability, abs=1e-6)
        assert case.name == ""
    assert f"Study 1 of {date.today().isoformat()}, image 1" in shown(at)
    assert [secret for secret in SECRETS if secret in shown(at)] == []


def test_what_is_no_frontal_chest_image_is_listed_with_the_reason(with_pacs, orthanc, make_image):
    orthanc.upload(
        make_image(number=1, StudyDate=TODAY),
        make_image(number=2, StudyDate=TODAY, ViewPosition="LL"),
        make_image(number=3, StudyDate=TODAY, BodyPartExamined="HAND"),
        make_image(series="2", Modality="CT", SeriesNumber=2, StudyDate=TODAY),
    )
    at = fetch_all(with_pacs())
    assert len(cases(at)) == 1
    text = shown(at)
    assert "3 skipped" in [one.proto.popover.label for one in at.get("popover")]
    assert "- Study 1, 1 object of modality CT: Not a radiograph (CR or DX)." in text
    assert "- Study 1, image 2: According to the file, this is a lateral view." in text
    assert "- Study 1, image 3: " in text


def test_a_dicom_file_of_a_pacs_that_starts_like_a_zip_is_one_image(make_image):
    data = make_image()
    data = b"PK\x03\x04" + data[4:]  # the preamble may hold anything
    visit = Visit()
    visit.drop([("Study 1, image 1", data)], pacs="test")
    (case,) = visit.cases
    assert (case.data, case.archive, case.problem) == (data, None, None)
    assert case.read().pixels.shape == (224, 224)


def test_a_study_without_a_chest_image_leaves_the_images_as_they_are(
    with_pacs, orthanc, make_image, image_png
):
    orthanc.upload(make_image(StudyDate=TODAY, BodyPartExamined="HAND"))
    at = with_pacs()
    at.file_uploader[0].upload("a.png", image_png(0), "image/png")
    at = at.run()
    at = fetch_all(at)
    assert "No image to analyse was found." in [one.value for one in at.info]
    assert [case.name for case in cases(at)] == ["a.png"]
    assert studies(at) is not None


def test_the_list_stays_until_the_images_are_cleared(with_pacs, orthanc, make_image):
    orthanc.upload(make_image(StudyDate=TODAY))
    at = fetch_all(with_pacs())
    assert len(studies(at)) == 1
    assert len(cases(at)) == 1
    at = press(at, "Clear")
    assert studies(at) is None
    assert at.session_state["pacs_search"].studies == {}


def test_results_are_stored_once_after_a_confirmation(with_pacs, orthanc, make_image, predictor):
    data = make_image(seed=1001, pneumonia=True, StudyDate=TODAY)
    orthanc.upload(data)
    at = fetch_all(with_pacs(WRITE="1"))
    assert orthanc.instances("SR") == []
    at = press(at, "Store in the PACS")
    assert [one.value for one in at.success] == ["2 files were stored."]
    at = press(at, "Store in the PACS")
    assert [one.value for one in at.success] == ["0 files were stored. 2 files were already there."]
    source = pydicom.dcmread(io.BytesIO(data))
    (report,), (capture,) = orthanc.instances("SR"), orthanc.instances("OT")
    read = highdicom.sr.srread(io.BytesIO(report))
    (group,) = read.content.get_image_measurement_groups()
    assert group.source_images[0].referenced_sop_instance_uid == source.SOPInstanceUID
    (number,) = (one.value for one in group.get_measurements() if one.name.value == "103815-7")
    assert number == pytest.approx(predictor.predict(data).probability, abs=5e-5)
    for stored in (read, pydicom.dcmread(io.BytesIO(capture))):
        assert stored.StudyInstanceUID == source.StudyInstanceUID
        assert (stored.PatientID, stored.AccessionNumber) == (PATIENT_ID, ACCESSION)
        assert stored.SeriesDescription == "AI result, not for diagnosis"


def test_results_of_all_images_are_stored_together(with_pacs, orthanc, make_image):
    noise = np.random.default_rng(0).integers(0, 255, (224, 224)).astype(np.uint8)
    orthanc.upload(
        make_image("1", StudyDate=TODAY),
        make_image("2", StudyDate=TODAY),
        make_image("3", StudyDate=TODAY, pixels=noise),
    )
    at = fetch_all(with_pacs(WRITE="1"))
    at = press(at, "Store in the PACS")  # the first button is that of all images
    assert [one.value for one in at.success] == ["5 files were stored."]
    assert len(orthanc.instances("SR")) == 3
    assert len(orthanc.instances("OT")) == 2  # the noise was refused


def test_an_image_that_cannot_be_written_as_dicom_does_not_block_the_others(
    with_pacs, orthanc, make_image, refuse_results
):
    orthanc.upload(*(make_image(number=number, StudyDate=TODAY) for number in (1, 2, 3)))
    refuse_results(".2")
    at = fetch_all(with_pacs(WRITE="1"))
    at = press(at, "Store in the PACS")  # the first button is that of all images
    assert not at.exception
    assert [one.value for one in at.success] == ["4 files were stored."]
    (error,) = (one.value for one in at.error)
    assert error == (
        "The results of 1 image were not sent:\n\n"
        f"- Study 1 of {date.today().isoformat()}, image 2: "
        "The result of an image could not be written as DICOM."
    )
    assert len(orthanc.instances("SR")) == 2


def test_without_permission_nothing_can_be_sent(with_pacs, orthanc, make_image, downloads):
    orthanc.upload(make_image("1", StudyDate=TODAY), make_image("2", StudyDate=TODAY))
    at = fetch_all(with_pacs())
    assert not has_button(at, "Store in")
    assert "Result (DICOM)" in downloads


def test_a_dropped_dicom_image_has_a_download_and_is_sent_nowhere(with_pacs, make_image, downloads):
    data = make_image(seed=1001, pneumonia=True)
    at = with_pacs(WRITE="1")
    at.file_uploader[0].upload("a.dcm", data, "application/dicom")
    at = at.run()
    assert not has_button(at, "Store in")
    with zipfile.ZipFile(io.BytesIO(downloads["Result (DICOM)"]())) as archive:
        files = {name: pydicom.dcmread(archive.open(name)) for name in archive.namelist()}
    assert {name: file.Modality for name, file in files.items()} == {
        "chest-xray-capture-1.dcm": "OT",
        "chest-xray-report-1.dcm": "SR",
    }
    source = pydicom.dcmread(io.BytesIO(data))
    assert {str(file.StudyInstanceUID) for file in files.values()} == {source.StudyInstanceUID}


def test_a_refused_image_has_a_report_alone(open_page, make_image, downloads):
    noise = np.random.default_rng(0).integers(0, 255, (224, 224)).astype(np.uint8)
    at = open_page()
    at.file_uploader[0].upload("a.dcm", make_image(pixels=noise), "application/dicom")
    at.run()
    with zipfile.ZipFile(io.BytesIO(downloads["Result (DICOM)"]())) as archive:
        assert archive.namelist() == ["chest-xray-report-1.dcm"]
        assert b"NUM" not in archive.read("chest-xray-report-1.dcm")


def test_a_file_is_read_for_its_results_once(open_page, make_image, monkeypatch):
    from xray_core.pacs import source

    reads = []
    read_source = source.read_source
    monkeypatch.setattr(source, "read_source", lambda data: reads.append(1) or read_source(data))
    at = open_page()
    at.file_uploader[0].upload("a.dcm", make_image(), "application/dicom")
    at = at.run()
    at.run()
    assert reads == [1]


def test_other_images_have_no_result_as_dicom(open_page, image_png, downloads):
    at = open_page()
    at.file_uploader[0].upload("a.png", image_png(0), "image/png")
    at = at.run()
    assert not at.exception
    assert "Report (PDF)" in downloads
    assert "Result (DICOM)" not in downloads


def test_an_image_without_valid_uids_is_told_so(open_page, make_image, downloads):
    at = open_page()
    data = make_image(StudyInstanceUID="")
    at.file_uploader[0].upload("a.dcm", data, "application/dicom")
    at = at.run()
    assert "Result (DICOM)" not in downloads
    assert "no valid UIDs" in "\n".join(one.value for one in at.caption)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"URL": "http://localhost:9/dicom-web"},
            "The PACS cannot be reached. Check that it runs, and its url.",
        ),
        (
            {"PASSWORD": "wrong"},
            "The PACS refused access (status 401): check user and password, or the token.",
        ),
    ],
)
def test_a_search_that_fails_is_one_sentence(with_pacs, settings, sentence):
    at = press(with_pacs(**settings), "Search")
    assert not at.exception
    assert [one.value for one in at.error] == [sentence]
    assert studies(at) is None


def test_invalid_settings_are_one_sentence_without_the_value(with_pacs):
    at = with_pacs(URL="ftp://secret.example/dicom-web")
    assert not at.exception
    (info,) = at.info
    assert info.value.startswith("The PACS setting url in the environment must be the root")
    assert "secret" not in shown(at)
    assert at.file_uploader


def test_a_server_that_dies_after_the_search_is_one_sentence(with_pacs, make_orthanc, make_image):
    own = make_orthanc()
    own.upload(make_image("1", StudyDate=TODAY), make_image("2", StudyDate=TODAY))
    at = press(with_pacs(URL=own.url), "Search")
    at = select(at, 0, 1)
    own.stop()
    at = press(at, "Fetch and analyse")
    assert not at.exception
    assert cases(at) == []
    assert "No image to analyse was found." in [one.value for one in at.info]
    text = shown(at)
    for number in (1, 2):
        assert f"- Study {number}, all images: The PACS cannot be reached." in text


def test_a_server_that_dies_before_sending_is_one_sentence(with_pacs, make_orthanc, make_image):
    own = make_orthanc()
    own.upload(make_image("1", StudyDate=TODAY))
    at = fetch_all(with_pacs(URL=own.url, WRITE="1"))
    own.stop()
    at = press(at, "Store in the PACS")
    assert not at.exception
    assert [one.value for one in at.error] == [
        "The PACS cannot be reached. Check that it runs, and its url."
    ]
    assert len(cases(at)) == 1


def test_a_visitor_from_elsewhere_needs_the_operators_permission(
    with_pacs, orthanc, make_image, monkeypatch
):
    orthanc.upload(make_image("1", StudyDate=TODAY))
    before = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    try:
        at = with_pacs()
        assert REMOTE in [one.value for one in at.info]
        assert not has_button(at, "Search")
        at = press(with_pacs(REMOTE="1"), "Search")
        assert len(studies(at)) == 1
    finally:
        config.set_option("server.address", before)


def test_the_page_logs_no_identity(with_pacs, orthanc, make_image, caplog):
    caplog.set_level(logging.DEBUG)
    orthanc.upload(make_image("1", StudyDate=TODAY), make_image("1", number=2, ViewPosition="LL"))
    at = with_pacs(WRITE="1")
    at.text_input[0].set_value(PATIENT_ID)
    at = fetch_all(at)
    press(at, "Store in the PACS")
    assert len(orthanc.instances("SR")) == 1
    logged = [
        record.getMessage() for record in caplog.records if not record.name.startswith("tests")
    ]
    assert [secret for secret in SECRETS if secret in "\n".join(logged)] == []
    assert UID not in "\n".join(logged)
