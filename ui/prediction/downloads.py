"""The downloads of one image: the report on a page, and a row for a table."""

import streamlit as st

from ui.prediction.cases import Case, widget_key
from ui.prediction.result import pre_test
from ui.prediction.table import table_csv
from ui.prediction.view import View
from xray_core.evaluation.verdicts import VerdictRate
from xray_core.model.bundle import Bundle
from xray_core.prediction.predictor import Prediction
from xray_core.prediction.report_pdf import MapPicture, report_pdf


def downloads(
    case: Case,
    view: View,
    prediction: Prediction,
    bundle: Bundle,
    rates: dict[str, dict[str, VerdictRate]],
    picture: MapPicture,
) -> None:
    """Draw both downloads; `picture` is the image with its map as shown.

    Both files are there before the click, which a rerun of the page cannot lose.
    """
    named = bool(case.name) and st.checkbox(
        "Include file name",
        key=widget_key("name_in_report"),
        help="File names can identify a patient.",
    )
    report = report_pdf(
        prediction,
        view.radiograph,
        bundle,
        title=f"Image {case.number}" + (f" · {case.origin}" if case.origin else ""),
        picture=picture,
        rates=rates,
        pre_test=pre_test(),
        file_name=case.name if named else None,
    )
    with st.container(horizontal=True):
        st.download_button(
            "Report (PDF)",
            report,
            file_name=f"chest-xray-report-{case.number}.pdf",
            mime="application/pdf",
            icon=":material/picture_as_pdf:",
            on_click="ignore",
            key="download_pdf",
        )
        st.download_button(
            "Result (CSV)",
            table_csv([case], names=named, pre_test=pre_test()),
            file_name=f"chest-xray-result-{case.number}.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
            key="download_csv",
        )
