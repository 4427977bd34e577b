"""What the tests of the pages share beyond fixtures."""

import json
from pathlib import Path
from typing import Any

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


class Downloads(dict[str, Any]):
    """What the download buttons give, by their labels; a file is made when it is read here."""

    def __getitem__(self, label: str) -> bytes:
        data = super().__getitem__(label)
        return data() if callable(data) else data


def of_this_drop(at: AppTest, name: str) -> str:
    """Return the key that a widget of the Prediction page has until the next drop."""
    return f"{name}-{at.session_state['prediction_visit'].resets}"


def viewer(at: AppTest) -> dict[str, Any]:
    """Return what the viewer receives."""
    (data,) = (data for data in _components(at) if "image" in data)
    return data


def listed(at: AppTest) -> list[dict[str, Any]]:
    """Return the rows of the list of several images, [] where there is no list."""
    return [row for data in _components(at) if "rows" in data for row in data["rows"]]


def listed_numbers(at: AppTest) -> list[int]:
    """Return the numbers of the listed images in their order."""
    return [row["number"] for row in listed(at)]


def listed_files(at: AppTest) -> list[str]:
    """Return the file names in the list."""
    return [row["title"].partition(": ")[2] for row in listed(at)]


def select_image(at: AppTest, number: int) -> AppTest:
    """Open the image with this number, as a click in the list does."""
    at.session_state[of_this_drop(at, "prediction_shown")] = number
    return at.run()


def _components(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(element.proto.json) for element in at.get("bidi_component")]


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
