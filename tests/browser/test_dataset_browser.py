"""The Dataset page in a real browser, over a made-up folder of images."""

from collections.abc import Callable
from pathlib import Path

import pytest
from browser_tools import LAPTOP, PHONE, Server, shot
from drawn_images import KAGGLE_LIKE, write_dataset
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
PATIENCE = 60_000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_dataset(tmp_path_factory.mktemp("images") / "chest_xray", KAGGLE_LIKE)
    original = root / "train/PNEUMONIA/person3_virus_7.jpeg"
    (root / "test/PNEUMONIA/person777_virus_1.jpeg").write_bytes(original.read_bytes())
    return root


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., Server], dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    folder = tmp_path_factory.mktemp("app")
    (folder / "models").mkdir()
    return start_server(
        folder / "models", CHEST_XRAY_DIR=str(dataset), XRAY_CACHE=str(folder / "cache")
    )


def opened(page: object, server: Server) -> object:
    page.goto(f"{server.url}/dataset")
    expect(page.get_by_role("button", name="Download the table (CSV)")).to_be_visible(
        timeout=PATIENCE
    )
    expect(page.get_by_alt_text("Average of 46 normal images")).to_be_visible(timeout=PATIENCE)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_page_fits_its_window_in_both_themes(
    server: Server, open_browser_page: Callable, viewport: dict, scheme: str
) -> None:
    page = opened(open_browser_page(viewport, scheme), server)
    shot(page, f"dataset-{'phone' if viewport is PHONE else 'laptop'}-{scheme}")
    width = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert width <= viewport["width"]
    expect(page.get_by_text("A demonstration, not a medical device")).to_be_visible()
    expect(page.get_by_text("byte-for-byte copies on both sides of the test split")).to_be_visible()
    background = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(15, 19, 23)")


def test_a_finding_opens_by_keyboard_and_shows_its_images(server: Server, page: object) -> None:
    opened(page, server)
    finding = page.locator(".st-key-finding_exact-across summary")
    finding.focus()
    page.keyboard.press("Enter")
    image = page.get_by_alt_text("Image test/PNEUMONIA/person777_virus_1.jpeg")
    expect(image.first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(".st-key-finding_exact-across")).to_contain_text(
        "results are too optimistic"
    )
    shot(page, "dataset-finding")


def test_charts_answer_the_mouse(server: Server, page: object) -> None:
    opened(page, server)
    chart = page.get_by_test_id("stVegaLiteChart").first  # counts by split
    chart.scroll_into_view_if_needed()
    chart.hover()  # its middle lies on a bar, or on the gap between two
    box = chart.bounding_box()
    tooltip = page.locator("#vg-tooltip-element")
    for step in range(40):
        height = box["y"] + box["height"] * (0.2 + 0.015 * step)
        page.mouse.move(box["x"] + box["width"] * 0.4, height)
        if tooltip.count() and "Images" in tooltip.inner_text():
            break
    expect(tooltip).to_contain_text("Patients")


def test_an_image_is_enlarged_and_sent_to_prediction(
    server: Server, page: object, dataset: Path
) -> None:
    opened(page, server)
    field = page.get_by_label("Patient or file name")
    field.fill("IM-0007-0001")
    field.press("Enter")
    gallery = page.locator(".st-key-gallery_images")
    expect(gallery.get_by_role("button", name="Open")).to_have_count(1, timeout=PATIENCE)
    gallery.get_by_role("button", name="Open").click()
    dialog = page.get_by_role("dialog")
    canvas = dialog.get_by_role("img", name="Image train/NORMAL/IM-0007-0001.jpeg")
    expect(canvas).to_be_visible()
    expect(dialog.locator(".xv[data-state=ready]")).to_be_visible()
    shot(page, "dataset-image")
    dialog.get_by_role("button", name="Open in Prediction").click()
    expect(page.get_by_role("heading", name="Chest X-ray", exact=True)).to_be_visible(
        timeout=PATIENCE
    )


def test_table_downloads_as_csv(server: Server, page: object) -> None:
    opened(page, server)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the table (CSV)").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 94
    assert lines[0].startswith("path,split,fold,label,subtype,patient,bytes,width,height,mode")
