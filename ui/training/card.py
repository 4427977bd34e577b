"""Parts of a model card (Markdown) as the Training page shows them."""

import re

_LIMITS = re.compile(
    r"^##+ ([^\n]*\b(?:limit|must not)[^\n]*)\n(.*?)(?=^##? |\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


def card_body(card: str) -> str:
    """Return a card without front matter, title and the section that `limits` returns.

    Headings are one level lower, since they stand below a heading of the page.
    """
    text = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL).lstrip()
    text = _LIMITS.sub("", re.sub(r"\A# .*\n+", "", text), count=1)
    return re.sub(r"^#{2,5} ", r"#\g<0>", text, flags=re.MULTILINE)


def limits(card: str) -> tuple[str, str]:
    """Return heading and text of the first section on limits or excluded uses, or ("", "")."""
    match = _LIMITS.search(card)
    return (match.group(1).strip(), match.group(2).strip()) if match else ("", "")
