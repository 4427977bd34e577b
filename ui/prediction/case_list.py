"""The list of several images as a Streamlit component: thumbnail, result, probability, caution."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import streamlit as st

from ui.common.streamlit_internals import serve_bytes
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


def show_list(
    cases: Sequence[Case],
    shown: Sequence[Case],
    selected: int,
    *,
    key: str,
    names: bool,
    on_select: Callable[[int], None],
) -> None:
    """Draw the list of the images `shown`, with their file names if `names`.

    The thumbnails of all `cases` are served as one file, which the browser fetches once.
    `on_select` is called with the number of the image that the visitor opens, before the next run
    of the page.
    """
    numbers = {case.number for case in shown}

    def chosen() -> None:
        number = st.session_state[key].get("select")
        if number in numbers:
            on_select(int(number))

    ends = accumulate(len(case.thumbnail) for case in cases)
    places = {
        case.number: (end - len(case.thumbnail), end) for case, end in zip(cases, ends, strict=True)
    }
    data = {
        "rows": [{**_row(case, names=names), "thumbnail": places[case.number]} for case in shown],
        "selected": selected,
        "thumbnails": serve_bytes(b"".join(case.thumbnail for case in cases), f"{key}-thumbnails"),
    }
    _COMPONENT(key=key, data=data, on_select_change=chosen)


def _row(case: Case, *, names: bool) -> dict[str, Any]:
    prediction = case.prediction
    number = f"Image {case.number}"
    name = case.origin or (case.name if names else "")
    parts = [*prediction.reasons[:1]]
    if prediction.probability is not None:
        note = f" ({prediction.probability_note})" if prediction.probability_note else ""
        parts.insert(0, f"{percent(prediction.probability)}{note}")
    return {
        "number": case.number,
        "title": f"{number}: {name}" if name else number,
        "result": f"{SYMBOLS[prediction.verdict]} {prediction.shown_as}",
        "tone": prediction.verdict.lower(),
        "note": " · ".join(parts),
    }
