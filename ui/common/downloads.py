"""Tables to take along, with no cell that a spreadsheet would run as a formula."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from xray_core.prediction.screen import cell


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV whose names and texts have passed through `screen.cell`."""
    guarded = table.copy()
    for name in table.select_dtypes(exclude=["number", "bool", "datetime"]):
        guarded[name] = table[name].map(_guarded)
    return guarded.rename(columns=_guarded).to_csv(index=False).encode()


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


def _guarded(value: object) -> object:
    return cell(value) if isinstance(value, str) else value
