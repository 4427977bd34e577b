"""Texts that come from files, on a page that reads Markdown.

A table, a model's folder or an error's message may hold Markdown: an image would be fetched by
the visitor's browser from wherever it says. Such texts pass through one of these two functions.
"""

import re

# An underscore inside a word is no syntax, and names of images have many.
_SYNTAX = re.compile(r"[\\`*{}\[\]<>#|~$&!:^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_BRACKETS = str.maketrans({"[": "&#91;", "]": "&#93;", "<": "&lt;", "$": "&#36;"})
# What GitHub's Markdown makes a link of without any brackets.
_BARE_LINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def as_text(value: object, limit: int = 200) -> str:
    """Return `value` as inline Markdown that shows its characters, at most `limit` of them.

    Line breaks become spaces. For use inside a sentence, a label or a cell.
    """
    text = _SPACE.sub(" ", str(value)).strip()
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    text = _BARE_LINK.sub(_WORD_JOINER, text)
    return _SYNTAX.sub(lambda found: f"&#{ord(found[0])};", text)


def as_markdown(text: str) -> str:
    """Return Markdown of which headings, lists, tables, emphasis and code alone are left.

    Links, images, HTML, formulas and Streamlit's directives need a bracket or a dollar sign, which
    become entities: those are shown, and are never syntax (CommonMark 0.31, section 2.5). A bare
    address is broken by an invisible character, so that it is no link either.
    """
    return _BARE_LINK.sub(_WORD_JOINER, text.translate(_BRACKETS))
