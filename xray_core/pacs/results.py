"""Results as DICOM: a structured report and, for an analysed image, a secondary capture.

The report is a Comprehensive SR on template TID 1500 (PS3.16). Codes are those of SNOMED CT (SCT),
LOINC (LN), DICOM (DCM) and UCUM; where no standard code exists, `CODES` has one of the private
scheme 99XRAYDEMO. Every text is ASCII, so the character set of the source image is kept, and its
patient and study attributes are copied as they are stored.
"""

from __future__ import annotations

import io
import unicodedata
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import PacsError
from xray_core.imaging.adjustment import UNADJUSTED
from xray_core.imaging.decoder_logs import suppress_logs
from xray_core.imaging.radiograph import Radiograph
from xray_core.labels import NORMAL, PNEUMONIA, REFUSED, UNCERTAIN, UNREADABLE
from xray_core.model.bundle import WEIGHTS, Bundle
from xray_core.pacs.capture import draw_capture
from xray_core.pacs.settings import MISSING_PACKAGES
from xray_core.pacs.source import Source
from xray_core.pacs.uids import derived_uid, model_hash, result_uids
from xray_core.prediction import wording
from xray_core.prediction.result import Prediction

try:
    import highdicom
    from highdicom import sr
    from highdicom.sr import CodedConcept
    from pydicom.charset import convert_encodings
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes
    from pydicom.uid import ComputedRadiographyImageStorage
    from pydicom.valuerep import DA, TM
except ImportError:
    raise PacsError(f"A result as DICOM {MISSING_PACKAGES}") from None

SCHEME = "99XRAYDEMO"
CODES = {
    "input-check": "Input check",
    "passed": "Passed",
    "caution": "Passed with a caution",
    "refused": "Refused",
    "not-analysed": "Not analysed",
    "pre-test": "Pre-test probability assumed",
    "intended-use": "Intended use",
}
"""The private codes of scheme 99XRAYDEMO, with their meanings."""

MANUFACTURER = "Chest X-ray pneumonia demo"
NOT_FOR_DIAGNOSIS = "AI result, not for diagnosis"
# They log UIDs, and pydicom's warnings may quote a value.
_LOGGERS = (
    "pydicom",
    "highdicom.base",
    "highdicom.frame",
    "highdicom.uid",
    "highdicom.sc.sop",
    "highdicom.sr.coding",
    "highdicom.sr.content",
    "highdicom.sr.sop",
    "highdicom.sr.templates",
)
_REPORT_SERIES, _CAPTURE_SERIES = 9901, 9902


@dataclass(frozen=True)
class DicomResult:
    """A result as a DICOM file.

    Parameters
    ----------
    kind : str
        "report" or "capture".
    series, instance : str
        Its UIDs.
    data : bytes
        The file. It holds the identity of the patient.
    """

    kind: str
    series: str = field(repr=False)
    instance: str = field(repr=False)
    data: bytes = field(repr=False)


def dicom_results(
    prediction: Prediction,
    radiograph: Radiograph,
    source: Source,
    bundle: Bundle,
    created: datetime | None = None,
    *,
    window: int = 0,
) -> list[DicomResult]:
    """Return the results of an image as DICOM: a capture if it was analysed, and the report.

    The report is the last, so that a PACS that has it has all of them.

    Parameters
    ----------
    prediction : Prediction
        With a `heatmap`, unless it was refused.
    radiograph : Radiograph
        The image.
    source : Source
        From the same file, by `read_source`.
    bundle : Bundle
        The model that gave the prediction.
    created : datetime, optional
        Time of the analysis, by default now.
    window : int
        Index of the DICOM window with which the image was read. Results of an image that was read
        with another window than the first, or was adjusted, have UIDs of their own.

    Returns
    -------
    list of DicomResult

    Raises
    ------
    ValueError
        The prediction is of an unreadable image.
    """
    if prediction.verdict == UNREADABLE:
        raise ValueError("An unreadable image has no result as DICOM.")
    moment = created or datetime.now()
    variant = _variant(radiograph, window)
    uids = result_uids(source.study, source.instance, bundle, variant)
    notes = _notes(prediction, radiograph, window)
    results = []
    with ExitStack() as stack:
        for name in _LOGGERS:
            stack.enter_context(suppress_logs(name))
        if prediction.verdict != REFUSED:
            capture = _capture(prediction, radiograph, source, bundle, uids["capture"], moment)
            results.append(_result("capture", uids, capture))
        report = _report(prediction, source, bundle, uids["report"], moment, notes)
        results.append(_result("report", uids, report))
    return results


def _result(kind: str, uids: dict[str, tuple[str, str]], dataset: Any) -> DicomResult:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return DicomResult(kind, *uids[kind], buffer.getvalue())


def _report(
    prediction: Prediction,
    source: Source,
    bundle: Bundle,
    uids: tuple[str, str],
    moment: datetime,
    notes: list[str],
) -> Any:
    evidence = _evidence(source)
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("model", "", model_hash(bundle)),
        name=_ascii(f"{bundle.name} {bundle.version}"),
        manufacturer_name=MANUFACTURER,
        model_name=_ascii(bundle.name),
        serial_number=_weights_hash(bundle),
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=derived_uid("tracking", source.instance, model_hash(bundle)),
            identifier="Image",
        ),
        algorithm_id=sr.AlgorithmIdentification(
            name=_ascii(bundle.name),
            version=_ascii(bundle.version),
            manufacturer=MANUFACTURER,
            parameters=_parameters(bundle),
        ),
        measurements=_measurements(prediction),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                CodedConcept("233604007", "SCT", "Pneumonia"), _finding(prediction)
            ),
            sr.QualitativeEvaluation(_private("input-check"), _private(prediction.gate or REFUSED)),
        ],
        source_images=[sr.SourceImageForMeasurementGroup(source.sop_class, source.instance)],
    )
    for name, text in _texts(prediction, notes):
        item = sr.TextContentItem(name, _ascii(text), sr.RelationshipTypeValues.CONTAINS)
        group[0].ContentSequence.append(item)
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=CodedConcept("399208008", "SCT", "Plain X-ray of chest"),
        imaging_measurements=[group],
    )
    report = sr.ComprehensiveSR(
        evidence=[evidence],
        content=content[0],
        series_instance_uid=uids[0],
        series_number=_REPORT_SERIES,
        sop_instance_uid=uids[1],
        instance_number=source.number,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=NOT_FOR_DIAGNOSIS,
    )
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    series.ReferencedSOPSequence[0].ReferencedSOPClassUID = source.sop_class
    _complete(report, source, bundle, moment)
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = SCHEME, MANUFACTURER
    report.CodingSchemeIdentificationSequence = [scheme]
    return report


def _measurements(prediction: Prediction) -> list[Any]:
    """Return the probability and its prior; none for a probability that serves for ranking only."""
    if prediction.probability is None or prediction.unlike:
        return []
    unit = CodedConcept("1", "UCUM", "no units")
    probability = CodedConcept("103815-7", "LN", "Pneumonia probability AI based calc")
    return [
        sr.Measurement(probability, round(prediction.probability, 4), unit),
        sr.Measurement(_private("pre-test"), prediction.prior, unit),
    ]


def _finding(prediction: Prediction) -> CodedConcept:
    return {
        PNEUMONIA: CodedConcept("415684004", "SCT", "Suspected"),
        UNCERTAIN: CodedConcept("82334004", "SCT", "Indeterminate"),
        NORMAL: CodedConcept("41647002", "SCT", "No evidence of"),
        REFUSED: _private("not-analysed"),
    }[prediction.verdict]


def _texts(prediction: Prediction, notes: list[str]) -> list[tuple[CodedConcept, str]]:
    summary = CodedConcept("121111", "DCM", "Summary")
    comment = CodedConcept("121106", "DCM", "Comment")
    texts = [(summary, f"{prediction.shown_as}. {prediction.sentence}".strip())]
    texts += [(comment, note) for note in notes]
    return [*texts, (_private("intended-use"), wording.DISCLAIMER)]


def _notes(prediction: Prediction, radiograph: Radiograph, window: int) -> list[str]:
    """Return the comments of the report: cautions or reasons, and how the image was read."""
    refused = prediction.verdict == REFUSED
    notes = [f"{'Reason' if refused else 'Caution'}: {reason}" for reason in prediction.reasons]
    if refused and prediction.adjustment:  # which is a caution of an analysed image
        notes.append(prediction.adjustment)
    if window:
        notes.append(f"The image was read with its window {window + 1}.")
    return notes


def _variant(radiograph: Radiograph, window: int) -> str:
    """Return how an image was read, "" for its first window without adjustment."""
    parts = [f"window {window}"] if window else []
    if radiograph.adjustment != UNADJUSTED:
        parts.append(str(astuple(radiograph.adjustment)))
    return "/".join(parts)


def _parameters(bundle: Bundle) -> list[str]:
    calibration = bundle.calibration
    low, high = calibration.uncertain
    parameters = [
        f"SHA-256 of the weights: {_weights_hash(bundle)}",
        f"Probabilities assume a pre-test probability of {calibration.prior:g}",
        f"Decision threshold: {calibration.decision_threshold:g}",
        f"Exclusion threshold: {calibration.exclusion_threshold:g}",
        f"Indeterminate: from {low:g} to {high:g}",
    ]
    rule = bundle.unlike_rule
    if rule is not None:
        parameters.append(
            f"Indeterminate if unlike the training images: also from {rule.low:g} to {rule.high:g}"
        )
    return parameters


def _capture(
    prediction: Prediction,
    radiograph: Radiograph,
    source: Source,
    bundle: Bundle,
    uids: tuple[str, str],
    moment: datetime,
) -> Any:
    pixels: NDArray[np.uint8] = draw_capture(prediction, radiograph.pixels, NOT_FOR_DIAGNOSIS)
    turned = radiograph.adjustment.quarter_turns or radiograph.adjustment.mirrored
    orientation: Any = None if turned else source.image.get("PatientOrientation")
    capture = highdicom.sc.SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.study,
        series_instance_uid=uids[0],
        series_number=_CAPTURE_SERIES,
        sop_instance_uid=uids[1],
        instance_number=source.number,
        manufacturer=MANUFACTURER,
        patient_orientation=("L", "F"),
        series_description=NOT_FOR_DIAGNOSIS,
    )
    # highdicom requires an orientation; the standard allows it to be empty.
    capture.PatientOrientation = orientation
    capture["PixelData"].VR = "OB"
    capture.BodyPartExamined = "CHEST"
    capture.ConversionType = "WSD"
    capture.DateOfSecondaryCapture = DA(moment.date())
    capture.TimeOfSecondaryCapture = TM(f"{moment:%H%M%S}")
    capture.DerivationDescription = "Image with heat map and result burnt in"
    reference = _reference(source)
    reference.PurposeOfReferenceCodeSequence = [
        CodedConcept("121322", "DCM", "Source image for image processing operation")
    ]
    capture.SourceImageSequence = [reference]
    for keyword in source.image.dir():
        if keyword != "PatientOrientation":
            capture[keyword] = source.image[keyword]
    _complete(capture, source, bundle, moment)
    return capture


def _complete(result: Any, source: Source, bundle: Bundle, moment: datetime) -> None:
    """Set the device, the time and, as they are stored in the source, patient and study."""
    result.ManufacturerModelName = _ascii(bundle.name)[:64]
    result.DeviceSerialNumber = _weights_hash(bundle)
    result.SoftwareVersions = _ascii(bundle.version)[:64]
    result.ContentDate = result.InstanceCreationDate = f"{moment:%Y%m%d}"
    result.ContentTime = result.InstanceCreationTime = f"{moment:%H%M%S}"
    for tag in (*result.group_dataset(0x0010).keys(), 0x00080005):
        if tag in result:
            del result[tag]
    for tag in list(source.identity.keys()):
        result[tag] = source.identity.get_item(tag)
    for equipment in result.ContributingEquipmentSequence:
        equipment.ContributionDateTime = f"{moment:%Y%m%d%H%M%S}"
    # pydicom writes the bytes of values that were read, and does not decode them, if encoding and
    # character set are those in which they were read.
    characters = result.get("SpecificCharacterSet")
    if characters:
        result.set_original_encoding(False, True, convert_encodings(characters))
    else:
        result.set_original_encoding(False, True)


def _evidence(source: Source) -> Any:
    """Return the source image as highdicom needs it: UIDs without identity."""
    evidence = Dataset()
    evidence.StudyInstanceUID, evidence.SeriesInstanceUID = source.study, source.series
    evidence.SOPInstanceUID = source.instance
    evidence.SOPClassUID = ComputedRadiographyImageStorage  # highdicom accepts no private class
    for keyword in (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
        "StudyDate",
        "StudyTime",
    ):
        setattr(evidence, keyword, None)
    return evidence


def _reference(source: Source) -> Any:
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.sop_class
    reference.ReferencedSOPInstanceUID = source.instance
    return reference


def _private(code: str) -> CodedConcept:
    return CodedConcept(code.lower(), SCHEME, CODES[code.lower()])


def _weights_hash(bundle: Bundle) -> str:
    return str(bundle.config["files"][WEIGHTS])


def _ascii(text: str) -> str:
    """Return a text in ASCII, which is part of every character set of DICOM."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c if c.isascii() else "?" for c in plain if not unicodedata.combining(c))
