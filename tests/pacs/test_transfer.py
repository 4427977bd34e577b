"""Fetching the chest images of several studies, against a real Orthanc."""

import io
import zipfile
from datetime import date
from types import SimpleNamespace

import pytest
from pacs_tools import settings_of

from xray_core.errors import PacsError
from xray_core.pacs.analysis import analyse_image
from xray_core.pacs.client import PacsClient
from xray_core.pacs.search import Identity, ImageReference, StudyContent, StudyFound, StudyQuery
from xray_core.pacs.transfer import ANOTHER_IMAGE, Transfer, skip_reasons


@pytest.fixture
def client(server):
    client = PacsClient(server)
    yield client
    client.close()


@pytest.fixture
def transfer_of_all(client):
    """`transfer_of_all(**limits)`: a transfer of every study, the newest first."""

    def make(max_images=100, max_bytes=2**30):
        found, _ = client.search(StudyQuery())
        studies = dict(enumerate(found, 1))
        return Transfer(studies, max_images=max_images, max_bytes=max_bytes)

    return make


def run(transfer, client):
    while not transfer.is_complete:
        transfer.step(client)


def test_each_chest_image_is_fetched_as_it_is_stored(client, orthanc, make_image, transfer_of_all):
    newest, oldest = make_image("1", StudyDate="20200103"), make_image("2", StudyDate="20200101")
    second = make_image("2", number=2, StudyDate="20200101")
    orthanc.upload(newest, oldest, second)
    transfer = transfer_of_all()
    assert (transfer.done, transfer.left) == (0, 3)
    run(transfer, client)
    assert (transfer.done, transfer.left) == (3, 0)
    assert [(one.study, one.number) for one in transfer.fetched] == [(1, 1), (2, 1), (2, 2)]
    assert sorted(len(one.data) for one in transfer.fetched) == sorted(
        len(orthanc_file) for orthanc_file in orthanc.instances()
    )
    assert (transfer.skipped, transfer.problem) == ([], "")


def test_a_transfer_continues_where_it_was_interrupted(
    client, orthanc, make_image, transfer_of_all
):
    orthanc.upload(*(make_image(number=number) for number in (1, 2, 3)))
    transfer = transfer_of_all()
    transfer.step(client)  # lists the images
    transfer.step(client)
    assert [one.number for one in transfer.fetched] == [1]
    run(transfer, client)
    assert [one.number for one in transfer.fetched] == [1, 2, 3]


def test_a_stopped_transfer_keeps_what_it_has(client, orthanc, make_image, transfer_of_all):
    orthanc.upload(*(make_image(number=number) for number in (1, 2, 3)))
    transfer = transfer_of_all()
    transfer.step(client)
    transfer.step(client)
    transfer.stop("Stopped.")
    assert transfer.is_complete
    assert len(transfer.fetched) == 1
    assert transfer.problem == "Stopped. 2 images were not fetched."


def test_no_more_images_are_fetched_than_allowed(client, orthanc, make_image, transfer_of_all):
    orthanc.upload(*(make_image(number=number) for number in (1, 2, 3)))
    transfer = transfer_of_all(max_images=2)
    run(transfer, client)
    assert [one.number for one in transfer.fetched] == [1, 2]
    assert transfer.problem == "At most 2 images are fetched at once. 1 image was not fetched."


def test_no_more_bytes_are_fetched_than_allowed(client, orthanc, make_image, transfer_of_all):
    files = [make_image(number=number) for number in (1, 2, 3)]
    orthanc.upload(*files)
    size = max(len(file) for file in orthanc.instances())
    transfer = transfer_of_all(max_bytes=2 * size)
    run(transfer, client)
    assert [one.number for one in transfer.fetched] == [1, 2]
    assert transfer.problem.startswith("The images are too large to be fetched at once.")


def test_failures_in_a_row_end_a_transfer(make_orthanc, make_image):
    own = make_orthanc()
    own.upload(*(make_image(number=number) for number in range(1, 7)))
    client = PacsClient(settings_of(own))
    found, _ = client.search(StudyQuery())
    transfer = Transfer({1: found[0]}, max_images=100, max_bytes=2**30)
    transfer.step(client)
    transfer.step(client)
    own.stop()
    run(transfer, client)
    client.close()
    assert [one.number for one in transfer.fetched] == [1]
    assert [one.what for one in transfer.skipped] == ["image 2", "image 3"]
    reasons = {one.reason for one in transfer.skipped}
    assert len(reasons) <= 2  # the kept connection broke, and no new one could be made
    assert transfer.problem == (
        "The PACS test cannot be reached. Check that it runs, and its url. "
        "3 images were not fetched."
    )


def test_one_failure_does_not_end_a_transfer(
    client, orthanc, make_image, transfer_of_all, monkeypatch
):
    orthanc.upload(*(make_image(number=number) for number in (1, 2, 3)))
    fetch = client.fetch

    def fail_once(image):
        if image.instance.endswith(".2"):
            raise PacsError("The image is too large.")
        return fetch(image)

    monkeypatch.setattr(client, "fetch", fail_once)
    transfer = transfer_of_all()
    run(transfer, client)
    assert [one.number for one in transfer.fetched] == [1, 3]
    ((what, reason),) = [(one.what, one.reason) for one in transfer.skipped]
    assert (what, reason) == ("image 2", "The image is too large.")


def test_another_image_than_the_requested_one_is_skipped(make_image):
    image = ImageReference(*(f"1.2.826.0.1.3680043.8.498.{part}" for part in ("1", "1.1", "1.1.1")))
    assert skip_reasons(make_image(), image) == ()
    assert skip_reasons(make_image(number=2), image) == (ANOTHER_IMAGE,)
    assert skip_reasons(make_image("2"), image) == (ANOTHER_IMAGE,)


def zipped(file):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", file)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["without UIDs", "picture", "ZIP", "damaged"])
def test_a_file_that_cannot_be_compared_with_the_requested_image_is_skipped(
    make_image, image_png, predictor, kind
):
    data = {
        "without UIDs": make_image(StudyInstanceUID=None),
        "picture": image_png(0),
        "ZIP": zipped(image_png(0)),
        "damaged": make_image()[:300],
    }[kind]
    image = ImageReference("1.2.3", "1.2.4", "1.2.5")
    client = SimpleNamespace(
        content=lambda study: StudyContent((image,), ()), fetch=lambda image: data
    )
    study = StudyFound("1.2.3", date(2026, 11, 25), ("CR",), ("CHEST",), 1, 1, Identity(*"abcd"))
    transfer = Transfer({1: study}, max_images=100, max_bytes=2**30)
    run(transfer, client)
    assert transfer.fetched == []
    (skipped,) = transfer.skipped
    assert skipped.what == "image 1"
    # The command line has the same reason.
    prediction = analyse_image(data, predictor, image, make_files=False).prediction
    assert (prediction.verdict, prediction.reasons) == ("UNREADABLE", (skipped.reason,))
