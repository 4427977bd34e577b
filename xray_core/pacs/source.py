"""What a DICOM file states about its patient, study and type, for results and for the selection.

A `Radiograph` holds no identity. When a result is written as DICOM, the attributes are read again
from the bytes of the source image, and copied as they are stored.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from xray_core.errors import UnreadableImage
from xray_core.imaging.decoding_memory import Reservation
from xray_core.imaging.dicom.header import (
    RAW_DETECTOR_DATA,
    items,
    not_a_frontal_chest,
    read_header,
    value,
)
from xray_core.imaging.radiograph import MAX_PIXELS
from xray_core.pacs.uids import is_uid

if TYPE_CHECKING:
    from pydicom.tag import BaseTag

# Modules Patient, General Study and Patient Study (PS3.3, sections C.7.1.1, C.7.2.1 and C.7.2.2).
_COPIED = tuple(
    Tag(keyword)
    for keyword in (
        "SpecificCharacterSet",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "TypeOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
        "PatientBirthDate",
        "PatientBirthTime",
        "PatientSex",
        "OtherPatientIDsSequence",
        "OtherPatientNames",
        "EthnicGroup",
        "PatientComments",
        "PatientIdentityRemoved",
        "DeidentificationMethod",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "ReferringPhysicianName",
        "StudyID",
        "AccessionNumber",
        "IssuerOfAccessionNumberSequence",
        "StudyDescription",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
    )
)
_REQUIRED = (  # of type 2: present, and empty where the source has no value
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_OF_THE_IMAGE = tuple(
    Tag(keyword)
    for keyword in (
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "InstanceNumber",
        "PatientOrientation",
        "BurnedInAnnotation",
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    )
)


@dataclass(frozen=True, eq=False)
class Source:
    """The attributes of a source image that its results need.

    Parameters
    ----------
    study, series, instance, sop_class : str
        UIDs of the image.
    number : int
        Instance Number (0020,0013); 1 if it has none.
    identity : pydicom.Dataset
        Patient and study attributes, as they are stored.
    image : pydicom.Dataset
        Attributes of the image that its derived image takes over.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    number: int
    identity: Dataset = field(repr=False)
    image: Dataset = field(repr=False)


def read_source(data: bytes) -> Source:
    """Read what the results of an image need from its file.

    Parameters
    ----------
    data : bytes
        A DICOM file.

    Returns
    -------
    Source

    Raises
    ------
    UnreadableImage
        The file has no valid UIDs, or is damaged.
    """
    header = _read_header(data, (*_COPIED, *_OF_THE_IMAGE))
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    uids = [str(value(header, keyword) or "") for keyword in keywords]
    if not all(map(is_uid, uids)):
        raise UnreadableImage("The DICOM file has no valid UIDs, so it gets no result as DICOM.")
    identity, image = Dataset(), Dataset()
    for tag in _COPIED:
        _copy(header, tag, identity)
    for keyword in _REQUIRED:
        if keyword not in identity:
            setattr(identity, keyword, None)
    for tag in _OF_THE_IMAGE[3:]:
        content = value(header, keyword_for_tag(tag))  # None if it is malformed
        if content is not None:
            setattr(image, keyword_for_tag(tag), content)
    number = str(value(header, "InstanceNumber") or "")
    study, series, instance, sop_class = uids
    return Source(
        study=study,
        series=series,
        instance=instance,
        sop_class=sop_class,
        number=int(number) if number.isdecimal() and len(number) < 10 else 1,
        identity=identity,
        image=image,
    )


def exclusions(data: bytes) -> list[str]:
    """Return what the header of a DICOM file states against a frontal chest X-ray for viewing.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    list of str
        Sentences. Empty if nothing contradicts it, or if the file is damaged: decoding tells.
    """
    try:
        header = _read_header(data, ())
    except UnreadableImage:
        return []
    reasons = not_a_frontal_chest(header)
    if value(header, "PresentationIntentType") == "FOR PROCESSING":
        reasons.append(RAW_DETECTOR_DATA)
    return reasons


def _read_header(data: bytes, tags: tuple[BaseTag, ...]) -> Dataset:
    try:
        with Reservation() as reservation:
            return read_header(data, MAX_PIXELS, reservation, tags).header
    except UnreadableImage as error:
        problem = str(error)
    except (Exception, RecursionError):  # a damaged header can raise anything
        problem = "The DICOM file is damaged."
    # Raised outside the handlers: the handled exception may quote the header.
    raise UnreadableImage(problem)


def _copy(header: Dataset, tag: BaseTag, target: Dataset) -> None:
    """Copy an element with the bytes of its value; a sequence with its items."""
    if tag not in header:
        return
    representation = dictionary_VR(tag)
    if representation == "SQ":
        nested = items(header, keyword_for_tag(tag))
        if nested:
            setattr(target, keyword_for_tag(tag), deepcopy(nested))
        return
    element = header.get_item(tag)
    if isinstance(element, RawDataElement):
        content = element.value or b""
        padding = b"\0" if representation == "UI" else b" "
        content += padding * (len(content) % 2)
        element = element._replace(
            VR=representation, value=content, length=len(content), is_little_endian=True
        )
    if element is not None:
        target[tag] = element
