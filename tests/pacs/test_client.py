"""Searching, fetching and storing, against a real Orthanc."""

import logging
from datetime import date

import pydicom
import pytest
from pacs_tools import ACCESSION, IDENTITY, PATIENT_ID, Orthanc, settings_of

from xray_core.errors import PacsError
from xray_core.pacs.client import PacsClient
from xray_core.pacs.search import ImageReference, StudyQuery

ROOT = "1.2.826.0.1.3680043.8.498."


@pytest.fixture
def client(server):
    client = PacsClient(server)
    yield client
    client.close()


def test_a_search_describes_studies_by_their_radiographic_series(client, orthanc, make_image):
    orthanc.upload(
        make_image("1", StudyDate="20261124"),
        make_image("2", number=1),
        make_image("2", number=2),
        make_image("2", series="2", Modality="CT", BodyPartExamined="ABDOMEN"),
        make_image("3", Modality="MR"),
    )
    studies, truncated = client.search(StudyQuery())
    assert not truncated
    assert [study.uid for study in studies] == [f"{ROOT}2", f"{ROOT}1"]
    newest = studies[0]
    assert newest.day == date(2026, 11, 25)
    assert newest.modalities == ("CR", "CT")
    assert newest.body_parts == ("CHEST",)
    assert (newest.images, newest.instances) == (2, 3)
    assert newest.identity == ("DOE^JANE", PATIENT_ID, ACCESSION, "CHEST PA")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (StudyQuery(patient_id="MRN-4711"), "1"),
        (StudyQuery(patient_id="MRN-4*"), "1"),
        (StudyQuery(patient_id="MRN-4"), ""),
        (StudyQuery(accession="ACC-2"), "2"),
        (StudyQuery(description="*ABDOMEN*"), "23"),
        (StudyQuery(description="XR ABDOMEN"), "2"),
        (StudyQuery(description="XR?ABDOMEN"), "23"),
        (StudyQuery(first=date(2026, 11, 2)), "2"),
        (StudyQuery(last=date(2026, 11, 1)), "13"),
        (StudyQuery(first=date(2026, 11, 1), last=date(2026, 11, 1)), "1"),
        (StudyQuery(modalities=("DX",)), "2"),
        (StudyQuery(), "123"),
    ],
)
def test_each_field_of_a_search_restricts_it(client, orthanc, make_image, query, found):
    orthanc.upload(
        make_image("1", StudyDate="20261101"),
        make_image(
            "2",
            StudyDate="20261103",
            PatientID="OTHER",
            AccessionNumber="ACC-2",
            StudyDescription="XR ABDOMEN",
            Modality="DX",
        ),
        make_image("3", PatientID="OTHER", StudyDescription="XR-ABDOMEN", StudyDate="20261020"),
    )
    studies, _ = client.search(query)
    assert sorted(study.uid for study in studies) == [f"{ROOT}{number}" for number in found]


def test_a_search_term_that_dicom_cannot_match_is_refused(client):
    with pytest.raises(PacsError, match="at most 64 characters and no backslash"):
        client.search(StudyQuery(patient_id="a\\b"))


def test_the_content_of_a_study_is_in_the_order_of_its_numbers(client, orthanc, make_image):
    orthanc.upload(
        make_image("1", series="2", number=3, SeriesNumber=2),
        make_image("1", series="1", number=10, SeriesNumber=1),
        make_image("1", series="1", number=9, SeriesNumber=1),
        make_image("1", series="3", number=1, Modality="CT", SeriesNumber=3),
    )
    content = client.content(f"{ROOT}1")
    assert [image.instance for image in content.images] == [
        f"{ROOT}1.1.9",
        f"{ROOT}1.1.10",
        f"{ROOT}1.2.3",
    ]
    assert content.others == (("CT", 1),)


def test_a_study_of_500_images_is_listed_completely(client, orthanc, make_image):
    import numpy as np

    grey = np.full((4, 4), 90, np.uint8)
    orthanc.upload(*(make_image("1", number=number, pixels=grey) for number in range(1, 501)))
    images = client.content(f"{ROOT}1").images
    assert [image.instance for image in images] == [
        f"{ROOT}1.1.{number}" for number in range(1, 501)
    ]
    studies, _ = client.search(StudyQuery())
    assert studies[0].images == 500


@pytest.mark.parametrize("study", [f"{ROOT}99", "1.2.3/../../../patients", "", "1..2", "1.2.03"])
def test_an_unknown_or_invalid_study_is_one_sentence(client, orthanc, study):
    with pytest.raises(PacsError, match=r"no such study|consists of numbers") as caught:
        client.content(study)
    assert study not in str(caught.value) or not study


@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.RLELossless])
def test_an_image_is_fetched_as_it_is_stored(client, orthanc, make_image, syntax):
    file = make_image()
    if syntax.is_encapsulated:
        import io

        dataset = pydicom.dcmread(io.BytesIO(file))
        dataset.compress(syntax, generate_instance_uid=False)
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        file = buffer.getvalue()
    orthanc.upload(file)
    (reference,) = client.content(f"{ROOT}1").images
    assert client.fetch(reference) == file


def test_a_missing_image_is_one_sentence(client, orthanc):
    missing = ImageReference("1.2.3", "1.2.4", "1.2.5")
    with pytest.raises(PacsError, match="status 404") as caught:
        client.fetch(missing)
    assert "1.2.5" not in str(caught.value)
    assert client.has(missing) is False


def test_nothing_is_stored_unless_the_settings_allow_it(client, orthanc, make_image):
    with pytest.raises(PacsError, match="not allowed: set XRAY_PACS_WRITE=1"):
        client.store(f"{ROOT}1", [make_image()])
    assert orthanc.get("/studies") == []


def test_a_file_is_stored_unchanged_and_once(orthanc, make_image):
    client = PacsClient(settings_of(orthanc, write=True))
    file = make_image()
    for _ in range(2):
        client.store(f"{ROOT}1", [file])
    assert orthanc.instances() == [file]
    assert client.has(ImageReference(f"{ROOT}1", f"{ROOT}1.1", f"{ROOT}1.1.1"))


def test_a_file_of_another_study_is_not_stored_in_this_one(orthanc, make_image):
    client = PacsClient(settings_of(orthanc, write=True))
    with pytest.raises(PacsError, match=r"did not store a result|did not accept"):
        client.store(f"{ROOT}2", [make_image("1")])


def test_a_wrong_password_is_one_sentence(orthanc):
    client = PacsClient(settings_of(orthanc, password="wrong"))
    with pytest.raises(PacsError, match=r"refused access \(status 401\)") as caught:
        client.search(StudyQuery())
    assert "wrong" not in str(caught.value)


def test_a_server_that_is_down_is_one_sentence(make_orthanc):
    orthanc: Orthanc = make_orthanc()
    client = PacsClient(settings_of(orthanc))
    assert client.search(StudyQuery()) == ([], False)
    orthanc.stop()
    with pytest.raises(PacsError, match=r"cannot be reached|ended the connection"):
        client.search(StudyQuery())


def test_an_address_without_dicomweb_is_one_sentence(orthanc):
    server = settings_of(orthanc, url=orthanc.url.replace("dicom-web", "app"))
    with pytest.raises(PacsError, match=r"status 404|not accept|something else than DICOM"):
        PacsClient(server).search(StudyQuery())


def test_no_log_and_no_message_contains_an_identity(orthanc, make_image, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    orthanc.upload(make_image())
    client = PacsClient(settings_of(orthanc, write=True))
    studies, _ = client.search(StudyQuery(patient_id=PATIENT_ID, accession=ACCESSION))
    content = client.content(studies[0].uid)
    client.store(studies[0].uid, [client.fetch(content.images[0])])
    orthanc.get("/studies")
    with pytest.raises(PacsError) as caught:
        PacsClient(settings_of(orthanc, url="http://localhost:9/x")).search(
            StudyQuery(patient_id=PATIENT_ID)
        )
    shown = [caplog.text, *capsys.readouterr(), str(caught.value), repr(studies), repr(content)]
    shown.append(repr(caught.value.__cause__) + repr(caught.value.__context__))
    for text in shown:
        assert [secret for secret in (*IDENTITY, ROOT) if secret in text] == []
