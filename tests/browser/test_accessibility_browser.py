"""Every page for those who do not see it, use no mouse, or hold a tablet or a phone.

Rules are axe-core's, in both themes, with results on the page.
"""

import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_tools import LAPTOP, PHONE, ROOT, Server, drop
from PIL import Image
from playwright.sync_api import Page, expect

from xray_core.model.bundle import open_bundle
from xray_core.model.bundle_writing import seal, writing
from xray_core.training.card import model_card

pytestmark = pytest.mark.browser
SLOW = 180_000  # the first image loads TensorFlow
TABLET = {"width": 820, "height": 1180}
EMPTY_CHART = "[data-testid=stVegaLiteChart]:not(:has(svg, canvas))"
GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 23)"}


@dataclass(frozen=True)
class Exempt:
    """A violation in what Streamlit draws itself, which no option and no style can mend."""

    rule: str
    selector: str
    page: str
    reason: str


EXEMPT = [
    Exempt(
        "presentation-role-conflict",
        '[data-testid="stFileUploaderDropzone"]',
        "prediction",
        "Streamlit gives the drop zone role=presentation and a label at once; the buttons in it "
        "are named, and the zone itself takes no focus by keyboard.",
    ),
]


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., Server],
    micro_bundle: Path,
    image_png: Callable[..., bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    """The app with two models, of which the first shows a full model card, and their images."""
    folder = tmp_path_factory.mktemp("accessibility")
    config = json.loads((micro_bundle / "config.json").read_text())
    shipped = dict(open_bundle(ROOT / "models/resnet50").config)
    for name in ("micro", "other"):
        with writing(folder / "models" / name) as bundle:
            shutil.copytree(micro_bundle, bundle, dirs_exist_ok=True)
            (bundle / "MODEL_CARD.md").write_text(model_card(shipped))
            seal(bundle, {**config, "name": name})
    table = pd.read_csv(micro_bundle / "dataset.csv")
    for number, (path, label) in enumerate(zip(table["path"], table["label"], strict=True)):
        file = folder / "chest_xray" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image_png(number, label == "PNEUMONIA"))
    return start_server(
        folder / "models",
        CHEST_XRAY_DIR=str(folder / "chest_xray"),
        XRAY_CACHE=str(folder / "cache"),
    )


@pytest.fixture(scope="module")
def visitor(browser: object, server: Server) -> Iterator[Page]:
    """One page for all tests of this file, without transitions: a colour is measured at rest."""
    context = browser.new_context(viewport=LAPTOP, base_url=server.url)
    context.set_default_timeout(60_000)
    context.add_init_script(
        """document.addEventListener('DOMContentLoaded', () => {
            const style = document.createElement('style');
            style.textContent = '* { transition: none !important; animation: none !important }';
            document.head.append(style);
        })"""
    )
    yield context.new_page()
    context.close()


@pytest.fixture
def page(visitor: Page) -> Page:
    """The visitor's page at a laptop's size in the light theme."""
    visitor.set_viewport_size(LAPTOP)
    visitor.emulate_media(color_scheme="light")
    return visitor


def settle(page: Page) -> None:
    """Wait until no script runs and nothing that was drawn earlier stands on the page."""
    page.wait_for_timeout(200)  # a click reaches the server
    app = page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning", timeout=SLOW)
    expect(page.locator("[data-stale='true']")).to_have_count(0)
    expect(page.locator(EMPTY_CHART)).to_have_count(0)


def opened(page: Page, path: str, ready: str) -> None:
    page.goto(f"/{path}")
    expect(page.locator(ready).first).to_be_visible(timeout=SLOW)
    settle(page)


def open_example(page: Page) -> None:
    opened(page, "", ".st-key-examples button")
    page.locator(".st-key-examples button").nth(1).click()
    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    settle(page)


class Audit:
    """What is wrong on a page, gathered over its states, and the exemptions that were needed."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.faults: set[str] = set()
        self.needed: set[Exempt] = set()

    def look(self, state: str) -> None:
        """Check the page as it stands, in both themes."""
        settle(self.page)
        for theme, ground in GROUNDS.items():
            self.page.emulate_media(color_scheme=theme)
            expect(self.page.locator(".stApp")).to_have_css("background-color", ground)
            expect(self.page.locator(EMPTY_CHART)).to_have_count(0)
            for violation in Axe().run(self.page).response["violations"]:
                for node in violation["nodes"]:
                    if not self._is_exempt(violation["id"], node["target"][-1]):
                        why = "; ".join(x["message"] for x in node["any"] + node["none"])
                        self.faults.add(
                            f"{state}, {theme}: {violation['id']}: {node['html'][:150]} ({why})"
                        )
        self.faults |= {f"{state}: two buttons are called {name!r}" for name in _twice(self.page)}

    def end(self) -> None:
        assert not self.faults, "\n".join(sorted(self.faults))
        superfluous = {e for e in EXEMPT if e.page == self.name} - self.needed
        assert not superfluous, "these exemptions are no longer needed"

    def _is_exempt(self, rule: str, target: str) -> bool:
        for exempt in EXEMPT:
            if (exempt.page, exempt.rule) == (self.name, rule) and self.page.locator(
                target
            ).first.evaluate("(e, selector) => e.matches(selector)", exempt.selector):
                self.needed.add(exempt)
                return True
        return False


def _twice(page: Page) -> set[str]:
    """Return the names that more than one of the app's own buttons have.

    Left out are the tools that Streamlit lays over images and tables, and what is hidden.
    """
    names = page.evaluate(
        """() => {
            axe.setup(document);
            try {
                const all = document.querySelectorAll('[data-testid=stMain] button, dialog button');
                return [...all]
                    .filter(b => b.checkVisibility() && b.tabIndex >= 0)
                    .filter(b => !b.closest('[data-testid=stElementToolbar]'))
                    .map(b => axe.commons.text.accessibleText(b));
            } finally { axe.teardown(); }
        }"""
    )
    return {name for name in names if name and names.count(name) > 1}


def test_prediction_has_no_violation(page: Page, image_png: Callable[..., bytes]) -> None:
    audit = Audit(page, "prediction")
    opened(page, "", ".st-key-examples button")
    audit.look("empty")

    open_example(page)
    live = page.locator("[role=status][aria-live=polite]")
    expect(live.get_by_role("heading", level=2)).to_have_count(1)
    page.locator("[data-testid=stExpander] summary").first.click()
    expect(page.locator("[data-testid=stExpander] img").first).to_be_visible()
    audit.look("one image")
    for key, name in (("method", "about the map"), ("actions", "changes"), ("bar", "examples")):
        page.locator(f".st-key-{key}").get_by_test_id("stPopoverButton").click()
        expect(page.get_by_test_id("stPopoverBody")).to_be_visible()
        audit.look(name)
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("stPopoverBody")).to_have_count(0)
    page.get_by_role("button", name="Compare models").click()
    expect(page.get_by_role("dialog").locator("img").last).to_be_visible(timeout=SLOW)
    settle(page)
    audit.look("comparison of the models")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator(".xv canvas").press("?")
    expect(page.locator(".xv-help")).to_be_visible()
    page.locator(".xv [data-xv=both]").check(force=True)
    audit.look("side by side, with the keys of the viewer")
    page.locator(".xv-help").get_by_role("button").click()

    page.keyboard.press("Escape")
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::20] = (255, 40, 40)
    buffer = io.BytesIO()
    Image.fromarray(stripes).save(buffer, "PNG")
    drop(page, ("holiday.png", buffer.getvalue()))
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    audit.look("refused")

    drop(page, *((f"{i}.png", image_png(i, i % 2 == 1)) for i in range(4)), ("bad.png", b"none"))
    expect(page.locator(".cl-row")).to_have_count(5, timeout=SLOW)
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    audit.look("several images")
    audit.end()


def test_dataset_has_no_violation(page: Page) -> None:
    audit = Audit(page, "dataset")
    opened(page, "dataset", ".st-key-dataset_averages img")
    page.locator("[class*=st-key-finding] summary").first.click()
    expect(page.locator(".st-key-gallery_images img").first).to_be_visible()
    audit.look("gallery and a finding")

    page.locator(".st-key-gallery_images").get_by_role(
        "button", name=re.compile("^Open 1$")
    ).click()
    expect(page.get_by_role("dialog").locator(".xv[data-state=ready]")).to_be_visible()
    audit.look("one image enlarged")  # ends in the dark theme
    ink, ground = (
        page.get_by_role("dialog")
        .locator("[data-testid^=stBaseButton-primary]")
        .evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
    )
    assert ink == "oklch(0 0 0)"
    assert _contrast("rgb(0, 0, 0)", ground) >= 4.5
    audit.end()


def test_evaluation_has_no_violation(page: Page) -> None:
    audit = Audit(page, "evaluation")
    opened(page, "evaluation", "[data-testid=stMetric]")
    sections = page.locator(".st-key-evaluation_section").get_by_role("radio")
    for number in range(sections.count()):
        sections.nth(number).click()
        expect(sections.nth(number)).to_be_checked()
        audit.look(sections.nth(number).inner_text())
    page.get_by_role("slider").first.press("End")  # nothing is called pneumonia: many errors
    sections.filter(has_text="Errors").click()
    expect(page.locator(".st-key-evaluation-images-wrong img").first).to_be_visible()
    audit.look("errors with their images")
    audit.end()


def test_training_has_no_violation(page: Page) -> None:
    audit = Audit(page, "training")
    opened(page, "training", "[data-testid=stMetric]")
    for tab in page.get_by_role("tab").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        audit.look(tab.inner_text())
    audit.end()


def test_an_example_is_five_tabs_away(page: Page) -> None:
    opened(page, "", ".st-key-examples button")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.locator(".st-key-examples button:focus").count():
            break
    expect(page.locator(".st-key-examples button:focus")).to_contain_text("Example")
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)


def tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until an element that the selector matches has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.locator(f":is({selector}):focus").count():
            return
    raise AssertionError(f"{selector} is not reached within {most} tabs")


def test_keys_alone_lead_from_the_start_to_the_report(page: Page) -> None:
    opened(page, "", ".st-key-examples button")
    tab_to(page, ".st-key-example-pneumonia button")
    page.keyboard.press("Enter")
    expect(page.locator(".verdict")).to_contain_text("Pneumonia suspected", timeout=SLOW)
    expect(page.locator(".xv[data-state=ready]")).to_be_visible(timeout=SLOW)
    settle(page)
    page.keyboard.press("Tab")
    page.evaluate("document.querySelector('[data-testid=stSkipToContent]').focus()")
    page.keyboard.press("Enter")
    tab_to(page, ".xv canvas")
    page.keyboard.press("o")
    expect(page.locator(".xv [data-xv=image]")).to_be_checked()
    tab_to(page, ".st-key-pre-test input")
    page.keyboard.press("Control+A")
    page.keyboard.type("20")
    page.keyboard.press("Enter")
    settle(page)
    tab_to(page, ".st-key-download_pdf button")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")


RING = """() => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const name = at.getAttribute('aria-label') || at.innerText.slice(0, 40) || at.outerHTML;
    for (let e = at, up = 0; e && up < 4; e = e.parentElement, up++) {
        const style = getComputedStyle(e), box = e.getBoundingClientRect();
        if (style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2
            && box.width > 5 && box.height > 5) return [name, style.outlineColor];
    }
    return [name, ''];
}"""


def _ring(page: Page) -> list[str] | None:
    """Return the name of what has the focus and the colour of its ring, "" without one.

    A browser on a busy machine may draw the ring later, so it is given some time.
    """
    for _ in range(10):
        at = page.evaluate(RING)
        if at is None or at[1]:
            break
        page.wait_for_timeout(500)
    return at


@pytest.mark.parametrize("theme", list(GROUNDS))
def test_the_focus_is_seen_wherever_it_goes(page: Page, theme: str) -> None:
    page.emulate_media(color_scheme=theme)
    places = {}
    for path in ("", "dataset", "evaluation"):
        if path:
            opened(page, path, "h1")
        else:
            open_example(page)
            page.evaluate("document.querySelector('[data-testid=stSkipToContent]').focus()")
        for _ in range(30):
            page.keyboard.press("Tab")
            at = _ring(page)
            if at is None:
                break
            places[f"{path or 'prediction'}: {at[0]}"] = at[1]
    assert len(places) > 50
    unseen = [name for name, colour in places.items() if not colour]
    assert not unseen
    for colour in set(places.values()):
        assert _contrast(colour, GROUNDS[theme]) >= 3


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two CSS colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""

    def luminance(colour: str) -> float:
        levels = np.array([int(n) for n in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


CLIPPED = """() => {
    const faults = [], shown = e => e.checkVisibility() && e.getBoundingClientRect().width > 1;
    const cut = e => e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1
        && (e.tagName === 'INPUT' || getComputedStyle(e).overflowX !== 'visible');
    const main = document.querySelector('[data-testid=stMain]');
    const box = main.getBoundingClientRect();
    if (main.scrollWidth > main.clientWidth) faults.push(`the page is ${main.scrollWidth} wide`);
    if (document.documentElement.scrollWidth > innerWidth) faults.push('the window scrolls');
    const select = 'button, label, input[role=combobox]';
    for (const e of [...main.querySelectorAll(select)].filter(shown)) {
        if (e.closest('[data-testid=stElementToolbar], [data-testid=stFileUploaderDropzone]'))
            continue;
        const name = e.value || e.innerText || e.ariaLabel, at = e.getBoundingClientRect();
        if ([e, ...e.querySelectorAll('*')].some(cut))
            faults.push(`${e.tagName} "${name}" is cut off`);
        if (at.left < box.left || at.right > box.left + main.clientWidth + 1)
            faults.push(`${e.tagName} "${name}" leaves the page`);
    }
    return faults;
}"""


def _sidebar(page: Page, *, wide: bool) -> None:
    sidebar = page.get_by_test_id("stSidebar")
    if (sidebar.get_attribute("data-collapsed") == "false") != wide:
        if wide:
            page.get_by_test_id("stExpandSidebarButton").click()
        else:
            sidebar.hover()
            page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    expect(sidebar).to_have_attribute("data-collapsed", "false" if wide else "true")


@pytest.mark.parametrize("path", ["", "dataset", "evaluation", "training"])
def test_nothing_is_cut_off_on_a_tablet_or_a_phone(page: Page, path: str) -> None:
    if path:
        opened(page, path, "h1")
    else:
        open_example(page)
    for viewport, wide in ((TABLET, True), (TABLET, False), (PHONE, False)):
        page.set_viewport_size(viewport)
        _sidebar(page, wide=wide)
        settle(page)
        where = f"{viewport['width']} pixels, sidebar {'open' if wide else 'closed'}"
        assert page.evaluate(CLIPPED) == [], where
        if not path:
            room = viewport["width"] - (300 if wide else 0)
            assert page.locator(".xv canvas").bounding_box()["width"] >= 0.85 * room, where
