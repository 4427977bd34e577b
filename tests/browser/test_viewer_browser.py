"""The image viewer in a real browser: every interaction, and what it costs the connection.

Expected pixels are computed from the image that was uploaded.
"""

import base64
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser_tools import LAPTOP, Server, drop
from dicom_maker import image_bytes
from foreign_bundle import reseal
from PIL import Image
from playwright.sync_api import Page, expect

from xray_core.model.gate import Gate

pytestmark = pytest.mark.browser
SLOW = 180_000  # the first image loads TensorFlow


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], micro_models) -> Server:
    return start_server(micro_models)


@pytest.fixture(scope="module")
def server_with_lungs(start_server, lungs_classifier: Path, tmp_path_factory) -> Server:
    """The app with a model that has a lung network, and accepts any image with lungs."""
    folder = tmp_path_factory.mktemp("with_lungs") / "micro"
    shutil.copytree(lungs_classifier, folder)
    gate = Gate.load(folder / "gate.npz")
    replace(gate, caution=1e8, refuse=1e9).save(folder / "gate.npz")
    reseal(folder, lambda config: config.pop("unlike", None))
    return start_server(folder.parent)


def as_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def opened(page: Page, server: Server, *files: tuple[str, bytes], layout: str = "image") -> None:
    """Upload files, wait for the first in the viewer, and choose what it shows."""
    page.goto(server.url)
    drop(page, *files)
    ready(page)
    idle(page)
    if layout != "image":  # the other maps of the small network are empty
        page.locator(".st-key-method").get_by_role("combobox").click()
        page.get_by_role("option", name="Layer-CAM", exact=True).click()
        canvas = page.locator(".xv canvas")
        page.locator(f".xv [data-xv={layout}]").check(force=True)
        expect(canvas).to_have_attribute("aria-label", re.compile("Layer-CAM"), timeout=SLOW)
        ready(page)
        idle(page)
    elif page.locator(".xv [data-xv=map-controls]").is_visible():
        page.locator(".xv [data-xv=image]").check(force=True)
    at = None
    while at != (at := box(page)):  # a scroll bar may appear, which makes the image narrower
        page.wait_for_timeout(500)


def idle(page: Page) -> None:
    """Wait until the server has answered everything."""
    page.wait_for_timeout(200)
    app = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    expect(app).to_be_visible(timeout=SLOW)


def ready(page: Page) -> None:
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    expect(page.locator(".xv canvas")).to_have_attribute("aria-label", re.compile("^Image as"))


def press(page: Page, *keys: str) -> None:
    page.locator(".xv canvas").focus()
    for key in keys:
        page.keyboard.press(key)


def pixels(page: Page) -> np.ndarray:
    """What the canvas shows, once the next frames are drawn: uint8 (H, W, 3)."""
    width, height, data = page.evaluate(
        """async () => {
            for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
            const canvas = document.querySelector('.xv canvas');
            const {width, height} = canvas;
            const shown = canvas.getContext('2d').getImageData(0, 0, width, height).data;
            let text = '';
            for (let i = 0; i < shown.length; i += 8192)
                text += String.fromCharCode(...shown.subarray(i, i + 8192));
            return [width, height, btoa(text)];
        }"""
    )
    shown = np.frombuffer(base64.b64decode(data), np.uint8)
    return shown.reshape(height, width, 4)[..., :3]


def grey(page: Page) -> np.ndarray:
    """The same of a canvas without colours: uint8 (H, W)."""
    shown = pixels(page)
    assert (shown == shown[..., :1]).all()
    return shown[..., 0]


def is_coloured(page: Page) -> bool:
    shown = pixels(page)
    return bool((shown != shown[..., :1]).any())


def centred(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image at 1:1 in the middle of a black canvas of this shape, cut off where it is larger."""
    canvas = np.zeros(shape, image.dtype)
    top, left = (round(have / 2 - size / 2) for have, size in zip(shape, image.shape, strict=True))
    rows = slice(max(0, top), min(shape[0], top + image.shape[0]))
    columns = slice(max(0, left), min(shape[1], left + image.shape[1]))
    canvas[rows, columns] = image[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return canvas


def assert_one_to_one(page: Page, expected: np.ndarray, tolerance: int = 0) -> None:
    """The canvas shows `expected` at 1:1, up to half a pixel of its place."""
    shown = grey(page).astype(int)
    candidates = [
        centred(np.roll(expected, (down, right), (0, 1)), shown.shape)[2:-2, 2:-2].astype(int)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    ]
    errors = [np.abs(shown[2:-2, 2:-2] - candidate) for candidate in candidates]
    # The rolled rows and columns themselves may differ where the whole image is visible.
    assert min(np.mean(error > tolerance) for error in errors) < 0.01


def box(page: Page) -> dict[str, float]:
    return page.locator(".xv canvas").bounding_box()


def drag(page: Page, by: tuple[int, int], *, button: str = "left", start=(0.5, 0.5)) -> None:
    at = box(page)
    x, y = at["x"] + start[0] * at["width"], at["y"] + start[1] * at["height"]
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    for part in (0.25, 0.5, 0.75, 1):
        page.mouse.move(x + part * by[0], y + part * by[1])
    page.mouse.up(button=button)


def spot(page: Page) -> tuple[float, float]:
    """The centre of gravity of what is bright, (x, y) on the page."""
    shown, at = grey(page), box(page)
    weight = np.maximum(shown.astype(float) - 40, 0)
    y, x = (
        np.average(np.arange(n), weights=weight.sum(axis=1 - axis)) + 0.5
        for axis, n in enumerate(shown.shape)
    )
    return at["x"] + x * at["width"] / shown.shape[1], at["y"] + y * at["height"] / shown.shape[0]


def marked(height: int = 900, width: int = 1100) -> bytes:
    """A dark image with a white square at three quarters of its height and width."""
    image = np.full((height, width), 30, np.uint8)
    y, x = 3 * height // 4, 3 * width // 4
    image[y - 12 : y + 12, x - 12 : x + 12] = 255
    return as_png(image)


def test_a_picture_is_shown_at_its_own_resolution(server, page, image):
    picture = image(1000, True, 900, 1100)
    opened(page, server, ("a.png", as_png(picture)))
    at = box(page)
    assert at["height"] >= 600
    assert at["y"] + at["height"] <= LAPTOP["height"]
    press(page, "1")
    assert_one_to_one(page, picture)


@pytest.mark.parametrize("turn", [False, True])
def test_zooming_keeps_the_point_under_the_pointer(server, page, turn):
    opened(page, server, ("a.png", marked()))
    if turn:
        press(page, "t")
    before, area = np.array(spot(page)), (grey(page) > 200).sum()
    pointer = np.round(before)  # events of a mouse are at whole pixels
    page.mouse.move(*pointer)
    for _ in range(4):
        page.mouse.wheel(0, -150)
    factor = np.sqrt((grey(page) > 200).sum() / area)
    assert factor == pytest.approx(np.exp(4 * 150 / 400), rel=0.1)
    # What was less than a pixel beside the pointer is now farther by the factor.
    assert spot(page) == pytest.approx(pointer + factor * (before - pointer), abs=1.5)
    for _ in range(4):
        page.mouse.wheel(0, 150)
    assert spot(page) == pytest.approx(before, abs=2)


def test_dragging_moves_the_image_with_the_pointer(server, page):
    opened(page, server, ("a.png", marked()))
    before = spot(page)
    drag(page, (-40, 25), start=(0.4, 0.4))
    assert spot(page) == pytest.approx((before[0] - 40, before[1] + 25), abs=2)
    page.locator(".xv canvas").dblclick()
    assert spot(page) == pytest.approx(before, abs=2)
    press(page, "Shift+ArrowRight")
    assert spot(page)[0] < before[0] - 20
    press(page, "0")
    assert spot(page) == pytest.approx(before, abs=2)


def read_window(page: Page) -> tuple[float, float]:
    text = page.locator(".xv [data-xv=window-text]").inner_text()
    center, width = re.search(r"C (-?[\d.]+) W ([\d.]+)", text).groups()
    return float(center), float(width)


def windowed(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3, section C.11.2.1.2.1."""
    shown = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.clip(np.rint(shown), 0, 255)


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_the_window_of_a_dicom_image_works_on_its_full_depth(server, page, image, photometric):
    small = image(1000, True, 700, 700).astype("u2")
    values = 200 + 14 * small + np.arange(700, dtype="u2") % 14  # 12 bits, all used
    stored = 4095 - values if photometric == "MONOCHROME1" else values
    data = image_bytes(
        stored,
        12,
        WindowCenter=[1000, 2400],
        WindowWidth=[300, 3000],
        WindowCenterWidthExplanation=["NARROW", "WIDE"],
        PhotometricInterpretation=photometric,
    )
    opened(page, server, ("a.dcm", data))

    def expected(center: float, width: float) -> np.ndarray:
        shown = windowed(stored.astype(float), center, width)
        return 255 - shown if photometric == "MONOCHROME1" else shown

    press(page, "1")
    expect(page.locator(".xv [data-xv=window-text]")).to_have_text("C 1000 W 300 (as analysed)")
    assert_one_to_one(page, expected(1000, 300), 1)

    page.get_by_label("Window preset").select_option("WIDE")
    expect(page.locator(".xv [data-xv=window-text]")).to_have_text("C 2400 W 3000 (display only)")
    assert_one_to_one(page, expected(2400, 3000), 1)

    drag(page, (60, -45), button="right")
    center, width = read_window(page)
    assert width > 3000
    # Up is brighter, whichever values are shown white.
    assert center < 2400 if photometric == "MONOCHROME2" else center > 2400
    assert_one_to_one(page, expected(center, width), 2)

    page.get_by_label("Window preset").select_option("As analysed")
    assert_one_to_one(page, expected(1000, 300), 1)


def test_a_change_of_the_window_changes_no_result(server, page, image):
    opened(page, server, ("a.png", as_png(image(1000, True))))
    before = page.locator(".result").inner_html()
    sent = count_messages(page)
    page.get_by_role("button", name="Window", exact=True).click()
    drag(page, (80, 60))
    expect(page.locator(".xv [data-xv=window-text]")).to_contain_text("display only")
    press(page, "i", "t")
    assert page.locator(".result").inner_html() == before
    assert sent() == 0


def test_keys_invert_rotate_and_reset(server, page, image):
    picture = image(1000, True, 500, 560)
    opened(page, server, ("a.png", as_png(picture)))
    press(page, "1", "i")
    expect(page.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")
    assert_one_to_one(page, 255 - picture)
    press(page, "i", "t")
    assert_one_to_one(page, np.rot90(picture, -1))
    press(page, "r", "1")
    assert_one_to_one(page, picture)


def test_help_opens_and_closes_by_key(server, page, image):
    opened(page, server, ("a.png", as_png(image(1000, True))))
    panel = page.locator(".xv-help")
    expect(panel).to_be_hidden()
    press(page, "?")
    expect(panel).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.locator(".xv canvas")).to_be_focused()


def test_full_screen_enlarges_the_image(server, page, image):
    opened(page, server, ("a.png", as_png(image(1000, True))))
    before = box(page)
    press(page, "f")
    expect(page.locator(".xv:fullscreen")).to_be_visible()
    expect(page.locator(".xv [data-xv=title]")).to_contain_text("Result: ")
    page.wait_for_function(
        "width => document.querySelector('.xv canvas').clientWidth > width", arg=before["width"]
    )
    press(page, "f")
    expect(page.locator(".xv:fullscreen")).to_have_count(0)


def test_the_map_is_shown_and_hidden(server, page, image):
    opened(page, server, ("a.png", as_png(image(1000, True))), layout="overlay")
    assert is_coloured(page)
    canvas = page.locator(".xv canvas")
    expect(canvas).to_have_attribute("aria-label", re.compile("Shown with Layer-CAM map"))
    press(page, "o")
    assert not is_coloured(page)
    expect(canvas).not_to_have_attribute("aria-label", re.compile("CAM"))
    press(page, "o")
    assert is_coloured(page)


def test_the_map_is_blended_in_proportion_to_its_values(server, page, image):
    picture = image(1000, True, 560, 560)
    opened(page, server, ("a.png", as_png(picture)), layout="overlay")
    press(page, "o")
    plain = grey(page).astype(float)
    page.locator(".xv [data-xv=overlay]").check(force=True)
    page.locator(".xv [data-xv=opacity]").fill("100")
    shown = pixels(page).astype(float)
    # Where the map is 0 the image is unchanged; where it is 1 the colour covers it.
    changed = np.abs(shown - plain[..., np.newaxis]).max(axis=2)
    assert changed.max() > 60
    page.locator(".xv [data-xv=opacity]").fill("50")
    half = pixels(page).astype(float)
    # Half the opacity is halfway between the image and the full overlay.
    assert np.abs(half - (shown + plain[..., np.newaxis]) / 2).max() <= 4
    page.locator(".xv [data-xv=threshold]").fill("95")
    cut = np.abs(pixels(page).astype(float) - plain[..., np.newaxis]).max(axis=2)
    assert (cut > 2).sum() < 0.5 * (changed > 2).sum()
    assert (cut > 2).any()


def test_side_by_side_moves_in_sync(server, page, image):
    opened(page, server, ("a.png", as_png(image(1000, True, 600, 700))), layout="overlay")
    press(page, "s")
    shown = pixels(page)
    half = (shown.shape[1] - 2) // 2
    left, right = shown[:, :half], shown[:, -half:]
    assert (left == left[..., :1]).all()
    assert (right != right[..., :1]).any()
    page.locator(".xv [data-xv=opacity]").fill("0")
    at = box(page)
    page.mouse.move(at["x"] + 0.7 * at["width"], at["y"] + 0.4 * at["height"])
    page.mouse.wheel(0, -300)
    drag(page, (30, -20), start=(0.25, 0.5))
    moved = grey(page).astype(int)
    # Interpolation may round differently on the two sides.
    assert np.mean(np.abs(moved[:, :half] - moved[:, -half:]) > 2) < 0.001
    assert np.mean(np.abs(moved[:, :half] - left[..., 0]) > 2) > 0.2


def count_messages(page: Page) -> Callable[[], int]:
    """Start to count what the page sends to the server; return a function that tells the count."""
    page.evaluate(
        """() => {
            window.sentMessages = 0;
            const send = WebSocket.prototype.send;
            WebSocket.prototype.send = function (...all) {
                window.sentMessages++;
                return send.apply(this, all);
            };
        }"""
    )
    return lambda: page.evaluate("window.sentMessages")


def test_layers_change_without_a_message_to_the_server(server_with_lungs, page):
    from lung_network import draw_chest

    opened(page, server_with_lungs, ("a.png", as_png(draw_chest())), layout="overlay")
    sent = count_messages(page)
    steps: list[np.ndarray] = [pixels(page)]

    def changes() -> None:
        steps.append(pixels(page))
        assert not np.array_equal(steps[-1], steps[-2])

    for name, value in (("opacity", "80"), ("opacity", "30"), ("threshold", "60")):
        page.locator(f".xv [data-xv={name}]").fill(value)
        changes()
    for name in ("Rainbow", "Outline"):
        page.get_by_label("Drawing of the map").select_option(name)
        changes()
    expect(page.locator(".xv [data-xv=legend-outline]")).to_have_text(
        "Line: 50% of the map's maximum"
    )
    page.locator(".xv [data-xv=threshold]").fill("80")
    changes()
    page.get_by_label("Outline of the lungs").check()
    changes()
    press(page, "l")
    changes()
    assert sent() == 0
    # The counter does count: a rerun of the page is a message.
    page.get_by_role("spinbutton", name="Pre-test probability").fill("20")
    page.get_by_role("spinbutton", name="Pre-test probability").press("Enter")
    page.wait_for_function("window.sentMessages > 0")


def test_the_pixels_are_sent_once_and_removed_with_the_image(server, page, image):
    picture = image(1000, True, 1500, 1600)
    fetched: list[str] = []
    received: list[int] = []
    page.on("response", lambda reply: fetched.append(reply.url) if "/media/" in reply.url else None)
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda data: received.append(len(data))),
    )
    opened(page, server, ("a.png", as_png(picture)))
    images = page.evaluate("document.querySelector('.xv').viewer.data")
    address = images["image"]["url"]
    assert sum(url.endswith(address) for url in fetched) == 1
    before = len(received)
    for probability in ("20", "30", "40"):  # three reruns of the page
        count = len(received)
        control = page.get_by_role("spinbutton", name="Pre-test probability")
        control.fill(probability)
        control.press("Enter")
        while len(received) == count:
            page.wait_for_timeout(100)
        idle(page)
    assert sum(url.endswith(address) for url in fetched) == 1
    assert sum(received[before:]) < 400_000  # the pixels alone would be 3 x 1.5 MB or more
    status = "async url => (await fetch(url, {cache: 'no-store'})).status"
    assert page.evaluate(status, address) == 200
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".xv")).to_have_count(0)
    page.wait_for_function(
        "async url => (await fetch(url, {cache: 'no-store'})).status === 404", arg=address
    )


def test_a_ruler_measures_where_the_spacing_is_known(server, page, image):
    data = image_bytes(image(1000, True, 500, 500), PixelSpacing=[0.5, 0.25])
    opened(page, server, ("a.dcm", data))
    press(page, "1", "m")
    drag(page, (80, 0), start=(0.4, 0.5))
    expect(page.locator(".xv [role=status]")).to_have_text("20.0 mm")
    drag(page, (0, 80), start=(0.5, 0.4))
    expect(page.locator(".xv [role=status]")).to_have_text("40.0 mm")
    press(page, "t")  # rotated by 90 degrees, a column of the image lies across
    drag(page, (80, 0), start=(0.4, 0.5))
    expect(page.locator(".xv [role=status]")).to_have_text("40.0 mm")


def test_without_spacing_lengths_are_in_pixels(server, page, image):
    opened(page, server, ("a.png", as_png(image(1000, True, 500, 500))))
    press(page, "1", "m")
    drag(page, (80, 0), start=(0.4, 0.5))
    expect(page.locator(".xv [role=status]")).to_have_text("80 pixels")


def test_values_under_the_pointer(server, page, image):
    picture = image(1000, True, 500, 500)
    opened(page, server, ("a.png", as_png(picture)), layout="overlay")
    press(page, "1")
    at = box(page)
    page.mouse.move(at["x"] + at["width"] / 2 + 20, at["y"] + at["height"] / 2 - 30)
    value = page.locator(".xv [data-xv=value]")
    expect(value).to_have_text(re.compile(r"^x \d+, y \d+ · grey \d+ · map \d+%$"))
    x, y, shown = map(int, re.findall(r"\d+", value.inner_text())[:3])
    assert (x, y) == pytest.approx((270, 220), abs=1)
    assert shown == picture[y, x]


def test_arrow_keys_open_the_next_and_the_previous_image(server, page, image_png):
    opened(page, server, ("a.png", image_png(1000, True)), ("b.png", image_png(1, False)))
    expect(page.locator(".which")).to_have_text("Image 1")
    expect(page.get_by_role("button", name="Previous image")).to_be_disabled()
    press(page, "ArrowRight")
    expect(page.locator(".which")).to_have_text("Image 2")
    expect(page.locator(".xv canvas")).to_have_attribute("aria-label", re.compile("Image 2"))
    idle(page)
    press(page, "ArrowLeft")
    expect(page.locator(".which")).to_have_text("Image 1")


def test_an_image_is_cropped_by_a_rectangle(server, page, image):
    picture = image(1000, True, 600, 600)
    opened(page, server, ("a.png", as_png(picture)))
    press(page, "1")
    at = box(page)
    left, top = at["x"] + at["width"] / 2 - 300, at["y"] + at["height"] / 2 - 300
    page.get_by_role("button", name="Crop", exact=True).click()
    page.mouse.move(left + 60, top + 30)
    page.mouse.down()
    page.mouse.move(left + 200, top + 200)
    page.mouse.move(left + 540, top + 570)
    page.mouse.up()
    page.get_by_role("button", name="Crop and analyse again").click()
    expect(page.get_by_role("img", name=re.compile("The image was cropped"))).to_be_visible()
    ready(page)
    idle(page)
    # The stage may lie half a pixel beside the image's pixels.
    shape = page.evaluate("(s => [s.height, s.width])(document.querySelector('.xv').viewer.size)")
    assert shape == pytest.approx([540, 480], abs=2)
    press(page, "1")
    expected = [
        picture[top : top + shape[0], left : left + shape[1]]
        for top in (29, 30, 31)
        for left in (59, 60, 61)
    ]
    middle = grey(page)
    y, x = middle.shape[0] // 2, middle.shape[1] // 2
    patch = middle[y - 100 : y + 100, x - 100 : x + 100].astype(int)
    errors = []
    for part in expected:
        shown = centred(part, middle.shape)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                rows = slice(y - 100 + down, y + 100 + down)
                columns = slice(x - 100 + right, x + 100 + right)
                errors.append(np.abs(shown[rows, columns].astype(int) - patch).max())
    assert min(errors) == 0


def test_the_visible_part_is_cropped_by_keys(server, page, image):
    opened(page, server, ("a.png", as_png(image(1000, True, 900, 900))))
    press(page, "+", "+", "+", "c")
    expect(page.get_by_role("button", name="Crop and analyse again")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Crop and analyse again")).to_be_hidden()
    press(page, "c", "Enter")
    expect(page.get_by_role("img", name=re.compile("The image was cropped"))).to_be_visible()
    page.get_by_role("button", name="Undo the changes").click()
    expect(page.get_by_role("img", name=re.compile("The image was cropped"))).to_have_count(0)


def fingers(page: Page, start: list[tuple[int, int]], end: list[tuple[int, int]]) -> None:
    """Move several fingers at once, relative to the middle of the image."""
    at, session = box(page), page.context.new_cdp_session(page)
    middle = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2

    def points(part: float) -> list[dict[str, float]]:
        return [
            {
                "x": middle[0] + a[0] + part * (b[0] - a[0]),
                "y": middle[1] + a[1] + part * (b[1] - a[1]),
                "id": number,
            }
            for number, (a, b) in enumerate(zip(start, end, strict=True))
        ]

    def send(kind: str, touches: list[dict[str, float]]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    send("touchStart", points(0))
    for step in range(1, 9):
        send("touchMove", points(step / 8))
    send("touchEnd", [])


def test_two_fingers_zoom_or_change_the_window(server, browser):
    context = browser.new_context(viewport=LAPTOP, has_touch=True)
    context.set_default_timeout(60_000)
    try:
        page = context.new_page()
        opened(page, server, ("a.png", marked()))
        scale = "document.querySelector('.xv').viewer.scale"
        before = page.evaluate(scale)
        fingers(page, [(-40, 0), (40, 0)], [(-120, 0), (120, 0)])
        assert page.evaluate(scale) == pytest.approx(3 * before, rel=0.25)
        expect(page.locator(".xv [data-xv=window-text]")).to_contain_text("as analysed")
        zoomed = page.evaluate(scale)
        fingers(page, [(-30, -60), (30, -60)], [(-30, 60), (30, 60)])
        expect(page.locator(".xv [data-xv=window-text]")).to_contain_text("display only")
        assert page.evaluate(scale) == zoomed
    finally:
        context.close()


def test_an_image_that_does_not_arrive_at_once_is_requested_again(server, page, image):
    refused: list[str] = []

    def refuse_twice(route) -> None:
        if len(refused) < 2:
            refused.append(route.request.url)
            route.fulfill(status=404)
        else:
            route.continue_()

    page.route("**/media/*", refuse_twice)
    opened(page, server, ("a.png", as_png(image(1000, True, 500, 500))))
    assert len(refused) == 2
    assert grey(page).max() > 100
