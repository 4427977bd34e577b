"""Several images as a table: thumbnails, results, filter, and a click that opens the image."""

import csv
import io

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui.prediction.cases import Case, widget_key
from ui.prediction.result import SYMBOLS
from xray_core.labels import SHOWN_AS
from xray_core.prediction.screen import RESULT_COLUMNS, cell, result_cells

EMPTY_IMAGE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
"""One transparent pixel: a cell without an image would show "None"."""


def select_case(
    cases: list[Case], table: DeltaGenerator, picker: DeltaGenerator, *, names: bool
) -> tuple[Case | None, list[int]]:
    """Draw filter and table into `table` and the list of images into `picker`.

    Returns the selected image, None if no image matches the filter, and the numbers of those that
    match.
    """
    selection_key = widget_key("prediction_shown")
    counts = {
        verdict: sum(case.prediction.verdict == verdict for case in cases) for verdict in SHOWN_AS
    }
    present = [verdict for verdict in SHOWN_AS if counts[verdict]]
    selected = table.pills(
        "Show only",
        present,
        selection_mode="multi",
        format_func=lambda verdict: (
            f"{SYMBOLS[verdict]} {SHOWN_AS[verdict]}: {counts.get(verdict, 0)}"
        ),
        key=widget_key("prediction_verdicts"),
    )
    rows = [case for case in cases if not selected or case.prediction.verdict in selected]
    if not rows:
        return None, []
    key = widget_key("prediction-table") + f"-{'-'.join(selected)}-{len(rows)}-{names}"

    def select_clicked() -> None:
        cells = st.session_state[key].selection.cells
        if cells:
            st.session_state[selection_key] = rows[cells[0][0]].number

    table.dataframe(
        _table(rows, names=names),
        key=key,
        on_select=select_clicked,
        selection_mode="single-cell",
        hide_index=True,
        row_height=56,
        height=min(300, 40 + 56 * len(rows)),
        column_config={
            "Thumbnail": st.column_config.ImageColumn(width=70),
            "Image": st.column_config.NumberColumn(width=60),
            "Result": st.column_config.TextColumn(width=190),
            "Probability": st.column_config.ProgressColumn(
                format="%.0f%%", min_value=0, max_value=100, width=130
            ),
            "Cautions": st.column_config.TextColumn(width="large"),
        },
        alt="The images with their results; the list below the table opens one by its number.",
    )
    numbers = [case.number for case in rows]
    if st.session_state.get(selection_key) not in numbers:
        st.session_state[selection_key] = numbers[0]
    number = picker.selectbox(
        "Selected image (or click a row)",
        numbers,
        key=selection_key,
        format_func=lambda number: _label(
            next(case for case in rows if case.number == number), names
        ),
    )
    return next(case for case in rows if case.number == number), numbers


def step_from(numbers: list[int], number: int, change: int) -> None:
    """Select the image before (-1) or after (1) that with this number, if there is one."""
    place = numbers.index(number) + change
    if 0 <= place < len(numbers):
        st.session_state[widget_key("prediction_shown")] = numbers[place]


def table_csv(cases: list[Case], *, names: bool, pre_test: float | None = None) -> bytes:
    """Return the results as CSV, one row per image; with file names if `names`.

    With `pre_test`, a probability in (0, 1), each row states it and the post-test probability.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["image", *RESULT_COLUMNS]
    header += ["pre_test", "post_test"] if pre_test is not None else []
    writer.writerow([*header, "file"] if names else header)
    for case in cases:
        row = [case.number, *result_cells(case.prediction)]
        if pre_test is not None:
            after = case.prediction.post_test(pre_test)
            row += [pre_test, "" if after is None else round(after, 6)]
        writer.writerow([*row, cell(case.name or case.origin)] if names else row)
    return text.getvalue().encode("utf-8-sig")


def _table(cases: list[Case], *, names: bool) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "Thumbnail": [case.thumbnail or EMPTY_IMAGE for case in cases],
            "Image": [case.number for case in cases],
            "Result": [_result(case) for case in cases],
            "Probability": [_percents(case.prediction.probability) for case in cases],
            "Cautions": [" ".join(case.prediction.reasons) for case in cases],
        }
    )
    if any(case.origin for case in cases):
        table.insert(2, "Origin", [case.origin for case in cases])
    if names:
        table.insert(2, "File", [case.name for case in cases])
    return table


def _percents(probability: float | None) -> float | None:
    return None if probability is None else 100 * probability


def _result(case: Case) -> str:
    return f"{SYMBOLS[case.prediction.verdict]} {case.prediction.shown_as}"


def _label(case: Case, names: bool) -> str:
    name = case.origin or (case.name if names else "")
    return f"{case.number}: {_result(case)}" + (f" ({name})" if name else "")
