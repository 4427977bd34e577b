"""Watching a PACS: each new radiograph is analysed once, and its results are stored once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta

from xray_core.errors import PacsError
from xray_core.model.bundle import Bundle
from xray_core.pacs.analysis import analyse_image, store_results
from xray_core.pacs.client import PacsClient
from xray_core.pacs.search import ImageReference, StudyQuery
from xray_core.pacs.state import WatchState
from xray_core.pacs.transfer import FAILURES_IN_A_ROW
from xray_core.pacs.uids import model_hash, result_uids
from xray_core.prediction.predictor import Predictor

LONGEST_PAUSE = 600.0
"""Seconds between two polls of a PACS that does not answer."""


@dataclass
class Counts:
    """What one poll did. It names no patient, study or image."""

    studies: int = field(default=0, metadata={"label": "studies searched"})
    analysed: int = field(default=0, metadata={"label": "images analysed"})
    skipped: int = field(default=0, metadata={"label": "images skipped"})
    unreadable: int = field(default=0, metadata={"label": "images unreadable"})
    waiting: int = field(default=0, metadata={"label": "images not analysed yet"})
    failed: int = field(default=0, metadata={"label": "images failed"})
    stored: int = field(default=0, metadata={"label": "results stored"})

    def __str__(self) -> str:
        return ", ".join(
            f"{getattr(self, one.name)} {one.metadata['label']}" for one in fields(self)
        )


class Watcher:
    """Polls a PACS for studies of the last days.

    Parameters
    ----------
    client : PacsClient
        Results are stored if its server allows it.
    bundle : Bundle
        The model.
    load : callable
        Returns the predictor; called before the first image.
    state : WatchState
    days : int
        Studies of today and of this many days before.
    log : callable
        Takes a line of text without identity.
    """

    def __init__(
        self,
        client: PacsClient,
        bundle: Bundle,
        load: Callable[[], Predictor],
        state: WatchState,
        *,
        days: int = 1,
        log: Callable[[str], None] = print,
    ) -> None:
        self._client = client
        self._bundle = bundle
        self._load = load
        self._predictor: Predictor | None = None
        self._state = state
        self._days = days
        self._log = log
        self._model = model_hash(bundle)

    def run(self, interval: float, *, once: bool = False) -> Counts:
        """Poll until interrupted, or once.

        A poll fails if the PACS fails, or if the state cannot be read or written. The failure is
        logged and the pause doubles, up to `LONGEST_PAUSE`.

        Parameters
        ----------
        interval : float
            Seconds between two polls.
        once : bool
            Whether to return after the first poll.

        Returns
        -------
        Counts
            Of the last poll.

        Raises
        ------
        PacsError
            The only poll failed (`once`).
        """
        failures = 0
        while True:
            counts = Counts()
            problem = self._poll(counts)
            if counts.analysed or counts.skipped or counts.unreadable or counts.failed or once:
                self._log(f"{datetime.now():%Y-%m-%d %H:%M:%S} {counts}")
            if once:
                if problem:
                    raise PacsError(problem)
                return counts
            failures = failures + 1 if problem else 0
            pause = min(interval * 2 ** min(failures, 20), max(LONGEST_PAUSE, interval))
            if problem:
                self._log(f"{datetime.now():%Y-%m-%d %H:%M:%S} {problem} Next try in {pause:g} s.")
            time.sleep(pause)

    def count_waiting(self) -> Counts:
        """Return how many images a poll would analyse or skip; fetch, store and record nothing."""
        counts = Counts()
        for study, size in self._studies().items():
            counts.studies += 1
            if not self._is_complete(study, size):
                for image in self._client.content(study).images:
                    name = self._name(image)
                    counts.waiting += not self._state.is_done(name, store=self._store)
        return counts

    def _poll(self, counts: Counts) -> str:
        """Analyse what is new, and return why the poll ended early, "" if it did not."""
        in_a_row = 0
        try:
            studies = self._studies()
            counts.studies = len(studies)
            for study, size in studies.items():
                if self._is_complete(study, size):
                    continue
                images = self._client.content(study).images
                for image in images:
                    if not self._state.claim(self._name(image), store=self._store):
                        continue
                    problem = self._process(image, counts)
                    in_a_row = in_a_row + 1 if problem else 0
                    if in_a_row == FAILURES_IN_A_ROW:
                        return problem
                left = sum(
                    not self._state.is_done(self._name(image), store=self._store)
                    for image in images
                )
                counts.waiting += left
                if not left:
                    self._state.complete(self._name(study), size, stored=self._store)
        except PacsError as error:
            return str(error)
        return ""

    def _process(self, image: ImageReference, counts: Counts) -> str:
        """Analyse a claimed image and store its results; return the reason if it failed."""
        name = self._name(image)
        try:
            series, instance = result_uids(image.study, image.instance, self._bundle)["report"]
            if self._store and self._client.has(ImageReference(image.study, series, instance)):
                self._state.finish(name, stored=True)  # by a watcher on another computer
                return ""
            data = self._client.fetch(image)
            if self._predictor is None:
                self._predictor = self._load()
            if not self._state.renew(name):
                return ""
            result = analyse_image(data, self._predictor, image, make_files=self._store)
            # Another watcher has the image if analysing took longer than the lease.
            if result.files:
                if not self._state.renew(name):
                    return ""
                counts.stored += store_results(self._client, image.study, result.files)
            self._state.finish(name, stored=self._store)
        except PacsError as error:
            self._state.fail(name)
            counts.failed += 1
            return str(error)
        if result.prediction is None:
            counts.skipped += 1
        elif result.problem:  # a later attempt would fail as well
            counts.failed += 1
        elif result.prediction.verdict == "UNREADABLE":
            counts.unreadable += 1
        else:
            counts.analysed += 1
        return ""

    @property
    def _store(self) -> bool:
        return self._client.server.write

    def _studies(self) -> dict[str, int]:
        first = date.today() - timedelta(days=self._days)
        studies, truncated = self._client.sizes(StudyQuery(first=first))
        if truncated:
            self._log("More studies match than a search returns; choose fewer days.")
        return studies

    def _is_complete(self, study: str, size: int) -> bool:
        return size > 0 and self._state.is_complete(self._name(study), size, store=self._store)

    def _name(self, what: ImageReference | str) -> str:
        """Return what the state hashes: an image or a study, and the model."""
        text = what if isinstance(what, str) else what.instance
        return f"{self._model}/{text}"
