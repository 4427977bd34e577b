"""The Evaluation and Training pages in a real browser, from a simulated bundle."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser_tools import LAPTOP, PHONE, Server, shot
from PIL import Image
from playwright.sync_api import expect
from simulated_bundle import predictions, write_bundle

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("evaluation")
    write_bundle(folder / "models")
    for file in predictions().query("fold == 'test'")["file"]:
        path = folder / "images" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (24, 24), 120).save(path)
    return start_server(folder / "models", CHEST_XRAY_DIR=str(folder / "images"))


def metric(page, label: str):
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")


def test_the_threshold_moves_the_numbers_from_the_keyboard(server, page):
    page.goto(f"{server.url}/evaluation")
    value = metric(page, "Sensitivity")
    expect(value).to_have_text(re.compile(r"9\d\.\d%"))
    before = value.inner_text()

    page.get_by_role("slider", name="Threshold (pneumonia at or above)").press("End")

    expect(value).to_have_text("0.0%")
    page.get_by_role("radio", name=re.compile(r"Decision \(50")).or_(
        page.get_by_role("button", name=re.compile(r"Decision \(50"))
    ).first.click()
    expect(value).to_have_text(before)


def test_an_error_opens_in_prediction(server, page):
    page.goto(f"{server.url}/evaluation")
    _section(page, "Errors")
    page.get_by_role("button", name="Open in Prediction").first.click()

    expect(page).to_have_url(re.compile(rf"{re.escape(server.url)}/(prediction)?$"))


def test_a_figure_is_downloaded_as_svg(server, page, tmp_path):
    page.goto(f"{server.url}/evaluation")
    _section(page, "ROC and PR")
    expect(page.get_by_role("heading", name="ROC curve")).to_be_visible()
    with page.expect_download() as waiting:
        page.locator(".st-key-roc-svg").get_by_role("button").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)

    assert path.name == "resnet50-test-split-roc.svg"
    assert "<svg" in Path(path).read_text()[:500]


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [(LAPTOP, "light"), (LAPTOP, "dark"), (PHONE, "light"), (PHONE, "dark")],
    ids=["laptop-light", "laptop-dark", "phone-light", "phone-dark"],
)
def test_both_pages_fit_the_screen(server, open_browser_page, viewport, scheme):
    page = open_browser_page(viewport, scheme)
    size = "phone" if viewport == PHONE else "laptop"
    for name, words in (("evaluation", "Sensitivity"), ("training", "Best epoch")):
        page.goto(f"{server.url}/{name}")
        expect(page.get_by_test_id("stMetric").filter(has_text=words)).to_be_visible()
        expect(page.get_by_text("not a medical device")).to_be_visible()
        shot(page, f"{name}-{size}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        expect(page.locator("table").first).to_be_attached()
        edges = page.evaluate(
            "[...document.querySelectorAll('table')].map(t => t.getBoundingClientRect().right)"
        )
        assert max(edges) <= viewport["width"]


def _section(page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    ).first.click()
