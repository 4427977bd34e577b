"""Widgets that several pages use."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from xray_core.prediction.screen import cell


def csv_button(table: pd.DataFrame, name: str, label: str) -> None:
    """Draw a button that downloads a table as NAME.csv; `label` says which table it is."""
    st.download_button(
        label,
        data=lambda: csv_bytes(table),
        file_name=f"{name}.csv",
        mime="text/csv",
        key=f"csv-{name}",
        on_click="ignore",
        icon=":material/download:",
    )


def figure_buttons(figure: str, title: str, slug: str, draw: Callable[[str], bytes]) -> None:
    """Draw buttons that download a figure as PNG and SVG; it is drawn when one is pressed.

    `title` is the figure's name on the buttons, `figure` the one in the names of the files.
    """
    with st.container(horizontal=True):
        for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml")):
            st.download_button(
                f"{title} ({kind.upper()})",
                data=partial(draw, kind),
                file_name=f"{slug}-{figure}.{kind}",
                mime=mime,
                key=f"{figure}-{kind}",
                on_click="ignore",
                icon=":material/download:",
            )


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in which no name or text is run as a formula by a spreadsheet."""
    escaped = table.copy()
    for name in table.select_dtypes(exclude=["number", "bool", "datetime"]):
        escaped[name] = table[name].map(_escape)
    return escaped.rename(columns=_escape).to_csv(index=False).encode()


def _escape(value: object) -> object:
    return cell(value) if isinstance(value, str) else value
