"""The downloads: report (PDF) and result (CSV), of one image and of all images.

A file is made when it is requested, with the settings that the page showed.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from ui.prediction.cases import Case, Visit, widget_key
from ui.prediction.dicom_results import dicom_results
from ui.prediction.evidence import Rates, accuracy_rates
from ui.prediction.result import pre_test
from ui.prediction.several import NAMES, show_names
from ui.prediction.table import table_csv
from ui.prediction.view import DEFAULT_METHOD, View, make_view
from xray_core.model.bundle import Bundle
from xray_core.prediction.batch_pdf import BatchEntry, batch_report_pdf
from xray_core.prediction.overlay import draw_pictures
from xray_core.prediction.report_pdf import Pictures, report_pdf
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from xray_core.prediction.predictor import Predictor


def downloads(case: Case, prediction: Prediction, view: View, predictor: "Predictor") -> None:
    """Draw the downloads of one image; `prediction` has the map of the report."""
    with st.container(horizontal=True, vertical_alignment="center", key="downloads"):
        place = st.container(horizontal=True, width="content")
        include_name = bool(case.name) and st.checkbox(
            "Include file name",
            key=widget_key("name_in_report"),
            help="File names can identify a patient.",
        )
    with place:
        st.download_button(
            "Report (PDF)",
            partial(
                _report,
                prediction,
                view.small,
                predictor.bundle,
                title=_title(case),
                rates=accuracy_rates(predictor.bundle),
                pre_test=pre_test(),
                file_name=case.name if include_name else None,
            ),
            file_name=f"chest-xray-report-{case.number}.pdf",
            mime="application/pdf",
            icon=":material/picture_as_pdf:",
            on_click="ignore",
            key="download_pdf",
        )
        st.download_button(
            "Result (CSV)",
            partial(table_csv, [case], names=include_name, pre_test=pre_test()),
            file_name=f"chest-xray-result-{case.number}.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
            key="download_csv",
        )
        dicom_results(case, predictor)


def _report(
    prediction: Prediction, image: NDArray[np.uint8], bundle: Bundle, **options: Any
) -> bytes:
    pictures = draw_pictures(image, prediction)
    return report_pdf(
        prediction,
        pictures.pixels,
        bundle,
        overlay=pictures.overlay,
        lungs_outlined=pictures.lungs_outlined,
        **options,
    )


def downloads_of_all(visit: Visit, predictor: "Predictor") -> None:
    """Draw the downloads of all images of a visit."""
    st.checkbox(
        "Show file names",
        key=widget_key(NAMES),
        help="Shows file names in the list and in both files. File names can identify patients.",
    )
    rates = accuracy_rates(predictor.bundle)
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "All reports (PDF)",
            partial(_batch_pdf, visit, predictor, rates, pre_test(), names=show_names()),
            file_name="chest-xray-reports.pdf",
            mime="application/pdf",
            on_click="ignore",
            help="A summary, and a page for each image.",
            key="download_all_pdf",
        )
        st.download_button(
            "All results (CSV)",
            partial(table_csv, visit.cases, names=show_names(), pre_test=pre_test()),
            file_name="chest-xray-results.csv",
            mime="text/csv",
            on_click="ignore",
            key="download_all_csv",
        )


def _batch_pdf(
    visit: Visit, predictor: "Predictor", rates: Rates, stated: float | None, *, names: bool
) -> bytes:
    entries = [
        BatchEntry(
            _title(case),
            case.prediction,
            partial(_pictures, visit, case, predictor),
            case.name if names else None,
        )
        for case in visit.cases
    ]
    return batch_report_pdf(entries, predictor.bundle, rates=rates, pre_test=stated)


def _pictures(visit: Visit, case: Case, predictor: "Predictor") -> Pictures | None:
    """Return the pictures of an image; one whose view was removed is decoded again."""
    if case.discarded or case.prediction.verdict == "UNREADABLE":
        return None
    view = visit.view_of(case) or make_view(case.read(), case.settings)
    return draw_pictures(view.small, view.prediction(predictor, DEFAULT_METHOD))


def _title(case: Case) -> str:
    return f"Image {case.number}" + (f" · {case.origin}" if case.origin else "")
