"""Texts that come from files make the browser ask no other server, and lead to none."""

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from browser_tools import Server
from PIL import Image
from playwright.sync_api import expect
from simulated_bundle import write_bundle

from xray_core.model.bundle_writing import seal

pytestmark = pytest.mark.browser

IMAGE = "![x](http://evil.example/{}.png)"
CARD = """---
license: mit
---
# resnet50

Words of the card. ![inline](http://evil.example/inline.png) [![link](http://evil.example/l.png)](
http://evil.example/) ![by reference][there] \\![escaped](http://evil.example/escaped.png)
<img src="http://evil.example/html.png"> <http://evil.example/angle> http://evil.example/bare
www.evil.example someone@evil.example `http://evil.example/code` &#91;e](http://evil.example/entity)

[there]: http://evil.example/reference.png

## Limits ![heading](http://evil.example/heading.png)

- Limits of use. ![limits](//evil.example/limits.png)

## Data

| a ![cell](http://evil.example/cell.png) | b |
|---|---|
| $\\includegraphics{http://evil.example/math.png}$ | c |
"""


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("foreign")
    bundle = write_bundle(folder / "models")
    (bundle / "MODEL_CARD.md").write_text(CARD)
    config = json.loads((bundle / "config.json").read_text())
    config["created"] = "![](//e.x)"
    config["recipe"]["summary"] = "A summary. " + IMAGE.format("summary")
    config["training"]["best_epoch"] = 6
    for key in ("files", "format"):
        del config[key]
    seal(bundle, config)
    image = folder / "chest_xray/test/NORMAL/a.png"
    image.parent.mkdir(parents=True)
    Image.new("L", (24, 24), 120).save(image)
    return start_server(folder / "models", CHEST_XRAY_DIR=str(folder / "chest_xray"))


@pytest.fixture
def visitor(server: Server, page: object) -> object:
    """A page that remembers the hosts it asked, and what the security policy stopped."""
    page.asked, page.stopped = set(), []

    def hear(message: object) -> None:
        if "Content Security Policy" in message.text:
            page.stopped.append(message.text)

    page.on("request", lambda request: page.asked.add(urlsplit(request.url).hostname))
    page.on("console", hear)
    return page


def assert_nothing_leads_elsewhere(page: object) -> None:
    found = page.evaluate(
        "[...document.querySelectorAll('[src], [href], [srcset], [data]')]"
        ".filter(node => node.localName != 'link')"
        ".flatMap(node => ['src', 'href', 'srcset', 'data'].map(name => node.getAttribute(name)))"
    )
    elsewhere = [
        text for text in found if text and text[0] != "#" and ("evil" in text or "//e.x" in text)
    ]
    assert elsewhere == []
    assert page.asked <= {"localhost", None}
    assert page.stopped == []


def test_a_models_own_texts(server: Server, visitor: object) -> None:
    visitor.goto(f"{server.url}/training")
    expect(visitor.get_by_text("Words of the card.")).to_be_attached()
    expect(visitor.get_by_text("A summary.")).to_be_attached()
    expect(visitor.get_by_text("Limits of use.")).to_be_visible()
    expect(visitor.locator("h2", has_text="Limits")).to_contain_text("heading.png")
    for tab in ("Model card", "Recipe", "Network", "Provenance"):
        visitor.get_by_role("tab", name=tab).click()
        assert_nothing_leads_elsewhere(visitor)


def test_texts_of_an_uploaded_table(server: Server, visitor: object) -> None:
    def upload(text: str) -> None:
        _section(visitor, "Your images")
        visitor.get_by_role("tab", name="CSV of predictions").click()
        visitor.locator('input[type="file"]').set_input_files(
            {"name": "t.csv", "mimeType": "text/csv", "buffer": text.encode()}
        )
        visitor.get_by_role("button", name="Evaluate this table").click()

    visitor.goto(f"{server.url}/evaluation")
    upload(f"label,probability\n{IMAGE.format('label')},0.9\n")
    expect(visitor.get_by_text("Received: '![x](http")).to_be_visible()
    assert_nothing_leads_elsewhere(visitor)
    visitor.reload()
    upload(f"{IMAGE.format('column')},probability\n1,0.9\n")
    expect(visitor.get_by_text("Received: ![x](http")).to_be_visible()
    assert_nothing_leads_elsewhere(visitor)
    visitor.reload()
    subtype = IMAGE.format("s")
    upload(
        "label,probability,file,subtype,gate,verdict,patient\n"
        + f"PNEUMONIA,0.1,test/NORMAL/a.png,{subtype},{subtype},{subtype},{subtype}\n" * 2
        + "NORMAL,0.2,b,,,,\n"
    )
    expect(visitor.get_by_text("on your images")).to_be_visible()
    _section(visitor, "Errors")
    expect(visitor.get_by_text("missed: 10.0%").first).to_contain_text("![x](http")
    visitor.get_by_role("button", name="Open in Prediction").first.hover()
    assert_nothing_leads_elsewhere(visitor)
    _section(visitor, "Groups")
    expect(visitor.get_by_role("heading", name=re.compile("By subtype"))).to_be_visible()
    assert_nothing_leads_elsewhere(visitor)


def test_the_policy_stops_an_image_that_slipped_through(server: Server, visitor: object) -> None:
    visitor.goto(f"{server.url}/training")
    expect(visitor.get_by_text("Limits of use.")).to_be_visible()
    with visitor.expect_console_message(lambda message: "img-src" in message.text):
        visitor.evaluate("new Image().src = 'http://evil.example/x.png'")


def _section(page: object, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    ).first.click()
