"""What a reading session shows so far, and its download."""

from html import escape

import streamlit as st

from ui.prediction.read_first import ReadingSession
from xray_core.evaluation.reader_study import evaluate_readings
from xray_core.evaluation.reader_study_text import compare_calls, describe_readings
from xray_core.evaluation.reading import readings_csv


def show_summary(session: ReadingSession) -> None:
    """Draw the summary, closed at first, the download, and the button that deletes everything."""
    readings = list(session.readings.values())
    if not readings:
        return
    complete = sum(reading.is_complete for reading in readings)
    if complete == 0:
        label = "Summary: no complete reading yet"
    elif complete == 1:
        label = "Summary of 1 complete reading"
    else:
        label = f"Summary of {complete} complete readings"
    summary = st.expander(
        label, key="read-first-summary", on_change="rerun", icon=":material/table:"
    )
    if summary.open:
        with summary:
            study = evaluate_readings(readings)
            if complete:
                st.html(_table_html(compare_calls(study)))
            st.markdown("\n".join(f"- {sentence}" for sentence in describe_readings(study)))
    with st.container(horizontal=True, vertical_alignment="center"):
        names = st.checkbox(
            "Include file names",
            key="read-first-names",
            help="File names can identify a patient.",
        )
        st.download_button(
            "All readings (CSV)",
            readings_csv(readings, names=names),
            file_name="chest-xray-readings.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
        )
        st.button(
            "Delete all readings",
            icon=":material/delete:",
            type="tertiary",
            on_click=session.clear,
            help="Remove images and readings from memory now",
        )


def _table_html(rows: list[dict[str, str]]) -> str:
    """Return rows as a table that the keyboard can scroll; the first cell of a row is its head."""
    heads = "".join(f'<th scope="col">{escape(name or "Measure")}</th>' for name in rows[0])
    lines = []
    for measure, *cells in (row.values() for row in rows):
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(measure)}</th>{values}</tr>')
    return (
        '<div class="calls" role="region" tabindex="0" aria-label="Both assessments and the model">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
