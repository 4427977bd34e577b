"""Escaping of texts from files, on pages that render Markdown.

A table, the folder of a model or an error message may contain Markdown, such as an image that the
visitor's browser would load from a foreign server. One of these two functions escapes such texts.
"""

import re

# An underscore inside a word is no syntax, and common in file names.
_SYNTAX = re.compile(r"[\\`*{}\[\]<>#|~$&!:^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_BRACKETS = str.maketrans({"[": "&#91;", "]": "&#93;", "<": "&lt;", "$": "&#36;"})
# Bare addresses, which GitHub's Markdown turns into links.
_BARE_LINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def as_text(value: object, limit: int = 200) -> str:
    """Return `value` as inline Markdown that shows its characters, at most `limit` of them.

    Line breaks become spaces. For use in a sentence, a label or a cell.
    """
    text = _SPACE.sub(" ", str(value)).strip()
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    text = _BARE_LINK.sub(_WORD_JOINER, text)
    return _SYNTAX.sub(lambda match: f"&#{ord(match[0])};", text)


def as_markdown(text: str) -> str:
    """Return Markdown with only headings, lists, tables, emphasis and code active.

    Links, images, HTML, formulas and Streamlit's directives need a bracket or a dollar sign. These
    become entities, which are shown but are never syntax (CommonMark 0.31, section 2.5). An
    invisible character in a bare address keeps it from becoming a link.
    """
    return _BARE_LINK.sub(_WORD_JOINER, text.translate(_BRACKETS))
