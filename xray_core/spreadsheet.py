"""Texts as cells of a table that no spreadsheet runs as a formula."""

import re

_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff\\]")


def cell(text: str) -> str:
    """Return a text as a table cell on one line that no spreadsheet runs as a formula.

    A leading =, +, -, @ (also full width) or apostrophe gets an apostrophe before it. Control
    characters, line breaks and undecodable bytes are escaped. Different texts stay different.
    """
    plain = _NOT_PRINTABLE.sub(lambda match: _escape(match[0]), text)
    return f"'{plain}" if plain.lstrip()[:1] in tuple("=+-@'\uff1d\uff0b\uff0d\uff20") else plain


def _escape(character: str) -> str:
    return "\\\\" if character == "\\" else f"\\u{ord(character):04x}"
