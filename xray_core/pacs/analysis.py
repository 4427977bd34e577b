"""From an image in a PACS to its result, and the result back to the PACS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xray_core.errors import PacsError, UnreadableImage
from xray_core.imaging.radiograph import Radiograph, read_radiograph
from xray_core.pacs.client import PacsClient
from xray_core.pacs.results import DicomResult, dicom_results
from xray_core.pacs.search import ImageReference, StudyContent
from xray_core.pacs.source import Source, read_source
from xray_core.pacs.transfer import skip_reasons
from xray_core.prediction.predictor import Predictor
from xray_core.prediction.result import Prediction


@dataclass(frozen=True)
class ImageResult:
    """What became of one image: a prediction, or why it was skipped.

    Parameters
    ----------
    prediction : Prediction or None
        None for a skipped image. An image that cannot be read has the verdict "UNREADABLE".
    skipped : tuple of str
        Sentences; () for an image that was not skipped.
    files : tuple of DicomResult
        The results as DICOM, if they were requested.
    problem : str
        A sentence: why the requested results could not be written as DICOM; "" if they were.
    """

    prediction: Prediction | None
    skipped: tuple[str, ...] = ()
    files: tuple[DicomResult, ...] = field(default=(), repr=False)
    problem: str = ""


def analyse_study(
    client: PacsClient, predictor: Predictor, content: StudyContent, *, make_files: bool
) -> Iterator[tuple[ImageReference, ImageResult]]:
    """Fetch and analyse the images of a study, one at a time.

    Parameters
    ----------
    client : PacsClient
    predictor : Predictor
    content : StudyContent
        From `PacsClient.content`.
    make_files : bool
        Whether to make the results as DICOM.

    Yields
    ------
    image : ImageReference
    result : ImageResult

    Raises
    ------
    PacsError
        An image could not be fetched.
    """
    for image in content.images:
        yield image, analyse_image(client.fetch(image), predictor, image, make_files=make_files)


def analyse_image(
    data: bytes, predictor: Predictor, image: ImageReference, *, make_files: bool
) -> ImageResult:
    """Analyse an image that was fetched from a PACS.

    Parameters
    ----------
    data : bytes
        The DICOM file.
    predictor : Predictor
    image : ImageReference
        What was requested. A file with other UIDs is skipped, since its result would belong to
        another patient.
    make_files : bool
        Whether to make the results as DICOM.

    Returns
    -------
    ImageResult
    """
    try:
        reasons = skip_reasons(data, image)
        if reasons:
            return ImageResult(None, reasons)
        radiograph = read_radiograph(data)
        source = read_source(data)
    except UnreadableImage as error:
        return ImageResult(Prediction(None, "UNREADABLE", (str(error),), model=predictor.model))
    prediction = predictor.predict(radiograph, explain="gradcam" if make_files else None)
    if not make_files:
        return ImageResult(prediction)
    try:
        files = make_results(prediction, radiograph, source, predictor)
    except PacsError as error:
        return ImageResult(prediction, problem=str(error))
    return ImageResult(prediction, files=files)


def make_results(
    prediction: Prediction,
    radiograph: Radiograph,
    source: Source,
    predictor: Predictor,
    *,
    window: int = 0,
) -> tuple[DicomResult, ...]:
    """Return what `dicom_results` does, with each error as a sentence without identity.

    Raises
    ------
    PacsError
        The result could not be written as DICOM.
    """
    try:
        files = dicom_results(prediction, radiograph, source, predictor.bundle, window=window)
    except Exception:  # highdicom refuses some values of a header, and its message may quote them
        files = []
    if not files:
        raise PacsError("The result of an image could not be written as DICOM.")
    return tuple(files)


def store_results(client: PacsClient, study: str, files: Sequence[DicomResult]) -> int:
    """Store the results that the PACS does not have yet.

    Parameters
    ----------
    client : PacsClient
    study : str
        Study Instance UID.
    files : sequence of DicomResult

    Returns
    -------
    int
        Number of files that were stored.

    Raises
    ------
    PacsError
        Storing is not allowed or failed.
    """
    missing = [
        file for file in files if not client.has(ImageReference(study, file.series, file.instance))
    ]
    if missing:
        client.store(study, [file.data for file in missing])
    return len(missing)
