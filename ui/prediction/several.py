"""Several images: filter, order and list, and which of them is selected."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from ui.prediction.case_list import show_list
from ui.prediction.cases import Case, widget_key
from ui.prediction.result import SYMBOLS
from xray_core.labels import SHOWN_AS

ALL, WITH_CAUTIONS = "ALL", "CAUTIONS"
NAMES = "prediction_names"
"""The widget that shows the file names."""


def _by_probability(sign: int) -> Callable[[Case], tuple[bool, float]]:
    # Images without a probability come last in either order.
    return lambda case: (
        case.prediction.probability is None,
        sign * (case.prediction.probability or 0.0),
    )


ORDERS: dict[str, Callable[[Case], object]] = {
    "By number": lambda case: case.number,
    "Highest probability first": _by_probability(-1),
    "Lowest probability first": _by_probability(1),
    "By result": lambda case: list(SHOWN_AS).index(case.prediction.verdict),
}


def choose_case(cases: list[Case]) -> tuple[Case, list[int]]:
    """Draw filter, order and list of several images.

    Returns the selected image, and the numbers of those that match the filter, in their order.
    """
    counts = _counts(cases)
    with st.container(horizontal=True, gap="xsmall"):
        shown = st.selectbox(
            "Show",
            counts,
            format_func=lambda kind: f"{_name(kind)} ({counts.get(kind, 0)})",
            key=widget_key("prediction_filter"),
            label_visibility="collapsed",
        )
        order = st.selectbox(
            "Order", ORDERS, key=widget_key("prediction_order"), label_visibility="collapsed"
        )
    rows = sorted((case for case in cases if _matches(case, shown)), key=ORDERS[order])
    numbers = [case.number for case in rows]
    selection_key = widget_key("prediction_shown")
    number = st.session_state.get(selection_key)
    if number not in numbers:
        number = st.session_state[selection_key] = numbers[0]
    show_list(
        cases,
        rows,
        number,
        key="case-list",
        names=show_names(),
        on_select=partial(_select, selection_key),
    )
    return next(case for case in rows if case.number == number), numbers


def step_from(numbers: list[int], number: int, change: int) -> None:
    """Select the image before (-1) or after (1) that with this number, if there is one."""
    place = numbers.index(number) + change
    if 0 <= place < len(numbers):
        _select(widget_key("prediction_shown"), numbers[place])


def show_names() -> bool:
    """Tell whether the visitor asked for the file names of the present images."""
    return bool(st.session_state.get(widget_key(NAMES)))


def _select(key: str, number: int) -> None:
    st.session_state[key] = number


def _counts(cases: list[Case]) -> dict[str, int]:
    """Return how many images each filter shows; filters that show none are left out."""
    kinds = (ALL, *SHOWN_AS, WITH_CAUTIONS)
    counts = {kind: sum(_matches(case, kind) for case in cases) for kind in kinds}
    return {kind: count for kind, count in counts.items() if count}


def _matches(case: Case, kind: str) -> bool:
    prediction = case.prediction
    if kind == WITH_CAUTIONS:
        return prediction.probability is not None and bool(prediction.reasons)
    return kind == ALL or prediction.verdict == kind


def _name(kind: str) -> str:
    names = {ALL: "All images", WITH_CAUTIONS: "With cautions"}
    return names.get(kind) or f"{SYMBOLS[kind]} {SHOWN_AS[kind]}"
