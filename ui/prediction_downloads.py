"""What a visitor takes along of one film: the report on a page, and a row for a table."""

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from ui.prediction_films import Film, widget_key
from ui.prediction_table import table_csv
from ui.prediction_view import View
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor


def downloads(
    film: Film,
    view: View,
    prediction: Prediction,
    predictor: "Predictor",
    picture: NDArray[np.uint8],
) -> None:
    """Draw both downloads; `picture` is the film with its map as shown, RGB (h, w, 3).

    Both files are there before the click, which a rerun of the page can then not lose.
    """
    from xray_core.prediction.report import report_pdf

    named = bool(film.name) and st.checkbox(
        "Put the file's name in",
        key=widget_key("name_in_report"),
        help="File names can identify a patient.",
    )
    report = report_pdf(
        prediction,
        view.radiograph,
        predictor.bundle,
        overlay=picture,
        file_name=film.name if named else None,
    )
    with st.container(horizontal=True):
        st.download_button(
            "Report (PDF)",
            report,
            file_name=f"chest-xray-report-{film.number}.pdf",
            mime="application/pdf",
            icon=":material/picture_as_pdf:",
            on_click="ignore",
            key="download_pdf",
        )
        st.download_button(
            "Row (CSV)",
            table_csv([film], names=named),
            file_name=f"chest-xray-answer-{film.number}.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
            key="download_csv",
        )
