"""Each page by its own URL, as the first request of a fresh server."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
MENU = ["Prediction", "Dataset", "Evaluation", "Training"]


@pytest.mark.parametrize("path", ["prediction", "dataset", "evaluation", "training"])
def test_the_first_request_to_a_page_shows_the_frame(path, start_server, page, tmp_path):
    outside = []
    server = start_server(tmp_path)
    page.on(
        "request",
        lambda request: outside.append(request.url) if server.url not in request.url else None,
    )

    page.goto(f"{server.url}/{path}")

    expect(page.get_by_text("not a medical device")).to_be_visible()
    expect(page.get_by_text("There is no trained model yet")).to_be_visible()
    links = page.get_by_test_id("stTopNavLink")
    expect(links).to_have_text([re.compile(name) for name in MENU])
    model = page.get_by_test_id("stSidebar").get_by_text("Model", exact=True)
    expect(model).not_to_be_in_viewport()
    page.get_by_test_id("stExpandSidebarButton").click()
    expect(model).to_be_in_viewport()
    expect(page).to_have_title(re.compile(f"^{path.title()} "))
    assert [
        url for url in outside if not url.startswith(("data:", "blob:", "ws://localhost"))
    ] == []
