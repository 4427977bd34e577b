"""The PACS tab: search a PACS, choose studies, and fetch their chest images into the visit.

The servers come from the settings of the operator alone (`xray_core.pacs.settings`). A fetched
image becomes a case of the visit, as a dropped file does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui.common.errors import show_errors
from ui.common.folders import is_local
from ui.common.text import as_markdown, as_text
from ui.prediction.cases import DROP_BYTES, Visit
from xray_core.errors import PacsError
from xray_core.pacs.search import MODALITIES, StudyFound, StudyQuery
from xray_core.pacs.settings import Server, read_servers
from xray_core.pacs.transfer import Skipped, Transfer
from xray_core.prediction.archive import MAX_IMAGES

REMOTE = (
    "The PACS can be used only on the computer that runs this app, or where its operator sets "
    "XRAY_PACS_REMOTE=1."
)
ABOUT_PACS = (
    "\nIn the tab PACS, images are fetched from a PACS. Their results are stored there only if you "
    "send them."
)
HAS_MORE = "The PACS has more: narrow the search."
MASKED = (
    "Patient identity and study descriptions are hidden. The operator of this app can show them "
    "with XRAY_PACS_SHOW_IDENTITY=1."
)


@dataclass(frozen=True)
class PacsOffer:
    """The servers that a visitor may use, by name, or the sentence `problem` why there are none."""

    servers: dict[str, Server]
    problem: str = ""


@dataclass(frozen=True)
class Fetch:
    """What a finished transfer brought: the number of images, and what it left out.

    `problem` is the sentence why it ended early, "" if it did not.
    """

    images: int
    skipped: tuple[Skipped, ...]
    problem: str


@dataclass(eq=False)
class Search:
    """What a visitor searched, found and fetched.

    Its methods call nothing of Streamlit, which may end a run of the page at any of its own calls.
    `number` grows with each search: the list has it in its key. `resets` is that of the visit.
    """

    server: str = ""
    studies: dict[int, StudyFound] = field(default_factory=dict, repr=False)
    truncated: bool = False
    problem: str = ""
    number: int = 0
    transfer: Transfer | None = None
    fetch: Fetch | None = None
    resets: int = 0

    def run(self, server: Server, query: StudyQuery) -> None:
        """Search a PACS; a failure is kept in `problem`."""
        self.studies, self.truncated, self.problem, self.fetch = {}, False, "", None
        self.server, self.number = server.name, self.number + 1
        try:
            from xray_core.pacs.client import PacsClient

            client = PacsClient(server)
            try:
                found, self.truncated = client.search(query)
            finally:
                client.close()
        except PacsError as error:
            self.problem = str(error)
            return
        self.studies = dict(enumerate(found, 1))

    def begin(self, numbers: list[int]) -> None:
        """Begin to fetch the studies with these numbers."""
        chosen = {number: self.studies[number] for number in numbers}
        self.transfer = Transfer(chosen, max_images=MAX_IMAGES, max_bytes=DROP_BYTES)
        self.fetch = None

    def finish(self, visit: Visit, server: Server) -> None:
        """Move the images of the finished transfer from a server into the visit."""
        transfer, self.transfer = self.transfer, None
        if transfer is None:
            return
        images = transfer.fetched
        if images:
            visit.drop(
                [(self._origin(image.study, image.number), image.data) for image in images],
                pacs=server.name,
            )
        self.fetch = Fetch(len(images), tuple(transfer.skipped), transfer.problem)

    def follow(self, visit: Visit) -> None:
        """Remove what was found if the visitor has removed the images."""
        if visit.resets != self.resets and not visit.cases:
            self.studies, self.fetch, self.transfer, self.problem = {}, None, None, ""
            self.server = ""
        elif self.fetch is not None and self.fetch.images and not _has_pacs(visit):
            self.fetch = None
        self.resets = visit.resets

    def _origin(self, study: int, image: int) -> str:
        day = self.studies[study].day
        of_day = f" of {day.isoformat()}" if day else ""
        return f"Study {study}{of_day}, image {image}"


def _has_pacs(visit: Visit) -> bool:
    return any(case.pacs for case in visit.cases)


def search_state() -> Search:
    """Return the visitor's search."""
    return st.session_state.setdefault("pacs_search", Search())


def pacs_offer() -> PacsOffer | None:
    """Return what this visitor is offered; None if no PACS is configured."""
    try:
        servers = read_servers()
    except PacsError as error:
        return PacsOffer({}, str(error))
    local = is_local()
    allowed = {name: server for name, server in servers.items() if server.remote or local}
    return PacsOffer(allowed, "" if allowed else REMOTE) if servers else None


def files_beside_pacs(visit: Visit, offer: PacsOffer) -> DeltaGenerator:
    """Draw the tabs "Files" and "PACS" and the content of the second; return the first."""
    files, pacs = st.tabs(["Files", "PACS"])
    with pacs, st.container(key="pacs"):
        _panel(visit, offer)
    return files


def pacs_in_bar(visit: Visit, offer: PacsOffer) -> None:
    """Draw the PACS as a button that opens, and what the present images of a PACS left out."""
    with (
        st.popover("PACS", icon=":material/database:", width="content"),
        st.container(key="pacs"),
    ):
        _panel(visit, offer)
    fetch = search_state().fetch
    if fetch is not None and fetch.images:
        _left_out(fetch)


def is_fetching(offer: PacsOffer) -> bool:
    """Tell whether images are being fetched from a PACS that is still offered."""
    search = search_state()
    if search.server not in offer.servers:  # removed by the operator since
        search.transfer = None
    return search.transfer is not None


def fetch_images(visit: Visit, offer: PacsOffer) -> None:
    """Fetch what is left of a transfer, with progress, and draw the page again with the images.

    A run that Streamlit ends is resumed by the next one. The button that stops it is not part of a
    fragment, since those do not end a run.
    """
    from xray_core.pacs.client import PacsClient

    search = search_state()
    transfer, server = search.transfer, offer.servers[search.server]
    if transfer is None:
        return
    place = st.empty()  # removes what was drawn before
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, "Fetching …")
        st.button("Stop", on_click=transfer.stop, args=("Stopped.",), key="pacs_stop")
        client = PacsClient(server)
        try:
            while not transfer.is_complete:
                transfer.step(client)
                total = transfer.done + transfer.left
                share = transfer.done / total if total else 1.0
                bar.progress(share, f"{transfer.done} of {_count(total, 'image')} fetched")
        finally:
            client.close()
    place.empty()
    search.finish(visit, server)
    st.rerun()


def _panel(visit: Visit, offer: PacsOffer) -> None:
    search = search_state()
    search.follow(visit)
    if offer.servers:
        _search_and_choose(search, offer.servers)
    else:
        st.info(as_markdown(offer.problem), icon=":material/info:")


@st.fragment
@show_errors()
def _search_and_choose(search: Search, servers: Mapping[str, Server]) -> None:
    submitted = _form(servers)
    if submitted is not None:
        with st.spinner("Searching …"):
            search.run(*submitted)
    if search.problem:
        st.error(as_markdown(search.problem), icon=":material/error:")
    elif search.server and not search.studies:
        more = f" {HAS_MORE}" if search.truncated else ""
        st.info(f"No study with radiographs (CR or DX) matches.{more}", icon=":material/info:")
    if search.studies and search.server in servers:
        _choose(search, servers[search.server])
    if search.fetch is not None and not search.fetch.images:
        st.info("No image to analyse was found.", icon=":material/info:")
        _left_out(search.fetch)


def _form(servers: Mapping[str, Server]) -> tuple[Server, StudyQuery] | None:
    """Draw the form; return the server and what is searched when the form was sent."""
    with (
        st.form("pacs_form", border=False),
        st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
    ):
        name = next(iter(servers))
        if len(servers) > 1:
            name = st.selectbox("PACS", list(servers), key="pacs_server", width=150)
        patient = st.text_input("Patient ID", key="pacs_patient", max_chars=64, width=118)
        accession = st.text_input("Accession number", key="pacs_accession", max_chars=64, width=118)
        description = st.text_input(
            "Description",
            key="pacs_description",
            max_chars=64,
            width=118,
            help="Of the study. `*` and `?` are wildcards, here and in both numbers.",
        )
        days = st.date_input(
            "Dates",
            (date.today(), date.today()),
            key="pacs_days",
            format="YYYY-MM-DD",
            width=215,
            help="First and last day; empty for any day.",
        )
        modalities = st.pills(
            "Modality",
            MODALITIES,
            selection_mode="multi",
            default=MODALITIES,
            key="pacs_modalities",
        )
        sent = st.form_submit_button("Search", type="primary", icon=":material/search:")
    if not sent:
        return None
    chosen = tuple(days) if isinstance(days, tuple) else (days,)
    query = StudyQuery(
        patient_id=patient,
        accession=accession,
        description=description,
        first=chosen[0] if chosen else None,
        last=chosen[-1] if chosen else None,
        modalities=tuple(modalities) or MODALITIES,
    )
    return servers[name], query


def _choose(search: Search, server: Server) -> None:
    """Draw the list of studies, and the button that fetches those that are selected."""
    numbers = list(search.studies)
    chosen = st.dataframe(
        _table(search.studies, show_identity=server.show_identity),
        key=f"pacs-studies-{search.number}",
        on_select="rerun",
        selection_mode="multi-row",
        hide_index=True,
        height=min(220, 38 + 35 * len(numbers)),
        column_config={
            "Study": st.column_config.NumberColumn(width=55),
            "Date": st.column_config.TextColumn(width=90),
            "Modality": st.column_config.TextColumn(width=90),
            "Images": st.column_config.NumberColumn(width=65),
        },
        alt="The studies that match, the newest first.",
    ).selection.rows
    images = sum(search.studies[numbers[row]].images for row in chosen)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            f"Fetch and analyse {_count(images, 'image')}" if chosen else "Fetch and analyse",
            type="primary" if chosen else "secondary",
            icon=":material/download:",
            disabled=not chosen,
            help="Images whose DICOM header states another modality, body part or view are "
            "skipped.",
            key="pacs_fetch",
        ):
            search.begin([numbers[row] for row in chosen])
            st.rerun()
        notes = [f"{_count(len(numbers), 'study', 'studies')}. Select one or several."]
        notes += [HAS_MORE] if search.truncated else []
        notes += [] if server.show_identity else [MASKED]
        notes += (
            ["Images and password travel to this PACS without encryption: its url has http."]
            if server.is_unencrypted
            else []
        )
        st.caption(" ".join(notes))


def _table(studies: Mapping[int, StudyFound], *, show_identity: bool) -> pd.DataFrame:
    rows = [
        {
            "Study": number,
            "Date": study.day.isoformat() if study.day else "",
            "Modality": " ".join(study.modalities),
            "Images": study.images,
            "Body part": " ".join(study.body_parts),
        }
        | (
            {
                "Patient": study.identity.patient_name,
                "Patient ID": study.identity.patient_id,
                "Accession number": study.identity.accession,
                "Description": study.identity.description,
            }
            if show_identity
            else {}
        )
        for number, study in studies.items()
    ]
    return pd.DataFrame(rows)


def _left_out(fetch: Fetch) -> None:
    """Draw why a transfer ended early, and what it skipped with the reasons."""
    if fetch.problem:
        st.warning(as_markdown(fetch.problem), icon=":material/warning:")
    if fetch.skipped:
        with st.popover(f"{len(fetch.skipped)} skipped", icon=":material/block:"):
            lines = [
                f"- Study {one.study}, {as_text(one.what)}: {as_text(one.reason, 400)}"
                for one in fetch.skipped
            ]
            st.markdown("\n".join(lines))


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one}" if number == 1 else f"{number} {several or one + 's'}"
