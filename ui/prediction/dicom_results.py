"""Results as DICOM, for images that came as DICOM: download, and "Send to PACS" where allowed.

Only an image that was fetched from a PACS can have its results sent, and only to that PACS: another
may not know its study. The results are made when they are requested, from the bytes of the image,
as the command line makes them.
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import streamlit as st

from ui.common.errors import log_error
from ui.common.text import as_markdown, as_text
from ui.prediction.cases import Case, widget_key
from ui.prediction.pacs_tab import pacs_offer
from xray_core.errors import PacsError, UnreadableImage, XrayError
from xray_core.imaging.file_types import is_dicom
from xray_core.pacs.settings import Server

if TYPE_CHECKING:
    from xray_core.pacs.results import DicomResult
    from xray_core.prediction.predictor import Predictor

DOWNLOAD_HELP = (
    "A ZIP with a structured report (SR) and, if the image was analysed, a secondary capture. Both "
    "contain the identity of the patient, as the image does."
)
SENDING = (
    "A structured report and, where the image was analysed, a secondary capture are stored in the "
    "study of the image, marked as AI results that are not for diagnosis. They cannot be removed "
    "from here."
)


def dicom_results(case: Case, predictor: "Predictor") -> None:
    """Draw the download and, where storing is allowed, "Send to PACS" of an image.

    Nothing is drawn for an image that did not come as DICOM.
    """
    if not _has_results(case):
        return
    problem = _problem(case)
    if problem:
        st.caption(as_markdown(problem))
        return
    st.download_button(
        "Result (DICOM)",
        lambda: _as_zip(case, predictor),
        file_name=f"chest-xray-dicom-{case.number}.zip",
        mime="application/zip",
        icon=":material/folder_zip:",
        on_click="ignore",
        key="download_dicom",
        help=DOWNLOAD_HELP,
    )
    server = _server(case)
    if server is not None:
        _send([case], server, predictor, "Send to PACS", "one")


def send_all(cases: list[Case], predictor: "Predictor") -> None:
    """Draw "Send to PACS" for the images of a PACS that allows storing; nothing without such."""
    for server in {case.pacs: _server(case) for case in cases}.values():
        mine = [case for case in cases if server is not None and case.pacs == server.name]
        mine = [case for case in mine if _has_results(case)]
        if server is not None and mine:
            images = "1 image" if len(mine) == 1 else f"{len(mine)} images"
            label = f"Send results of {images} to {as_text(server.title)}"
            _send(mine, server, predictor, label, f"all-{server.name}")


def _send(cases: list[Case], server: Server, predictor: "Predictor", label: str, name: str) -> None:
    """Draw what is sent where, and the button that confirms it."""
    with st.popover(label, icon=":material/upload:"):
        images = "1 image" if len(cases) == 1 else f"{len(cases)} images"
        title = as_text(server.title)
        st.markdown(f"Results of {images}, to the {title}. {SENDING}")
        if st.button(f"Store in the {title}", type="primary", key=widget_key(f"send-{name}")):
            _store(cases, server, predictor)


def _store(cases: list[Case], server: Server, predictor: "Predictor") -> None:
    """Make the results of the images and store those that the PACS does not have.

    An image whose results cannot be made is listed with the reason. A failure of the PACS ends the
    loop.
    """
    stored = made = 0
    problems: list[str] = []
    bar = st.progress(0.0, f"0 of {len(cases)} images") if len(cases) > 1 else None
    try:
        with st.spinner("Storing …"), _sentences():
            from xray_core.pacs.analysis import store_results
            from xray_core.pacs.client import PacsClient

            client = PacsClient(server)
            try:
                for done, case in enumerate(cases, 1):
                    try:
                        study, files = _make(case, predictor)
                    except XrayError as error:
                        problems.append(f"- {as_text(case.title)}: {as_text(error, 400)}")
                    else:
                        stored += store_results(client, study, files)
                        made += len(files)
                    if bar is not None:
                        bar.progress(done / len(cases), f"{done} of {len(cases)} images")
            finally:
                client.close()
    except XrayError as error:
        before = f" {_counted(stored)} stored before." if stored else ""
        st.error(as_markdown(f"{error}{before}"), icon=":material/error:")
        return
    if made:
        already = f" {_counted(made - stored)} already there." if made > stored else ""
        st.success(f"{_counted(stored)} stored.{already}", icon=":material/check:")
    if problems:
        images = "1 image" if len(problems) == 1 else f"{len(problems)} images"
        lines = "\n".join(problems)
        st.error(f"The results of {images} were not sent:\n\n{lines}", icon=":material/error:")


def _counted(files: int) -> str:
    return "1 file was" if files == 1 else f"{files} files were"


def _has_results(case: Case) -> bool:
    """Tell whether an image came as DICOM, is kept, and has a result other than unreadable."""
    return (
        case.data is not None
        and case.result is not None
        and case.result.verdict != "UNREADABLE"
        and is_dicom(case.data)
    )


def _problem(case: Case) -> str:
    """Return the sentence why an image of a DICOM file gets no result as DICOM, "" if it does.

    The file is read for this once: a page runs again after every click.
    """
    if case.dicom_problem is None:
        case.dicom_problem = _check(case)
    return case.dicom_problem


def _check(case: Case) -> str:
    try:
        import xray_core.pacs.results  # noqa: F401
        from xray_core.pacs.source import read_source

        read_source(case.data or b"")
    except (PacsError, UnreadableImage) as error:
        return str(error)
    return ""


def _server(case: Case) -> Server | None:
    """Return the PACS of an image if this visitor may store in it."""
    if not case.pacs:
        return None
    offer = pacs_offer()
    server = offer.servers.get(case.pacs) if offer is not None else None
    return server if server is not None and server.write else None


def _as_zip(case: Case, predictor: "Predictor") -> bytes:
    _, files = _make(case, predictor)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in files:
            archive.writestr(f"chest-xray-{file.kind}-{case.number}.dcm", file.data)
    return buffer.getvalue()


def _make(case: Case, predictor: "Predictor") -> "tuple[str, tuple[DicomResult, ...]]":
    """Return the study of an image, and its results; raises XrayError."""
    with _sentences():
        from xray_core.pacs.analysis import make_results
        from xray_core.pacs.source import read_source

        source, radiograph = read_source(case.data or b""), case.read()
        prediction = predictor.predict(radiograph, explain="gradcam")
        files = make_results(prediction, radiograph, source, predictor, window=case.window)
        return source.study, files


@contextmanager
def _sentences() -> Iterator[None]:
    """Raise each error as a sentence without identity."""
    try:
        yield
    except XrayError:
        raise
    except Exception as error:
        log_error(error)
        raise PacsError("The result of an image could not be written as DICOM.") from None
