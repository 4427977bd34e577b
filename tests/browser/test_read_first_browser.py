"""Read first in a real browser: what reaches it before the call, the mark, keys, the summary."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_tools import PHONE, Server
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
SLOW = 180_000  # the first result loads TensorFlow
OF_A_RESULT = re.compile(
    rb"suspected|No pneumonia detected|Indeterminate|Not analysed|test/(NORMAL|PNEUMONIA)|person\d"
)


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., Server],
    micro_bundle: Path,
    image_png: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    """The app with the model `micro` and the images of its test split."""
    folder = tmp_path_factory.mktemp("read_first") / "chest_xray"
    table = pd.read_csv(micro_bundle / "predictions.csv")
    for number, row in enumerate(table[table["fold"] == "test"].itertuples()):
        path = folder / row.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_png(number, row.label == "PNEUMONIA", 400, 400))
    (folder / "train").mkdir()
    return start_server(micro_bundle.parent, CHEST_XRAY_DIR=str(folder))


def idle(page: Page) -> None:
    page.wait_for_timeout(200)
    app = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(app).to_be_visible(timeout=SLOW)


def open_test_image(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.get_by_test_id("stExpandSidebarButton").click(timeout=SLOW)
    page.get_by_test_id("stSidebar").get_by_text("Read first").click()
    page.get_by_role("button", name="Read random test images").click()
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    idle(page)


def choose(page: Page, group: str, name: str) -> None:
    page.get_by_role("radiogroup", name=group).get_by_text(name, exact=True).click()
    idle(page)


def readings(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name="All readings (CSV)").click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))


def test_nothing_of_a_result_reaches_the_browser_before_the_call(
    server: Server, page: Page
) -> None:
    frames: list[bytes] = []
    served: list[str] = []

    def listen(socket: object) -> None:
        socket.on(
            "framereceived",
            lambda data: frames.append(data if isinstance(data, bytes) else data.encode()),
        )

    page.on("websocket", listen)
    page.on(
        "response",
        lambda reply: (
            served.append(reply.url) if urlsplit(reply.url).path.startswith("/media/") else None
        ),
    )
    open_test_image(page, server)

    assert frames
    assert not [found for data in frames if (found := OF_A_RESULT.search(data))]
    assert not OF_A_RESULT.search(page.content().encode())
    assert len(set(served)) == 1  # the image
    expect(page.locator(".xv [data-xv=map-controls]")).to_be_hidden()
    expect(page.get_by_role("button", name="CSV")).to_have_count(0)
    record = page.get_by_role("button", name="Record the assessment and show the result")
    expect(record).to_be_disabled()

    choose(page, "Your assessment", "Pneumonia")
    choose(page, "Your confidence", "4, high")
    assert not [found for data in frames if (found := OF_A_RESULT.search(data))]
    record.click()

    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)
    expect(page.locator(".xv [data-xv=map-controls]")).to_be_visible()
    idle(page)
    assert [found for data in frames if (found := OF_A_RESULT.search(data))]
    # The map and the lungs follow; nothing is sent twice.
    sent = [page.request.get(address).body() for address in served]
    assert len(set(sent)) == len(served) == 3

    page.get_by_role("button", name="Record and open the next image").click()
    expect(page.locator(".verdict")).to_have_count(0, timeout=SLOW)
    expect(page.locator(".xv canvas")).to_have_attribute("aria-label", re.compile("^Image 2"))
    expect(page.locator(".xv [data-xv=map-controls]")).to_be_hidden()


def test_the_mark_is_where_it_was_drawn_and_stays_beside_the_map(
    server: Server, page: Page
) -> None:
    open_test_image(page, server)
    stage = page.locator(".xv canvas").bounding_box()
    side = min(stage["width"], stage["height"])  # the image is square
    left = stage["x"] + (stage["width"] - side) / 2
    top = stage["y"] + (stage["height"] - side) / 2

    page.locator(".xv [data-xv=box]").click()
    page.mouse.move(left + 0.25 * side, top + 0.5 * side)
    page.mouse.down()
    page.mouse.move(left + 0.5 * side, top + 0.75 * side, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Mark this area").click()
    expect(page.get_by_role("button", name="Remove the mark")).to_be_visible()
    choose(page, "Your assessment", "Pneumonia")
    choose(page, "Your confidence", "2, low")
    page.get_by_role("button", name="Record the assessment and show the result").click()
    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)
    expect(page.locator(".xv canvas")).to_have_attribute("aria-label", re.compile("marked"))
    idle(page)

    (row,) = readings(page)
    found = [float(row[f"box_{edge}"]) for edge in ("top", "left", "bottom", "right")]
    assert found == pytest.approx([0.5, 0.25, 0.75, 0.5], abs=0.01)
    assert (row["call_before"], row["confidence_before"], row["call_after"]) == (
        "PNEUMONIA",
        "2",
        "",
    )


def test_a_reading_needs_no_mouse_and_its_pages_have_no_violations(
    server: Server, open_browser_page: Callable[..., Page]
) -> None:
    page = open_browser_page(PHONE, "dark")
    page.goto(server.url)
    page.get_by_test_id("stExpandSidebarButton").click(timeout=SLOW)
    switch = page.get_by_role("switch", name="Read first")
    switch.focus()
    page.keyboard.press("Space")
    start = page.get_by_role("button", name="Read random test images")
    expect(start).to_be_attached(timeout=SLOW)
    page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").press("Enter")
    start.press("Enter")
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    idle(page)
    assert violations(page) == []

    page.locator(".xv canvas").focus()
    for key in ("+", "+", "+", "+", "c", "Enter"):  # marks what is visible
        page.keyboard.press(key)
    expect(page.get_by_role("button", name="Remove the mark")).to_be_visible()
    for group, name in (("Your assessment", "Unsure"), ("Your confidence", "1, guess")):
        radio = page.get_by_role("radiogroup", name=group).get_by_role("radio", name=name)
        radio.focus()
        page.keyboard.press("Space")
        expect(radio).to_be_checked()
        idle(page)
    record = page.get_by_role("button", name="Record the assessment and show the result")
    expect(record).to_be_enabled()
    record.press("Enter")
    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)
    idle(page)
    assert violations(page) == []
    page.get_by_role("button", name="Record and stop").press("Enter")
    page.locator("summary").filter(has_text="Summary of 1 complete reading").press("Enter")
    expect(page.get_by_text("Automation bias is")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("cell", name=re.compile(r"of 1, .*%")).first).to_be_visible()
    idle(page)
    assert violations(page) == []
    width = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert width <= PHONE["width"]

    (row,) = readings(page)
    assert (row["call_before"], row["call_after"]) == ("UNSURE", "UNSURE")
    assert 0 < float(row["box_top"]) < float(row["box_bottom"]) < 1
    assert row["reference"] in ("NORMAL", "PNEUMONIA")


def violations(page: Page) -> list[str]:
    """What axe-core finds, except in the drop zone, which Streamlit draws."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
        if rule["id"] != "presentation-role-conflict"
    ]
