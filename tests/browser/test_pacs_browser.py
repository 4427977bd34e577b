"""From a search in a PACS to a stored result, in a real browser with a real Orthanc."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from browser_tools import PHONE, Server, shot
from dicom_maker import as_bytes, dicom_image
from pacs_tools import IDENTITY, NAME, PASSWORD, PATIENT_ID, USER, Orthanc, running_orthanc
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
SLOW = 180_000  # the first image loads TensorFlow
ROOT_UID = "1.2.826.0.1.3680043.8.498.7"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], micro_models: Path, orthanc: Orthanc) -> Server:
    settings = {"URL": orthanc.url, "USER": USER, "PASSWORD": PASSWORD, "WRITE": "1"}
    return start_server(micro_models, **{f"XRAY_PACS_{key}": one for key, one in settings.items()})


@pytest.fixture
def studies(orthanc: Orthanc, image) -> None:
    """Three studies of today: without pneumonia, with pneumonia, and a lateral image."""
    orthanc.empty()
    for number, (pneumonia, view) in enumerate([(False, "PA"), (True, "PA"), (False, "LL")], 1):
        dataset = dicom_image(
            image(number, pneumonia),
            StudyInstanceUID=f"{ROOT_UID}.{number}",
            SeriesInstanceUID=f"{ROOT_UID}.{number}.1",
            SOPInstanceUID=f"{ROOT_UID}.{number}.1.1",
            PatientName=NAME,
            PatientID=PATIENT_ID,
            StudyDate=date.today().strftime("%Y%m%d"),
            StudyTime=f"10{number:02}00",
            BodyPartExamined="CHEST",
            ViewPosition=view,
        )
        orthanc.upload(as_bytes(dataset))


def choose_rows(page: Page, *rows: int) -> None:
    """Check rows of the list of studies, the first is 0: a canvas that is known by its places."""
    at = page.get_by_test_id("stDataFrame").bounding_box()
    for row in rows:
        page.mouse.click(at["x"] + 14, at["y"] + 35 * (row + 1) + 18)


def test_from_a_search_to_a_stored_result(
    server: Server, orthanc: Orthanc, studies: None, page: Page
) -> None:
    page.goto(server.url)
    page.get_by_role("tab", name="PACS").click()
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("3 studies. Select one or several.")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name="Fetch and analyse")).to_be_disabled()
    choose_rows(page, 0, 1, 2)
    shot(page, "pacs-search")
    page.get_by_role("button", name="Fetch and analyse 3 images").click()

    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    shot(page, "pacs-result")
    assert [text for text in IDENTITY if text in page.inner_text("body")] == []
    page.get_by_role("button", name="1 skipped").click()
    expect(page.get_by_text("Study 1, ")).to_be_visible()
    page.keyboard.press("Escape")
    assert orthanc.instances("SR") == []

    page.get_by_role("button", name="Send to PACS").click()
    page.get_by_role("button", name="Store in the PACS").click()
    expect(page.get_by_text("2 files were stored.")).to_be_visible(timeout=SLOW)
    assert (len(orthanc.instances("SR")), len(orthanc.instances("OT"))) == (1, 1)


def test_the_search_fits_a_phone(
    server: Server, studies: None, open_browser_page: Callable[..., Page]
) -> None:
    page = open_browser_page(PHONE)
    page.goto(server.url)
    page.get_by_role("tab", name="PACS").click()
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("3 studies. Select one or several.")).to_be_visible(timeout=SLOW)
    choose_rows(page, 1)
    fetch = page.get_by_role("button", name="Fetch and analyse 1 image")
    expect(fetch).to_be_enabled()
    shot(page, "pacs-search-phone")
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    fetch.click()
    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)
