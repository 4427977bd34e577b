"""A PACS over DICOMweb: search (QIDO-RS), fetch (WADO-RS) and store (STOW-RS).

An answer is read within limits on size and time, and only if its status and content type are those
expected. Messages name the server as it is called in the settings. They contain no address, no UID
and nothing that the server sent, and neither do log records: addresses of searches contain patient
numbers.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from email.message import Message
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from xray_core.errors import PacsError
from xray_core.imaging.decoder_logs import suppress_logs
from xray_core.imaging.radiograph import MAX_BYTES
from xray_core.pacs.settings import Server
from xray_core.pacs.uids import is_uid

try:
    import requests
    from dicomweb_client import DICOMwebClient
    from requests.auth import HTTPBasicAuth
    from urllib3.exceptions import HTTPError
except ImportError:
    raise PacsError(
        "A PACS needs further packages: python -m pip install -r requirements-pacs.txt"
    ) from None

if TYPE_CHECKING:
    from pydicom import Dataset

T = TypeVar("T")

MODALITIES = ("CR", "DX")
"""Computed and digital radiography, the modalities that are searched and analysed."""
MAX_STUDIES = 500
"""A search returns no more studies."""

_MAX_JSON_BYTES = 32 * 2**20
_MAX_STORE_BYTES = 2**30  # of one request, which is sent whole: some servers take no chunks
_CHUNK = 2**16
_PAGE = 100
_MAX_ROWS = 20_000  # of one search
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_JSON = "application/dicom+json"
_LOGGERS = (
    "urllib3.connectionpool",
    "urllib3.connection",
    "urllib3.response",
    "dicomweb_client.web",
    "retrying",
)


@dataclass(frozen=True)
class StudyQuery:
    """What to search for. Empty fields match everything; `*` and `?` are wildcards.

    Parameters
    ----------
    patient_id, accession, description : str
    first, last : datetime.date, optional
        The days of the study, both inclusive.
    modalities : tuple of str
        Studies with at least one series of one of these are returned.
    """

    patient_id: str = field(default="", repr=False)
    accession: str = field(default="", repr=False)
    description: str = field(default="", repr=False)
    first: date | None = None
    last: date | None = None
    modalities: tuple[str, ...] = MODALITIES


class Identity(NamedTuple):
    """What identifies a patient in the answer to a search. To be shown only if allowed."""

    patient_name: str
    patient_id: str
    accession: str
    description: str

    def __repr__(self) -> str:
        return "Identity(...)"


@dataclass(frozen=True)
class StudyFound:
    """A study that matches a query.

    Parameters
    ----------
    uid : str
        Study Instance UID (0020,000D).
    day : datetime.date or None
        Study Date (0008,0020).
    modalities, body_parts : tuple of str
        Those of its series.
    images : int
        Number of images of the modalities that were searched for.
    instances : int
        Number of objects of any kind, also results.
    identity : Identity
    """

    uid: str = field(repr=False)
    day: date | None
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    images: int
    instances: int
    identity: Identity = field(repr=False)


class ImageReference(NamedTuple):
    """The UIDs of a stored image: Study, Series and SOP Instance UID."""

    study: str
    series: str
    instance: str

    def __repr__(self) -> str:
        return "ImageReference(...)"


@dataclass(frozen=True)
class StudyContent:
    """What a study contains.

    Parameters
    ----------
    images : tuple of ImageReference
        The objects of radiographic series (CR, DX), in the order of series and instance numbers.
    others : tuple of (str, int)
        Modality and number of objects of each other series.
    """

    images: tuple[ImageReference, ...]
    others: tuple[tuple[str, int], ...]


class PacsClient:
    """A connection to one PACS; for one thread at a time.

    Parameters
    ----------
    server : Server
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._session = _Session(server)
        self._web = DICOMwebClient(
            server.url,
            session=self._session,
            timeout=server.timeout,
            chunk_size=_MAX_STORE_BYTES,
            permissive_uid=True,
        )
        self._web.set_http_retry_params(retry=False)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def search(self, query: StudyQuery) -> tuple[list[StudyFound], bool]:
        """Return the studies that match a query, the newest first.

        Parameters
        ----------
        query : StudyQuery

        Returns
        -------
        studies : list of StudyFound
            At most `MAX_STUDIES`.
        truncated : bool
            Whether the PACS has more.

        Raises
        ------
        PacsError
            A field is invalid, or the PACS cannot be reached or gives no usable answer.
        """
        found, truncated = self._matching(query)
        studies = []
        for uid, study in found.items():
            described = self._describe(uid, study, query.modalities)
            if described is not None:
                studies.append(described)
        studies.sort(key=lambda one: (one.day or date.min, one.uid), reverse=True)
        return studies, truncated

    def sizes(self, query: StudyQuery) -> tuple[dict[str, int], bool]:
        """Return the number of objects of each study that matches, without asking for its series.

        Parameters
        ----------
        query : StudyQuery

        Returns
        -------
        sizes : dict of str to int
            By Study Instance UID; 0 where the PACS does not state it. A PACS that ignores
            modalities returns studies of all.
        truncated : bool
            Whether the PACS has more than `MAX_STUDIES`.

        Raises
        ------
        PacsError
            As `search` does.
        """
        found, truncated = self._matching(query)
        return {uid: _count(study, "00201208") for uid, study in found.items()}, truncated

    def content(self, study: str) -> StudyContent:
        """Return the images and the other series of a study.

        Parameters
        ----------
        study : str
            Study Instance UID.

        Raises
        ------
        PacsError
            As `search` does; also if the PACS has no such study.
        """
        if not is_uid(study):
            raise PacsError("A Study Instance UID consists of numbers and dots.")
        every_series = self._series(study)
        if not every_series:
            raise PacsError(f"The PACS {self.server.name} has no such study.")
        images: list[ImageReference] = []
        others = []
        for series in every_series:
            uid, modality = _first(series, "0020000E"), _first(series, "00080060")
            if not is_uid(uid):
                continue
            if modality not in MODALITIES:
                others.append((modality or "unknown", _count(series, "00201209")))
                continue
            rows = self._instances(study, uid)
            uids = (_first(row, "00080018") for row in rows)
            images += [
                ImageReference(study, uid, instance) for instance in uids if is_uid(instance)
            ]
        return StudyContent(tuple(images), tuple(others))

    def fetch(self, image: ImageReference) -> bytes:
        """Return an image as a DICOM file, in the transfer syntax in which it is stored.

        Parameters
        ----------
        image : ImageReference

        Raises
        ------
        PacsError
            As `search` does; also if the file is larger than 200 MB or the answer is not DICOM.
            Both are found out before the file is read, where the server states them.
        """
        if not all(map(is_uid, image)):
            raise PacsError("The PACS listed an image without valid UIDs.")
        url = f"{self.server.url}/studies/{image[0]}/series/{image[1]}/instances/{image[2]}"
        answer = _ask(
            self.server,
            lambda: self._session.get(url, headers={"Accept": _DICOM}, timeout=self.server.timeout),
        )
        body = answer.raw.getvalue()
        kind = _content_type(answer)
        if kind.get_content_type() == "application/dicom":  # a known deviation of some servers
            return body
        part = _only_part(body, kind.get_boundary() or "")
        if part is None:
            raise PacsError(
                f"The PACS {self.server.name} sent an image in a form that is not valid."
            )
        return part

    def has(self, image: ImageReference) -> bool:
        """Return True if the PACS has this object.

        Parameters
        ----------
        image : ImageReference
            Of an image or a result.

        Raises
        ------
        PacsError
            As `search` does.
        """
        filters = {"SOPInstanceUID": image.instance}
        rows = _ask(
            self.server,
            lambda: _rows(
                self._web.search_for_instances(image.study, image.series, search_filters=filters)
            ),
        )
        # A server may ignore the filter.
        return any(_first(row, "00080018") == image.instance for row in rows)

    def store(self, study: str, files: Sequence[bytes]) -> None:
        """Store DICOM files of one study.

        Parameters
        ----------
        study : str
            Study Instance UID.
        files : sequence of bytes

        Raises
        ------
        PacsError
            As `search` does; also if storing is not allowed by the settings, or if the PACS did not
            store every file.
        """
        if not self.server.write:
            raise PacsError(
                f"Storing in the PACS {self.server.name} is not allowed: set XRAY_PACS_WRITE=1."
            )
        from pydicom import Dataset, dcmread

        datasets = [dcmread(io.BytesIO(file)) for file in files]

        def send() -> Dataset:
            try:
                return self._web.store_instances(datasets, study_instance_uid=study)
            except (ValueError, KeyError, TypeError, AttributeError):
                return Dataset()  # not readable: the PACS is asked below

        answer = _ask(self.server, send)
        items = answer.get("ReferencedSOPSequence") or []
        stored = {str(item.get("ReferencedSOPInstanceUID")) for item in items}
        for dataset in datasets:
            uids = ImageReference(
                study, str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)
            )
            if uids.instance not in stored and not self.has(uids):
                raise PacsError(f"The PACS {self.server.name} did not store a result.")

    def _matching(self, query: StudyQuery) -> tuple[dict[str, dict[str, Any]], bool]:
        """Return the rows of the studies that match, by UID, and whether there are more."""
        filters = _filters(query)
        found: dict[str, dict[str, Any]] = {}
        truncated = False
        for modality in query.modalities:
            for study in self._studies(filters | {"ModalitiesInStudy": modality}):
                uid = _first(study, "0020000D")
                if uid in found or not is_uid(uid) or not _matches(query, study):
                    continue
                if len(found) == MAX_STUDIES:
                    truncated = True
                    break
                found[uid] = study
        return found, truncated

    def _studies(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        fields = ["StudyDescription", "NumberOfStudyRelatedInstances"]
        return self._all(
            lambda offset: self._web.search_for_studies(
                search_filters=filters, fields=fields, limit=_PAGE, offset=offset
            ),
            "0020000D",
            at_most=MAX_STUDIES + 1,
        )

    def _series(self, study: str) -> list[dict[str, Any]]:
        fields = ["BodyPartExamined", "NumberOfSeriesRelatedInstances"]
        series = self._all(
            lambda offset: self._web.search_for_series(
                study, fields=fields, limit=_PAGE, offset=offset
            ),
            "0020000E",
        )
        return sorted(series, key=lambda row: _count(row, "00200011"))

    def _instances(self, study: str, series: str) -> list[dict[str, Any]]:
        instances = self._all(
            lambda offset: self._web.search_for_instances(
                study, series, limit=_PAGE, offset=offset
            ),
            "00080018",
        )
        return sorted(instances, key=lambda row: _count(row, "00200013"))

    def _all(
        self,
        search: Callable[[int], list[dict[str, Any]]],
        tag: str,
        at_most: int = _MAX_ROWS,
    ) -> list[dict[str, Any]]:
        """Return the rows of the pages of a search, each UID once, also of a server without pages.

        `search` takes the number of rows to leave out, and `tag` is that of the UID.
        """
        rows: dict[str, dict[str, Any]] = {}
        offset = 0
        while len(rows) < at_most:
            page = _ask(self.server, lambda offset=offset: _rows(search(offset)))  # type: ignore[misc]
            fresh = {_first(row, tag): row for row in page if _first(row, tag) not in rows}
            if not fresh:
                break
            rows |= fresh
            offset += len(page)
        return list(rows.values())[:at_most]

    def _describe(
        self, uid: str, study: dict[str, Any], modalities: tuple[str, ...]
    ) -> StudyFound | None:
        """Return a study with what its series state, None without a series of `modalities`.

        A server may ignore the search for modalities, which DICOMweb does not require of it.
        """
        series = self._series(uid)
        wanted = [one for one in series if _first(one, "00080060") in modalities]
        if not wanted:
            return None
        parts = sorted({part.upper() for one in wanted if (part := _first(one, "00180015"))})
        counts = [_count(one, "00201209") for one in series]
        return StudyFound(
            uid=uid,
            day=_day(_first(study, "00080020")),
            modalities=tuple(sorted({_first(one, "00080060") for one in series} - {""})),
            body_parts=tuple(parts),
            images=sum(_count(one, "00201209") for one in wanted),
            instances=max(_count(study, "00201208"), sum(counts)),
            identity=Identity(
                patient_name=_person(study),
                patient_id=_first(study, "00100020"),
                accession=_first(study, "00080050"),
                description=_first(study, "00081030"),
            ),
        )


class _NotDicomJson(Exception):
    """An answer is JSON but no list of data sets."""


class _Session(requests.Session):
    """A session that reads each answer at once, within limits, and follows no redirect."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        # No proxy, password or certificate authority from variables or files of the account.
        self.trust_env = False
        self.headers.update({"Accept": _JSON, "Accept-Encoding": "identity"})
        if server.user is not None and server.password is not None:
            self.auth = HTTPBasicAuth(server.user.encode(), server.password.encode())
        if server.token is not None:
            self.headers["Authorization"] = f"Bearer {server.token}"
        if server.ca is not None:
            self.verify = server.ca
        if server.client_certificate is not None:
            key = server.client_key
            self.cert = (
                server.client_certificate if key is None else (server.client_certificate, key)
            )

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request and return the answer with its whole body in `raw`, a BytesIO."""
        started = time.monotonic()
        # dicomweb-client sets Host without the port, and encodes wildcards, which need no encoding
        # (RFC 3986, section 3.4) and which Orthanc then takes for plain characters.
        request.headers.pop("Host", None)
        request.url = str(request.url).replace("%2A", "*").replace("%3F", "?")
        options |= {"stream": True, "allow_redirects": False}
        answer = super().send(request, **options)
        try:
            if answer.status_code not in range(200, 300):
                raise PacsError(_describe_status(answer.status_code, self._server))
            self._check_type(answer)
            limit = MAX_BYTES + 2**16 if _is_for_file(request) else _MAX_JSON_BYTES
            body = self._read(answer, limit, started)
        except BaseException:
            answer.close()  # an answer that was read to its end leaves its connection open
            raise
        kind = _content_type(answer).get_content_type()
        if request.method == "POST" and not kind.endswith("json"):
            body = io.BytesIO()  # the PACS is asked whether the results are there
        answer.raw = body
        return answer

    def _read(self, answer: requests.Response, limit: int, started: float) -> io.BytesIO:
        name = self._server.name
        length = answer.headers.get("Content-Length", "")
        too_large = PacsError(f"The PACS {name} sent an answer of more than {limit >> 20} MB.")
        if length.isdigit() and int(length) > limit:
            raise too_large
        body = io.BytesIO()
        while chunk := answer.raw.read1(_CHUNK, decode_content=True):
            if body.tell() + len(chunk) > limit:
                raise too_large
            body.write(chunk)
            if time.monotonic() - started > self._server.transfer_timeout:
                raise PacsError(
                    f"The PACS {name} is too slow: a transfer took longer than "
                    f"{self._server.transfer_timeout:g} seconds."
                )
        if length.isdigit() and body.tell() < int(length):
            raise PacsError(_describe_broken_off(self._server))
        body.seek(0)
        return body

    def _check_type(self, answer: requests.Response) -> None:
        """Refuse an answer of another type than requested, before its body is read."""
        request = answer.request
        if request.method == "POST" or answer.status_code == 204:
            return
        kind = _content_type(answer).get_content_type()
        wanted = (
            ("multipart/related", "application/dicom")
            if _is_for_file(request)
            else (_JSON, "application/json")
        )
        if kind not in wanted:
            raise PacsError(
                f"The PACS {self._server.name} sent something else than DICOM. Check that its url "
                "is the root of a DICOMweb service."
            )


def _is_for_file(request: requests.PreparedRequest) -> bool:
    return str(request.headers.get("Accept", "")).startswith("multipart/related")


def _ask(server: Server, request: Callable[[], T]) -> T:
    """Run a request without log records, and with each error as a sentence without address."""
    problem = ""
    with ExitStack() as stack:
        for name in _LOGGERS:
            stack.enter_context(suppress_logs(name))
        try:
            return request()
        except (requests.exceptions.InvalidJSONError, _NotDicomJson, RecursionError):
            problem = f"The PACS {server.name} sent an answer that is not valid DICOM JSON."
        except requests.exceptions.SSLError as error:
            problem = _describe_tls(error, server)
        except requests.exceptions.ConnectTimeout:
            problem = f"The PACS {server.name} did not accept a connection in {server.timeout:g} s."
        except (requests.exceptions.Timeout, TimeoutError):
            problem = f"The PACS {server.name} sent nothing for {server.timeout:g} seconds."
        except requests.exceptions.ConnectionError as error:
            problem = _describe_connection(error, server)
        except (requests.exceptions.RequestException, HTTPError, OSError) as error:
            problem = (
                f"The PACS {server.name} sent nothing for {server.timeout:g} seconds."
                if "timed out" in str(error).lower()
                else _describe_broken_off(server)
            )
    # Raised outside the handlers: the handled exception contains the address.
    raise PacsError(problem)


def _describe_status(status: int, server: Server) -> str:
    if status in (401, 403):
        return (
            f"The PACS {server.name} refused access (status {status}): check user and password, or "
            "the token."
        )
    if status == 404:
        return (
            f"The PACS {server.name} has nothing at this address (status 404): no such study or "
            "image, or no DICOMweb service at its url."
        )
    if 300 <= status < 400:
        return (
            f"The PACS {server.name} redirects to another address, which is not followed: correct "
            "its url."
        )
    if status >= 500:
        return f"The PACS {server.name} reported an error of its own (status {status})."
    return f"The PACS {server.name} did not accept the request (status {status})."


def _describe_tls(error: Exception, server: Server) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            f"The certificate of the PACS {server.name} could not be verified. If it is signed by "
            "an authority of your own, name the authority's file: XRAY_PACS_CA, or ca."
        )
    return (
        f"No encrypted connection to the PACS {server.name} could be made. It may ask for a client "
        "certificate: XRAY_PACS_CLIENT_CERTIFICATE, or client_certificate."
    )


def _describe_connection(error: Exception, server: Server) -> str:
    text = str(error).lower()
    if "timed out" in text:
        return f"The PACS {server.name} sent nothing for {server.timeout:g} seconds."
    if "ssl" in text or "alert" in text:
        return _describe_tls(error, server)
    if "aborted" in text or "reset" in text or "incomplete" in text:
        return _describe_broken_off(server)
    return f"The PACS {server.name} cannot be reached. Check that it runs, and its url."


def _describe_broken_off(server: Server) -> str:
    return f"The PACS {server.name} ended the connection before the transfer was complete."


def _content_type(answer: requests.Response) -> Message:
    message = Message()
    message["Content-Type"] = answer.headers.get("Content-Type", "")
    return message


def _only_part(body: bytes, boundary: str) -> bytes | None:
    """Return the only part of a multipart message (RFC 2046, section 5.1), None if it has not one.

    The part may contain the bytes of a delimiter only by mistake, so the last one ends it.
    """
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    start = body.find(delimiter)
    head = body.find(b"\r\n\r\n", start)
    end = body.rfind(b"\r\n" + delimiter + b"--")
    if not boundary or min(start, head, end) < 0 or end < head + 4:
        return None
    if body.find(b"\r\n" + delimiter + b"\r\n", head, end) >= 0:
        return None
    return body[head + 4 : end]


def _rows(answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not all(isinstance(row, dict) for row in answer):
        raise _NotDicomJson
    return answer


def _filters(query: StudyQuery) -> dict[str, str]:
    filters = {}
    for keyword, text in (
        ("PatientID", query.patient_id),
        ("AccessionNumber", query.accession),
        ("StudyDescription", query.description),
    ):
        text = text.strip()
        if not text:
            continue
        if len(text) > 64 or not text.isprintable() or "\\" in text:
            raise PacsError("A search term has at most 64 characters and no backslash.")
        # Orthanc 1.10 does not decode what has to be encoded in an address. A wildcard needs no
        # encoding, and `_matches` compares the answer with the term itself.
        filters[keyword] = re.sub(r"[^\w.\-~*?]", "?", text, flags=re.ASCII)
    if query.first is not None or query.last is not None:
        first, last = (
            "" if day is None else day.strftime("%Y%m%d") for day in (query.first, query.last)
        )
        filters["StudyDate"] = first if first == last else f"{first}-{last}"
    return filters


def _matches(query: StudyQuery, study: dict[str, Any]) -> bool:
    """Tell whether a study has the terms of a query, as far as the answer states its elements."""
    for text, tag in (
        (query.patient_id, "00100020"),
        (query.accession, "00080050"),
        (query.description, "00081030"),
    ):
        parts = {"*": ".*", "?": "."}
        pattern = "".join(parts.get(letter, re.escape(letter)) for letter in text.strip())
        value = _first(study, tag)
        if pattern and value and not re.fullmatch(pattern, value, re.IGNORECASE):
            return False
    return True


def _values(row: dict[str, Any], tag: str) -> list[Any]:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _first(row: dict[str, Any], tag: str) -> str:
    """Return the first value of an element of DICOM JSON (PS3.18, annex F), "" without one."""
    values = _values(row, tag)
    return str(values[0]).strip() if values and not isinstance(values[0], dict) else ""


def _count(row: dict[str, Any], tag: str) -> int:
    text = _first(row, tag)
    return int(text) if text.isdecimal() else 0


def _person(row: dict[str, Any]) -> str:
    values = _values(row, "00100010")
    name = values[0] if values else ""
    return str(name.get("Alphabetic", "") if isinstance(name, dict) else name)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:8])
    except ValueError:
        return None
