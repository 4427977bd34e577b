"""What the tests of the pages share beyond fixtures."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[1]


def page_text(at: AppTest) -> str:
    """Return all that a page says, as one string, for assertions on its words."""
    parts: list[str] = []
    for element in at.main:
        parts += _words(element)
    for element in at.sidebar:
        parts += _words(element)
    return "\n".join(parts)


def of_this_drop(at: AppTest, name: str) -> str:
    """Return the key that a widget of the Prediction page has until the next drop."""
    return f"{name}-{at.session_state['prediction_visit'].resets}"


def _words(element: object) -> list[str]:
    words = [
        str(value)
        for name in ("label", "value", "body", "icon")
        if isinstance(value := getattr(element, name, None), str)
    ]
    proto = getattr(element, "proto", None)
    if isinstance(html := getattr(proto, "body", None), str):
        words.append(html)
    return words
