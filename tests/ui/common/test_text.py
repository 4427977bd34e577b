"""Texts from files are shown, and are neither images nor links.

What a browser makes of them is tested in tests/browser/test_foreign_texts_browser.py.
"""

import pytest

from ui.common.text import as_markdown, as_text


@pytest.mark.parametrize("text", ["IM-0007", "person3_virus_7.jpeg", "bacteria-23", "1.5 (of 2)"])
def test_names_of_images_stay_as_they_are(text: str) -> None:
    assert as_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![x](y)", "&#33;&#91;x&#93;(y)"),
        ("**a** _b_", "&#42;&#42;a&#42;&#42; &#95;b&#95;"),
        ("<b>\n&amp;\x00", "&#60;b&#62; &#38;amp;"),
        ("http://a.example", "http&#58;\u2060//a.example"),
        ("WWW.a.example", "WWW\u2060.a.example"),
        ("a@b.example", "a\u2060@b.example"),
        (7, "7"),
    ],
)
def test_markdown_in_a_text_is_shown_and_is_no_syntax(text: object, shown: str) -> None:
    assert as_text(text) == shown


def test_a_long_text_is_cut() -> None:
    assert as_text("x" * 5000, 10) == "xxxxxxxxx…"


def test_a_card_keeps_its_headings_lists_tables_and_emphasis() -> None:
    card = "# a\n\n- *b*\n\n| c |\n|---|\n| `d` |\n"
    assert as_markdown(card) == card


@pytest.mark.parametrize(
    "text",
    ["![a](b)", "[a](b)", "![a][b]\n\n[b]: c", "\\[a](b)", "<img src=a>", ":red[a]", "$a$"],
)
def test_a_card_loses_the_characters_that_images_links_and_html_need(text: str) -> None:
    assert not set("[]<$") & set(as_markdown(text))
