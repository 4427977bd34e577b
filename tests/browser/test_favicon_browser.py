"""The icon of a tab is never loaded from another server."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

RECORD = """
window.icons = [];
new MutationObserver(() => {
  for (const link of document.querySelectorAll("link[rel~='icon']")) window.icons.push(link.href);
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ["href"]});
"""


def test_no_icon_is_fetched_from_another_server(start_server, page, tmp_path):
    server = start_server(tmp_path)
    page.add_init_script(RECORD)
    for path in ("", "evaluation"):
        page.goto(f"{server.url}/{path}")
        expect(page.get_by_text("There is no trained model yet")).to_be_visible()
        for name in ("Dataset", "Training", "Prediction"):
            page.get_by_test_id("stTopNavLink").filter(has_text=name).click()
            expect(page).to_have_title(f"{name} · Chest X-ray pneumonia demo")
        icons = set(page.evaluate("window.icons"))
        assert any(icon.startswith("data:image/svg+xml") for icon in icons)
        assert [icon for icon in icons if not icon.startswith(("data:", server.url))] == []
