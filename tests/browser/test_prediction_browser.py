"""The Prediction page in a real browser, with a tiny model and hand-made images."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser_tools import LAPTOP, PHONE, Server, drop, shot, unpacked
from dicom_maker import SECRETS, image_bytes
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
SLOW = 180_000  # the first image loads TensorFlow


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], micro_models: Path) -> Server:
    return start_server(micro_models)


def verdict(page, word: str) -> None:
    expect(page.locator(".verdict")).to_contain_text(word, timeout=SLOW)


def shown_image(page) -> None:
    """Wait until the viewer shows an image."""
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("img", name=re.compile("^Image as analysed"))).to_be_visible()


def test_an_uploaded_image_shows_result_image_overlay_and_report(server, page, image_png, tmp_path):
    page.goto(server.url)
    drop(page, ("image.png", image_png(1000, True)))
    expect(page.get_by_text("image.png")).to_be_hidden()

    verdict(page, "Pneumonia suspected")
    expect(page.locator(".scale")).to_have_attribute(
        "aria-label", re.compile("^Probability of pneumonia above 99%")
    )
    shown_image(page)
    image = page.get_by_role("img", name=re.compile("^Image as analysed: Image 1. Result: Pneumo"))
    expect(image).to_have_accessible_name(re.compile("Shown with Grad-CAM map.$"))
    expect(page.get_by_text("image.png")).to_have_count(0)
    shot(page, "prediction-image")

    with page.expect_download() as download:
        page.get_by_role("button", name="Report (PDF)").click()
    report = Path(download.value.path()).read_bytes()
    assert report.startswith(b"%PDF-1.")
    assert len(re.findall(rb"/Type\s*/Page\b", report)) == 1
    assert b"image.png" not in report + unpacked(report)

    with page.expect_download() as download:
        page.get_by_role("button", name="Result (CSV)").click()
    (row,) = csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig")))
    assert row["verdict"] == "PNEUMONIA"
    assert float(row["probability"]) > 0.99
    assert "file" not in row


def test_a_colour_image_is_refused_with_its_reason(server, page):
    y, x = np.mgrid[0:300, 0:300]
    pixels = np.stack([x % 256, y % 256, (x + y) % 256], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    page.goto(server.url)
    drop(page, ("holiday.png", buffer.getvalue()))

    verdict(page, "Not analysed")
    expect(page.get_by_text("Colour image. Upload a greyscale X-ray")).to_be_visible()
    shown_image(page)
    expect(page.locator(".scale")).to_have_count(0)
    shot(page, "prediction-refused")


def test_a_border_is_cropped_in_one_click(server, page, image):
    buffer = io.BytesIO()
    Image.fromarray(np.pad(image(1000, True), 40, constant_values=255)).save(buffer, "PNG")
    page.goto(server.url)
    drop(page, ("border.png", buffer.getvalue()))

    expect(page.get_by_text(re.compile("border", re.I)).first).to_be_visible(timeout=SLOW)
    shot(page, "prediction-border")
    page.get_by_role("button", name=re.compile("^(Crop and analyse|Border detected)")).click()
    expect(page.get_by_role("img", name=re.compile("The image was cropped"))).to_be_visible()
    verdict(page, "Pneumonia suspected")
    expect(page.locator(".cautions")).to_contain_text("The image was cropped (")
    shot(page, "prediction-cropped")


def test_a_dicom_offers_its_windows_and_shows_no_name(server, page, image):
    page.goto(server.url)
    windows = {"WindowCenter": [128, 150], "WindowWidth": [256, 180]}
    data = image_bytes(image(1000, True), WindowCenterWidthExplanation=["ALL", "LUNG"], **windows)
    drop(page, ("Jane.dcm", data))

    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("Window for the analysis")).to_be_visible()
    expect(page.get_by_test_id("stFileChip")).to_have_count(0)
    for secret in (*SECRETS, "Jane"):
        assert secret not in page.content()


def test_thirty_files_with_two_bad_ones_become_a_table(server, page, image_png):
    files = [(f"patient-{i}.png", image_png(i, i % 2 == 1)) for i in range(28)]
    files.insert(3, ("notes.txt", b"no image"))
    files.insert(20, ("cut.png", files[0][1][:400]))
    page.goto(server.url)
    drop(page, *files)

    expect(page.locator(".cl-row")).to_have_count(30, timeout=SLOW)
    expect(page.locator(".cl-row").filter(has_text="Unreadable")).to_have_count(2)
    expect(page.get_by_test_id("stFileChip")).to_have_count(0)
    assert "patient-" not in page.content()
    with page.expect_download() as download:
        page.get_by_role("button", name="All results (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))
    assert len(rows) == 30
    assert [row["image"] for row in rows if row["verdict"] == "UNREADABLE"] == ["4", "21"]

    expect(page.locator(".which")).to_have_text("Image 1")
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    page.locator(".cl-row").nth(1).click()
    expect(page.locator(".which")).to_have_text("Image 2")
    page.locator(".cl").press("ArrowDown")
    expect(page.locator(".which")).to_have_text("Image 3")
    expect(page.locator(".cl-row[aria-selected=true]")).to_contain_text("Image 3")
    page.locator(".cl").press("End")
    expect(page.locator(".which")).to_have_text("Image 30")
    expect(page.get_by_role("img", name=re.compile("analysed: Image 30"))).to_be_visible()
    idle = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(idle).to_be_visible(timeout=SLOW)
    page.locator(".xv canvas").press("ArrowLeft")
    expect(page.locator(".which")).to_have_text("Image 29")
    expect(page.locator(".cl-row[aria-selected=true]")).to_contain_text("Image 29")
    with page.expect_download() as download:
        page.get_by_role("button", name="All reports (PDF)").click()
    report = Path(download.value.path()).read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", report)) > 30
    assert b"patient-" not in report + unpacked(report)
    shot(page, "prediction-many")


def test_the_thumbnails_of_the_list_are_sent_once(server, page, image_png):
    sent: list[str] = []

    def record(reply) -> None:
        if urlsplit(reply.url).path.startswith("/media/"):
            sent.append(reply.url)

    page.on("response", record)
    page.goto(server.url)
    files = [(f"{i}.png", image_png(i, i % 2 == 1)) for i in range(3)]
    drop(page, *files, ("bad.png", b"no image"))
    expect(page.locator(".cl-row")).to_have_count(4, timeout=SLOW)
    for number in (1, 2, 3):
        page.locator(".cl-row").nth(number - 1).click()
        expect(page.locator(".which")).to_have_text(f"Image {number}")
        expect(page.get_by_role("img", name=f"analysed: Image {number}")).to_be_visible()
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    drawn = "() => [...document.querySelectorAll('.cl-row img')].map(image => image.naturalWidth)"
    page.wait_for_function(f"String(({drawn})()) === '64,64,64,1'")
    jpegs = [a for a in sent if page.request.get(a).body().startswith(b"\xff\xd8")]
    assert len(jpegs) == 1
    assert len(sent) == 1 + 2 * 3  # an image and its map, and no image twice
    page.get_by_role("combobox", name="Show").click()
    page.get_by_role("option", name=re.compile("Unreadable")).click()
    expect(page.locator(".cl-row")).to_have_count(1)
    page.wait_for_function(f"String(({drawn})()) === '1'")
    assert len(sent) == 1 + 2 * 3


def all_rows(page) -> list[dict[str, str]]:
    """The table of all results, once the page offers it."""
    button = page.get_by_role("button", name="All results (CSV)")
    expect(button).to_be_visible(timeout=SLOW)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    with page.expect_download() as download:
        button.click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))


def test_leaving_the_page_while_a_batch_is_analysed_loses_no_image(server, page, image_png):
    files = [(f"{i}.png", image_png(i, i % 2 == 1, 900, 900)) for i in range(40)]
    page.goto(server.url)
    drop(page, *files)
    for _ in range(2):
        expect(page.get_by_text(re.compile(r"\d+ of \d+ images|All images"))).to_be_visible(
            timeout=SLOW
        )
        page.get_by_role("link", name="Training").click()
        expect(page).to_have_url(re.compile("/training$"))
        page.get_by_role("link", name="Prediction").click()

    rows = all_rows(page)
    assert [row["image"] for row in rows] == [str(number) for number in range(1, 41)]
    assert "UNREADABLE" not in {row["verdict"] for row in rows}


def test_a_second_drop_while_the_first_is_analysed_is_added_or_replaces_it(server, page, image_png):
    """Added if the first still lacks results; otherwise the first is replaced."""
    page.goto(server.url)
    drop(page, *[(f"a{i}.png", image_png(i, i % 2 == 1, 900, 900)) for i in range(30)])
    expect(page.get_by_text(re.compile(r"\d+ of \d+ images|All images"))).to_be_visible(
        timeout=SLOW
    )
    drop(page, ("b0.png", image_png(50)), ("b1.png", image_png(51)))

    # The second drop clears the checkbox of the first, so its table has to be there before.
    for _ in range(120):
        if len(all_rows(page)) in (2, 32):
            break
        page.wait_for_timeout(1000)
    page.get_by_text("Show file names").click(timeout=SLOW)
    expect(page.get_by_role("checkbox", name="Show file names")).to_be_checked()
    expect(page.locator(".cl-row").first).to_contain_text(".png", timeout=SLOW)
    rows = all_rows(page)
    names = [row["file"] for row in rows]
    assert names[-2:] == ["b0.png", "b1.png"]
    assert names[:-2] in ([], [f"a{i}.png" for i in range(30)])


def test_a_new_drop_resets_filter_and_file_names(server, page, image_png):
    files = [("one.png", image_png(1, False)), ("bad.png", b"nothing"), ("two.png", image_png(2))]
    page.goto(server.url)
    drop(page, *files)
    expect(page.locator(".cl-row")).to_have_count(3, timeout=SLOW)
    page.get_by_role("combobox", name="Show").click()
    page.get_by_role("option", name=re.compile("Unreadable")).click()
    expect(page.locator(".cl-row")).to_have_count(1)
    page.get_by_text("Show file names").click()
    expect(page.get_by_role("checkbox", name="Show file names")).to_be_checked()
    # While a run starts, Streamlit may replace the input to which the browser gives the files.
    expect(page.locator(".cl-row")).to_contain_text("bad.png")
    idle = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(idle).to_be_visible(timeout=SLOW)

    drop(page, *files, ("three.png", image_png(3)))

    expect(page.locator(".cl-row")).to_have_count(4, timeout=SLOW)
    expect(page.locator(".cl")).not_to_contain_text(".png")
    expect(page.get_by_role("checkbox", name="Show file names")).not_to_be_checked()
    rows = all_rows(page)
    assert len(rows) == 4
    assert "file" not in rows[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("size", "viewport"), [("laptop", LAPTOP), ("phone", PHONE)])
def test_the_result_is_visible_without_scrolling(server, open_browser_page, size, viewport, scheme):
    page = open_browser_page(viewport, scheme)
    page.goto(server.url)
    page.get_by_role("button", name="Example: pneumonia").click()

    verdict(page, "Pneumonia suspected")
    shown_image(page)
    page.wait_for_timeout(500)
    shot(page, f"prediction-{size}-{scheme}")
    parts = [".verdict", ".meaning", ".scale"]
    if size == "laptop":
        assert page.locator(".xv canvas").bounding_box()["height"] >= 600
        parts += [".xv", ".post-test", ".st-key-download_pdf", ".st-key-download_csv"]
        parts += [".st-key-method", ".st-key-actions"]
    for part in parts:
        box = page.locator(part).bounding_box()
        # Above the line at the bottom, which says that this is no medical device.
        assert box["y"] + box["height"] < page.locator(".st-key-disclaimer").bounding_box()["y"]
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= viewport["width"]
    overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0
    if size == "laptop":
        main = page.get_by_test_id("stMain")
        assert main.evaluate("e => e.scrollHeight - e.clientHeight") <= 0


def test_list_viewer_result_and_downloads_are_visible_without_scrolling(server, page, image_png):
    page.goto(server.url)
    expect(page.locator(".st-key-examples button").first).to_be_visible(timeout=SLOW)
    drop(page, *((f"{i}.png", image_png(i, i % 2 == 1)) for i in range(8)))
    expect(page.locator(".cl-row")).to_have_count(8, timeout=SLOW)
    shown_image(page)
    page.wait_for_timeout(500)
    assert page.locator(".xv canvas").bounding_box()["height"] >= 600
    end = page.locator(".st-key-disclaimer").bounding_box()["y"]
    parts = [".cl", ".st-key-download_all_pdf", ".st-key-download_all_csv", ".xv canvas"]
    parts += [".xv-layers", ".verdict", ".cautions", ".post-test", ".st-key-download_pdf"]
    boxes = {part: page.locator(part).bounding_box() for part in parts}
    assert {part for part, at in boxes.items() if at["y"] + at["height"] > end} == set()
    left = [boxes[part]["x"] for part in (".cl", ".xv canvas", ".verdict")]
    assert left == sorted(left)


def test_an_example_can_be_opened_by_keyboard(server, page):
    page.goto(server.url)
    page.get_by_role("button", name="Example: normal").focus()
    page.keyboard.press("Enter")

    verdict(page, "No pneumonia detected")
