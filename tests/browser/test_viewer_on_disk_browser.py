"""The viewer with images of the dataset: gallery, list of errors, similar training images."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from browser_tools import Server, drop
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
SLOW = 180_000  # the first result loads TensorFlow
HEIGHT, WIDTH = 460, 500


@pytest.fixture(scope="module")
def folder(
    micro_bundle: Path, image_png: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    root = tmp_path_factory.mktemp("on_disk") / "chest_xray"
    for number, row in enumerate(pd.read_csv(micro_bundle / "dataset.csv").itertuples()):
        path = root / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_png(number, row.label == "PNEUMONIA", HEIGHT, WIDTH))
    return root


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], micro_bundle: Path, folder: Path) -> Server:
    return start_server(
        micro_bundle.parent, CHEST_XRAY_DIR=str(folder), XRAY_CACHE=str(folder.parent / "cache")
    )


@pytest.fixture
def planes(page: Page) -> list[str]:
    """The addresses of the pixels that the browser has fetched."""
    fetched: list[str] = []

    def note(reply: object) -> None:
        if "/media/" in reply.url and reply.request.resource_type == "fetch":
            fetched.append(reply.url)

    page.on("response", note)
    return fetched


def shows(page: Page, name: str) -> None:
    """Wait until a viewer shows the image of this description, at its own resolution."""
    # Playwright takes a slash for the end of a regular expression.
    canvas = page.get_by_role("img", name=re.compile(name.replace("/", ".")))
    expect(canvas).to_be_visible(timeout=SLOW)
    viewer = page.locator(".xv[data-state=ready]").filter(has=canvas)
    expect(viewer).to_be_visible(timeout=SLOW)
    size = viewer.evaluate("root => [root.viewer.size.height, root.viewer.size.width]")
    assert size == [HEIGHT, WIDTH]


def idle(page: Page) -> None:
    page.wait_for_timeout(200)
    app = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(app).to_be_visible(timeout=SLOW)


def test_the_gallery_opens_images_in_the_viewer_and_the_arrow_keys_open_the_next(
    server: Server, page: Page, planes: list[str]
) -> None:
    page.goto(f"{server.url}/dataset")
    tiles = page.locator(".st-key-gallery_images")
    names = tiles.get_by_role("img")
    expect(names).to_have_count(18, timeout=SLOW)
    idle(page)
    first, second = (re.escape(names.nth(n).get_attribute("alt")) for n in (0, 1))
    tiles.get_by_role("button", name="Open 1", exact=True).click()
    dialog = page.get_by_role("dialog")
    shows(page, f"^{first}")
    idle(page)
    assert len(planes) == 1
    dialog.locator(".xv canvas").focus()
    page.keyboard.press("ArrowLeft")  # there is none before the first
    page.keyboard.press("ArrowRight")
    shows(page, f"^{second}")
    expect(dialog.get_by_text("Image 2 of 80")).to_be_visible()
    idle(page)
    assert len(planes) == len(set(planes)) == 2
    dialog.locator(".xv canvas").focus()
    page.keyboard.press("i")
    expect(dialog.locator(".xv [data-xv=invert]")).to_have_attribute("aria-pressed", "true")
    idle(page)
    assert len(planes) == 2


def test_a_misclassified_image_opens_in_the_viewer(
    server: Server, page: Page, planes: list[str], folder: Path
) -> None:
    page.goto(f"{server.url}/evaluation")
    page.get_by_text("Errors", exact=True).click(timeout=SLOW)
    heading = page.get_by_role("heading", name="Most confident errors")
    expect(heading).to_be_visible(timeout=SLOW)
    idle(page)
    slider = page.get_by_role("slider", name=re.compile("hreshold"))
    slider.focus()
    page.keyboard.press("Home")  # every normal image is then called pneumonia
    enlarge = page.get_by_role("button", name="Enlarge (1)")
    expect(enlarge).to_be_visible(timeout=SLOW)
    idle(page)
    enlarge.click()
    shows(page, "^Chest X-ray 1. Normal, wrongly flagged")
    page.get_by_role("dialog").locator(".xv canvas").focus()
    page.keyboard.press("ArrowRight")
    shows(page, "^Chest X-ray 2. Normal, wrongly flagged")
    idle(page)
    assert len(planes) == len(set(planes)) == 2


def test_a_similar_training_image_opens_beside_the_image(
    server: Server, page: Page, planes: list[str], image_png: Callable[..., bytes]
) -> None:
    page.goto(server.url)
    drop(page, ("a.png", image_png(1000, True, HEIGHT, WIDTH)))
    shows(page, "^Image as analysed")
    page.get_by_text("Show the 8 most similar").click()
    choice = page.get_by_role("radiogroup", name="Open beside the image")
    choice.get_by_text("2", exact=True).click()
    shows(page, "^Similar training image 2 of 8")
    shows(page, "^Image as analysed")
    idle(page)
    before = len(planes)
    boxes = [page.locator(".xv-stage").nth(n).bounding_box() for n in (0, 1)]
    assert boxes[0]["y"] == pytest.approx(boxes[1]["y"], abs=60)
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.locator(".st-key-similar-viewer .xv canvas").focus()
    page.keyboard.press("ArrowRight")
    shows(page, "^Similar training image 3 of 8")
    idle(page)
    assert len(planes) == len(set(planes)) == before + 1  # the image itself was not sent again
    page.get_by_role("button", name="Close the similar image").click()
    expect(page.locator(".xv")).to_have_count(1)
    shows(page, "^Image as analysed")
