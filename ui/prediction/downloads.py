"""The downloads of one image: the report (PDF) and the result (CSV)."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from ui.prediction.cases import Case, widget_key
from ui.prediction.result import pre_test
from ui.prediction.table import table_csv
from xray_core.evaluation.verdicts import VerdictRate
from xray_core.model.bundle import Bundle
from xray_core.prediction.predictor import Prediction
from xray_core.prediction.report_pdf import Overlay, report_pdf


@dataclass(frozen=True)
class InReport:
    """What the report shows: `image`, uint8 (h, w) or (h, w, 3), and `overlay`, with its map.

    `lungs_outlined` tells whether both have the outline of the lungs.
    """

    image: NDArray[np.uint8]
    overlay: Overlay
    lungs_outlined: bool


def downloads(
    case: Case,
    prediction: Prediction,
    bundle: Bundle,
    rates: dict[str, dict[str, VerdictRate]],
    shown: InReport,
) -> None:
    """Draw both downloads.

    Both files are made before the click, so that no rerun of the page can interrupt a download.
    """
    include_name = bool(case.name) and st.checkbox(
        "Include file name",
        key=widget_key("name_in_report"),
        help="File names can identify a patient.",
    )
    report = report_pdf(
        prediction,
        shown.image,
        bundle,
        title=f"Image {case.number}" + (f" · {case.origin}" if case.origin else ""),
        overlay=shown.overlay,
        lungs_outlined=shown.lungs_outlined,
        rates=rates,
        pre_test=pre_test(),
        file_name=case.name if include_name else None,
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
            table_csv([case], names=include_name, pre_test=pre_test()),
            file_name=f"chest-xray-result-{case.number}.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
            key="download_csv",
        )
