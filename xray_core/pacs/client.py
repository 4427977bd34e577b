"""A PACS over DICOMweb: search (QIDO-RS), fetch (WADO-RS) and store (STOW-RS)."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from xray_core.errors import PacsError
from xray_core.pacs.search import (
    MAX_STUDIES,
    MODALITIES,
    Identity,
    ImageReference,
    Row,
    StudyContent,
    StudyFound,
    StudyQuery,
    day_in,
    first_value,
    matches,
    number_in,
    person_name,
    search_filters,
)
from xray_core.pacs.session import DICOM, NotDicomJson, Session, ask, content_type, only_part
from xray_core.pacs.settings import MISSING_PACKAGES, Server
from xray_core.pacs.uids import is_uid

try:
    from dicomweb_client import DICOMwebClient
except ImportError:
    raise PacsError(f"A PACS {MISSING_PACKAGES}") from None

if TYPE_CHECKING:
    from pydicom import Dataset

_MAX_STORE_BYTES = 2**30  # of one request, which is sent whole: some servers take no chunks
_PAGE = 100
_MAX_ROWS = 20_000  # of one search


class PacsClient:
    """A connection to one PACS; for one thread at a time.

    Parameters
    ----------
    server : Server
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._session = Session(server)
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
            Whether the PACS may have more: more than `MAX_STUDIES` match, or it returned more than
            that for a modality, of which the first are compared with the query.

        Raises
        ------
        PacsError
            A field is invalid, or the PACS cannot be reached or gives no usable response.
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
            As of `search`.

        Raises
        ------
        PacsError
            As `search` does.
        """
        found, truncated = self._matching(query)
        return {uid: number_in(study, "00201208") for uid, study in found.items()}, truncated

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
            raise PacsError(f"The {self.server.title} has no such study.")
        images: list[ImageReference] = []
        others = []
        for series in every_series:
            uid, modality = first_value(series, "0020000E"), first_value(series, "00080060")
            if not is_uid(uid):
                continue
            if modality not in MODALITIES:
                others.append((modality or "unknown", number_in(series, "00201209")))
                continue
            rows = self._instances(study, uid)
            uids = (first_value(row, "00080018") for row in rows)
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
            As `search` does; also if the file is larger than 200 MB or the response is not DICOM.
            Both are found out before the file is read, where the server states them.
        """
        if not all(map(is_uid, image)):
            raise PacsError("The PACS listed an image without valid UIDs.")
        url = f"{self.server.url}/studies/{image[0]}/series/{image[1]}/instances/{image[2]}"
        response = ask(
            self.server,
            lambda: self._session.get(url, headers={"Accept": DICOM}, timeout=self.server.timeout),
        )
        body = response.raw.getvalue()
        kind = content_type(response)
        if kind.get_content_type() == "application/dicom":  # a known deviation of some servers
            return body
        part = only_part(body, kind.get_boundary() or "")
        if part is None:
            raise PacsError(f"The {self.server.title} sent an image in a form that is not valid.")
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
        rows = ask(
            self.server,
            lambda: _rows(
                self._web.search_for_instances(image.study, image.series, search_filters=filters)
            ),
        )
        # A server may ignore the filter.
        return any(first_value(row, "00080018") == image.instance for row in rows)

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
                f"Storing in the {self.server.title} is not allowed: set XRAY_PACS_WRITE=1."
            )
        from pydicom import Dataset, dcmread

        datasets = [dcmread(io.BytesIO(file)) for file in files]

        def send() -> Dataset:
            try:
                return self._web.store_instances(datasets, study_instance_uid=study)
            except (ValueError, KeyError, TypeError, AttributeError):
                return Dataset()  # not readable: the PACS is asked below

        response = ask(self.server, send)
        items = response.get("ReferencedSOPSequence") or []
        stored = {str(item.get("ReferencedSOPInstanceUID")) for item in items}
        for dataset in datasets:
            uids = ImageReference(
                study, str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)
            )
            if uids.instance not in stored and not self.has(uids):
                raise PacsError(f"The {self.server.title} did not store a result.")

    def _matching(self, query: StudyQuery) -> tuple[dict[str, Row], bool]:
        """Return the rows of the studies that match, by UID, and whether there may be more."""
        filters = search_filters(query)
        found: dict[str, Row] = {}
        truncated = False
        for modality in query.modalities:
            rows = self._studies(filters | {"ModalitiesInStudy": modality})
            truncated |= len(rows) > MAX_STUDIES
            for study in rows:
                uid = first_value(study, "0020000D")
                if uid in found or not is_uid(uid) or not matches(query, study):
                    continue
                if len(found) == MAX_STUDIES:
                    return found, True
                found[uid] = study
        return found, truncated

    def _studies(self, filters: dict[str, str]) -> list[Row]:
        fields = ["StudyDescription", "NumberOfStudyRelatedInstances"]
        return self._all(
            lambda offset: self._web.search_for_studies(
                search_filters=filters, fields=fields, limit=_PAGE, offset=offset
            ),
            "0020000D",
            at_most=MAX_STUDIES + 1,
        )

    def _series(self, study: str) -> list[Row]:
        fields = ["BodyPartExamined", "NumberOfSeriesRelatedInstances"]
        series = self._all(
            lambda offset: self._web.search_for_series(
                study, fields=fields, limit=_PAGE, offset=offset
            ),
            "0020000E",
        )
        return sorted(series, key=lambda row: number_in(row, "00200011"))

    def _instances(self, study: str, series: str) -> list[Row]:
        instances = self._all(
            lambda offset: self._web.search_for_instances(
                study, series, limit=_PAGE, offset=offset
            ),
            "00080018",
        )
        return sorted(instances, key=lambda row: number_in(row, "00200013"))

    def _all(
        self,
        search: Callable[[int], list[Row]],
        tag: str,
        at_most: int = _MAX_ROWS,
    ) -> list[Row]:
        """Return the rows of the pages of a search, each UID once, also of a server without pages.

        `search` takes the number of rows to leave out, and `tag` is that of the UID.
        """
        rows: dict[str, Row] = {}
        offset = 0
        while len(rows) < at_most:
            page = ask(self.server, lambda offset=offset: _rows(search(offset)))  # type: ignore[misc]
            fresh = {
                first_value(row, tag): row for row in page if first_value(row, tag) not in rows
            }
            if not fresh:
                break
            rows |= fresh
            offset += len(page)
        return list(rows.values())[:at_most]

    def _describe(self, uid: str, study: Row, modalities: tuple[str, ...]) -> StudyFound | None:
        """Return a study with what its series state, None without a series of `modalities`.

        A server may ignore the search for modalities, which DICOMweb does not require of it.
        """
        series = self._series(uid)
        wanted = [one for one in series if first_value(one, "00080060") in modalities]
        if not wanted:
            return None
        parts = sorted({part.upper() for one in wanted if (part := first_value(one, "00180015"))})
        counts = [number_in(one, "00201209") for one in series]
        return StudyFound(
            uid=uid,
            day=day_in(first_value(study, "00080020")),
            modalities=tuple(sorted({first_value(one, "00080060") for one in series} - {""})),
            body_parts=tuple(parts),
            images=sum(number_in(one, "00201209") for one in wanted),
            instances=max(number_in(study, "00201208"), sum(counts)),
            identity=Identity(
                patient_name=person_name(study),
                patient_id=first_value(study, "00100020"),
                accession=first_value(study, "00080050"),
                description=first_value(study, "00081030"),
            ),
        )


def _rows(response: list[Row]) -> list[Row]:
    if not all(isinstance(row, dict) for row in response):
        raise NotDicomJson
    return response
