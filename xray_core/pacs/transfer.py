"""Fetching the frontal chest images of chosen studies, one image at a time.

A `Transfer` can be interrupted after every step and continued later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from xray_core.errors import PacsError, UnreadableImage
from xray_core.pacs.search import ImageReference, StudyFound
from xray_core.pacs.source import exclusions, read_source

if TYPE_CHECKING:
    from xray_core.pacs.client import PacsClient

FAILURES_IN_A_ROW = 3
"""Failures of images after which the PACS itself is taken to be the reason."""
ANOTHER_IMAGE = "The PACS sent another image than the one requested."


@dataclass(frozen=True)
class Fetched:
    """An image of a transfer.

    Parameters
    ----------
    study : int
        The number that the study has in the transfer.
    number : int
        Number of the image in its study, from 1.
    data : bytes
        The DICOM file.
    """

    study: int
    number: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Skipped:
    """What was not fetched, or fetched and left out.

    Parameters
    ----------
    study : int
        The number that the study has in the transfer.
    what : str
        Which part of the study, such as "image 2".
    reason : str
        A sentence.
    """

    study: int
    what: str
    reason: str


class Transfer:
    """Fetches the frontal chest images of studies.

    Parameters
    ----------
    studies : mapping of int to StudyFound
        The studies by a number that the user knows them by.
    max_images, max_bytes : int
        No more are fetched.

    Attributes
    ----------
    fetched : list of Fetched
    skipped : list of Skipped
    problem : str
        Why the transfer ended early, a sentence; "" if it did not.
    """

    def __init__(
        self, studies: Mapping[int, StudyFound], *, max_images: int, max_bytes: int
    ) -> None:
        self.fetched: list[Fetched] = []
        self.skipped: list[Skipped] = []
        self.problem = ""
        self._studies = deque(studies.items())
        self._images: deque[tuple[int, int, ImageReference]] = deque()
        self._max_images, self._room = max_images, max_bytes
        self._done = self._failures = 0
        self._lock = Lock()  # two threads may continue the same transfer

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be fetched."""
        return not self._studies and not self._images

    @property
    def left(self) -> int:
        """Number of images that are not fetched yet, as far as the PACS has stated it."""
        return len(self._images) + sum(study.images for _, study in self._studies)

    @property
    def done(self) -> int:
        """Number of images that were fetched, skipped or failed."""
        return self._done

    def stop(self, problem: str) -> None:
        """End the transfer; what was fetched stays.

        Parameters
        ----------
        problem : str
            Why, a sentence.
        """
        left = self.left
        self._studies.clear()
        self._images.clear()
        images = "1 image was" if left == 1 else f"{left} images were"
        self.problem = f"{problem} {images} not fetched." if left else problem

    def step(self, client: PacsClient) -> None:
        """Fetch the next image, or list the images of the next study.

        A failure is recorded in `skipped`; after `FAILURES_IN_A_ROW` the transfer ends.

        Parameters
        ----------
        client : PacsClient
        """
        with self._lock:
            if self._images:
                study, number, image = self._images[0]
                what = f"image {number}"
            elif self._studies:
                (study, found), what = self._studies[0], "all images"
            else:
                return
            try:
                if self._images:
                    self._fetch(client, study, number, image)
                else:
                    self._list(client, study, found)
            except PacsError as error:
                self._fail(study, what, str(error))
            else:
                self._failures = 0

    def _list(self, client: PacsClient, study: int, found: StudyFound) -> None:
        content = client.content(found.uid)
        if not self._studies:  # stopped meanwhile
            return
        self._studies.popleft()
        self._images.extend((study, number, one) for number, one in enumerate(content.images, 1))
        for modality, count in content.others:
            objects = "1 object" if count == 1 else f"{count} objects"
            reason = "Not a radiograph (CR or DX)."
            self.skipped.append(Skipped(study, f"{objects} of modality {modality}", reason))
        if not content.images:
            reason = "The study has no radiographs (CR or DX)."
            self.skipped.append(Skipped(study, "all images", reason))

    def _fetch(self, client: PacsClient, study: int, number: int, image: ImageReference) -> None:
        if len(self.fetched) >= self._max_images:
            self.stop(f"At most {self._max_images} images are fetched at once.")
            return
        data = client.fetch(image)
        try:
            reasons = skip_reasons(data, image)
        except UnreadableImage as error:
            reasons = (str(error),)
        if not reasons and len(data) > self._room:
            self.stop("The images are too large to be fetched at once.")
            return
        if not self._images:  # stopped meanwhile
            return
        self._images.popleft()
        self._done += 1
        if reasons:
            self.skipped.append(Skipped(study, f"image {number}", " ".join(reasons)))
            return
        self._room -= len(data)
        self.fetched.append(Fetched(study, number, data))

    def _fail(self, study: int, what: str, problem: str) -> None:
        if self.is_complete:  # stopped meanwhile
            return
        self._failures += 1
        if self._failures == FAILURES_IN_A_ROW:
            self.stop(problem)
            return
        if self._images:
            self._images.popleft()
            self._done += 1
        else:
            self._studies.popleft()
        self.skipped.append(Skipped(study, what, problem))


def skip_reasons(data: bytes, image: ImageReference) -> tuple[str, ...]:
    """Return why a fetched file is not analysed, () if it is.

    Parameters
    ----------
    data : bytes
    image : ImageReference
        What was requested. A file with other UIDs is not analysed, since its result would belong to
        another patient.

    Returns
    -------
    tuple of str
        Sentences: what its header states against a frontal chest X-ray, or that it is another
        image.

    Raises
    ------
    UnreadableImage
        The file is no DICOM image, is damaged, or has no valid UIDs, so it cannot be compared with
        what was requested.
    """
    reasons = exclusions(data)
    if reasons:
        return tuple(reasons)
    source = read_source(data)
    is_requested = (source.study, source.instance) == (image.study, image.instance)
    return () if is_requested else (ANOTHER_IMAGE,)
