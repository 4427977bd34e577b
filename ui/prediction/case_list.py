"""The list of several images as a Streamlit component: thumbnail, result, probability, caution."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from ui.prediction.cases import Case
from ui.prediction.result import SYMBOLS
from xray_core.prediction.wording import percent

_HERE = Path(__file__).parent
_COMPONENT = st.components.v2.component(
    "xray_case_list",
    html='<div class="cl" role="listbox" tabindex="0" aria-label="Images"></div>',
    css=(_HERE / "case_list.css").read_text(encoding="utf-8"),
    js=(_HERE / "case_list.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)
_EMPTY_IMAGE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def show_list(
    cases: Sequence[Case],
    selected: int,
    *,
    key: str,
    names: bool,
    on_select: Callable[[int], None],
) -> None:
    """Draw the list of images, with their file names if `names`.

    `on_select` is called with the number of the image that the visitor opens, before the next run
    of the page.
    """
    numbers = {case.number for case in cases}

    def chosen() -> None:
        number = st.session_state[key].get("select")
        if number in numbers:
            on_select(int(number))

    data = {"rows": [_row(case, names=names) for case in cases], "selected": selected}
    _COMPONENT(key=key, data=data, on_select_change=chosen)


def _row(case: Case, *, names: bool) -> dict[str, Any]:
    prediction = case.prediction
    number = f"Image {case.number}"
    parts = [*prediction.reasons[:1]]
    if prediction.probability is not None:
        parts.insert(0, percent(prediction.probability))
    return {
        "number": case.number,
        "title": f"{number}: {case.name}" if names and case.name else number,
        "result": f"{SYMBOLS[prediction.verdict]} {prediction.shown_as}",
        "tone": prediction.verdict.lower(),
        "note": " · ".join(parts),
        "thumbnail": case.thumbnail or _EMPTY_IMAGE,
    }
