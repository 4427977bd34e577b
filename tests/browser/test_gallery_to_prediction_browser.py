"""From the gallery to the result: the image that is sent is the image that is predicted."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from browser_tools import Server
from drawn_images import KAGGLE_LIKE, write_dataset
from playwright.sync_api import expect

from xray_core.labels import SHOWN_AS

pytestmark = pytest.mark.browser
SLOW = 180_000  # the first image loads TensorFlow

# In the folder of the other class, so that the verdict can only come from the pixels.
PNEUMONIA = "train/NORMAL/IM-0007-0001.jpeg"
NORMAL = "train/PNEUMONIA/person3_virus_7.jpeg"


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., Server],
    micro_models: Path,
    image_png: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    folder = tmp_path_factory.mktemp("images")
    root = write_dataset(folder / "chest_xray", KAGGLE_LIKE)
    (root / PNEUMONIA).write_bytes(image_png(1000, True))
    (root / NORMAL).write_bytes(image_png(1001, False))
    return start_server(micro_models, CHEST_XRAY_DIR=str(root), XRAY_CACHE=str(folder / "cache"))


@pytest.mark.parametrize(("image", "verdict"), [(PNEUMONIA, "PNEUMONIA"), (NORMAL, "NORMAL")])
def test_the_image_sent_is_the_image_predicted(
    server: Server, page: object, image: str, verdict: str
) -> None:
    page.goto(f"{server.url}/dataset")
    field = page.get_by_label("Patient or file name")
    field.fill(Path(image).name, timeout=SLOW)
    field.press("Enter")
    gallery = page.locator(".st-key-gallery_images")
    expect(gallery.get_by_role("button", name="Open")).to_have_count(1, timeout=SLOW)
    gallery.get_by_role("button", name="Open").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("img", name=f"Image {image}")).to_be_visible(timeout=SLOW)
    dialog.get_by_role("button", name="Open in Prediction").click()
    expect(page.locator(".verdict")).to_contain_text(SHOWN_AS[verdict], timeout=SLOW)
    label = "pneumonia, viral" if image == NORMAL else "normal"
    expect(page.locator(".which")).to_contain_text(f"label: {label}")
    with page.expect_download(timeout=SLOW) as download:
        page.get_by_role("button", name="Result (CSV)").click()
    (row,) = csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig")))
    assert row["verdict"] == verdict
