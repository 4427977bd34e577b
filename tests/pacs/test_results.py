"""Reports and captures: what they state, of whom, and that dciodvfy and highdicom accept them."""

import io
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime

import highdicom
import numpy as np
import pydicom
import pytest
from pacs_tools import ACCESSION, BIRTH_DATE, NAME, PATIENT_ID
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from xray_core import Prediction, read_radiograph
from xray_core.errors import UnreadableImage
from xray_core.imaging.adjustment import Adjustment
from xray_core.imaging.pixels import adjust
from xray_core.labels import SHOWN_AS_UNLIKE
from xray_core.pacs.capture import draw_capture
from xray_core.pacs.results import (
    CODES,
    SCHEME,
    dicom_results,
)
from xray_core.pacs.source import exclusions, read_source
from xray_core.pacs.transfer import ANOTHER_IMAGE
from xray_core.pacs.uids import derived_uid, model_hash, result_uids
from xray_core.prediction import wording

MOMENT = datetime(2026, 11, 25, 10, 30, 5)
PNEUMONIA, PROBABILITY = ("233604007", "SCT"), ("103815-7", "LN")
INPUT_CHECK, PRIOR = ("input-check", SCHEME), ("pre-test", SCHEME)


def key(concept):
    return (concept.CodeValue, concept.CodingSchemeDesignator)


def parsed(file):
    return pydicom.dcmread(io.BytesIO(file.data))


def contents(report):
    """Return the items of the measurement group: values by code of their name."""
    measurements = report.ContentSequence[-1]
    assert measurements.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    (group,) = measurements.ContentSequence
    found = {}
    for item in group.ContentSequence:
        value = {
            "TEXT": lambda item=item: item.TextValue,
            "CODE": lambda item=item: key(item.ConceptCodeSequence[0]),
            "NUM": lambda item=item: float(item.MeasuredValueSequence[0].NumericValue),
            "UIDREF": lambda item=item: item.UID,
            "IMAGE": lambda item=item: item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID,
        }[item.ValueType]()
        found.setdefault(key(item.ConceptNameCodeSequence[0]), []).append(value)
    return found


def make_results(data, predictor, **changes):
    """Return prediction, report and capture (None without one) of a file."""
    radiograph = read_radiograph(data)
    prediction = replace(predictor.predict(radiograph, explain="gradcam"), **changes)
    files = dicom_results(prediction, radiograph, read_source(data), predictor.bundle, MOMENT)
    by_kind = {file.kind: file for file in files}
    assert files[-1].kind == "report"
    return prediction, by_kind["report"], by_kind.get("capture")


@pytest.fixture(scope="module")
def results(make_image, predictor):
    return make_results(make_image(seed=1001, pneumonia=True), predictor)


def test_the_report_states_result_probability_and_prior(results, predictor):
    prediction, report, _ = results
    assert prediction.verdict == "PNEUMONIA"
    found = contents(parsed(report))
    assert found[PNEUMONIA] == [("415684004", "SCT")]
    assert found[PROBABILITY] == [pytest.approx(prediction.probability, abs=5e-5)]
    assert found[PRIOR] == [0.5]
    assert found[INPUT_CHECK] == [("passed", SCHEME)]
    assert found["121111", "DCM"] == [f"Pneumonia suspected. {prediction.sentence}"]
    assert found["intended-use", SCHEME] == [wording.DISCLAIMER]
    calibration, weights = predictor.calibration, predictor.bundle.config["files"]
    assert found["111002", "DCM"] == [
        f"SHA-256 of the weights: {weights['model.weights.h5']}",
        "Probabilities assume a pre-test probability of 0.5",
        f"Decision threshold: {calibration.decision_threshold:g}",
        f"Exclusion threshold: {calibration.exclusion_threshold:g}",
        "Indeterminate: from {:g} to {:g}".format(*calibration.uncertain),
    ]
    assert found["111001", "DCM"] == ["micro"]
    assert found["111003", "DCM"] == [predictor.bundle.version]


def test_the_report_states_the_limits_for_images_unlike_the_training_images(make_image, predictor):
    data = make_image()
    radiograph = read_radiograph(data)
    prediction = predictor.predict(radiograph, explain="gradcam")
    rule = {"beyond": 0.4, "low": 0.06, "high": 0.95}
    bundle = replace(predictor.bundle, config={**predictor.bundle.config, "unlike": rule})
    *_, report = dicom_results(prediction, radiograph, read_source(data), bundle, MOMENT)
    assert contents(parsed(report))["111002", "DCM"][-1] == (
        "Indeterminate if unlike the training images: also from 0.06 to 0.95"
    )


@pytest.mark.parametrize(
    ("verdict", "code", "words"),
    [
        ("PNEUMONIA", "415684004", "Pneumonia suspected."),
        ("UNCERTAIN", "82334004", "Indeterminate."),
        ("NORMAL", "41647002", "No pneumonia detected."),
    ],
)
def test_each_result_has_its_code(make_image, predictor, verdict, code, words):
    _, report, _ = make_results(make_image(), predictor, verdict=verdict, sentence="")
    found = contents(parsed(report))
    assert found[PNEUMONIA] == [(code, "SCT")]
    assert found["121111", "DCM"] == [words]


def test_cautions_are_comments(make_image, predictor):
    _, report, _ = make_results(make_image(), predictor, gate="caution", reasons=("One.", "Two."))
    found = contents(parsed(report))
    assert found["121106", "DCM"] == ["Caution: One.", "Caution: Two."]
    assert found[INPUT_CHECK] == [("caution", SCHEME)]


def test_a_refused_image_has_a_report_without_a_probability_and_no_capture(make_image, predictor):
    noise = np.random.default_rng(0).integers(0, 255, (224, 224)).astype(np.uint8)
    prediction, report, capture = make_results(make_image(pixels=noise), predictor)
    assert prediction.verdict == "REFUSED"
    assert capture is None
    found = contents(parsed(report))
    assert found[PNEUMONIA] == [("not-analysed", SCHEME)]
    assert found[INPUT_CHECK] == [("refused", SCHEME)]
    assert found["121106", "DCM"] == [f"Reason: {reason}" for reason in prediction.reasons]
    assert found["121111", "DCM"] == ["Not analysed."]
    assert PROBABILITY not in found
    assert PRIOR not in found
    assert b"NUM" not in report.data


def test_a_probability_for_ranking_only_is_no_measurement(make_image, predictor):
    _, report, _ = make_results(make_image(), predictor, verdict="UNCERTAIN", unlike=True)
    found = contents(parsed(report))
    assert PROBABILITY not in found
    assert found["121111", "DCM"][0].startswith(SHOWN_AS_UNLIKE)


def test_an_unreadable_image_has_no_result(make_image, predictor):
    data = make_image()
    prediction = Prediction(None, "UNREADABLE", ("Damaged.",))
    with pytest.raises(ValueError, match="unreadable"):
        dicom_results(prediction, read_radiograph(data), read_source(data), predictor.bundle)


def test_both_results_belong_to_patient_and_study_of_the_image(results):
    _, report, capture = results
    for result in map(parsed, (report, capture)):
        assert result.PatientName == NAME
        assert result.PatientID == PATIENT_ID
        assert result.PatientBirthDate == BIRTH_DATE
        assert result.AccessionNumber == ACCESSION
        assert result.StudyInstanceUID == "1.2.826.0.1.3680043.8.498.1"
        assert (result.StudyDate, result.StudyTime) == ("20261125", "101500")
        assert result.ReferringPhysicianName == "ROE^RICHARD"
        assert result.PatientAge == "004Y"
        assert result.SeriesDescription == "AI result, not for diagnosis"
        assert (result.ContentDate, result.ContentTime) == ("20261125", "103005")
        assert result.SoftwareVersions.startswith("2026-01-02")
    assert parsed(report).Modality == "SR"
    assert parsed(report).VerificationFlag == "UNVERIFIED"
    (reference,) = parsed(capture).SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == "1.2.826.0.1.3680043.8.498.1.1.1"


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen".encode("latin-1")),
        ("ISO_IR 192", "Müller^Jürgen=山田^太郎".encode()),
        (r"\ISO 2022 IR 87", b"Yamada^Tarou=\033$B;3ED\033(B^\033$BB@O:\033(B"),
        ("ISO_IR 192", b"not \xff\xfe UTF-8"),
        ("unheard of", b"a\x80b"),
        (None, b"DOE^J\xc4NE"),
    ],
)
def test_the_name_is_copied_as_it_is_stored(make_image, predictor, syntax, charset, name):
    data = with_raw_name(make_image(), syntax, charset, name)
    _, report, capture = make_results(data, predictor)
    for file in (report, capture):
        raw = pydicom.dcmread(io.BytesIO(file.data))
        assert raw.get_item("PatientName").value.rstrip(b" ") == name
        stored = raw.get("SpecificCharacterSet")
        stored = stored if stored is None or isinstance(stored, str) else "\\".join(stored)
        assert stored == charset


def with_raw_name(data, syntax, charset, name):
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.decode()
    del dataset.PatientName
    if charset is not None:
        dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.add_new("PatientName", "UN", b"")
    file = io.BytesIO()
    little = syntax != ExplicitVRBigEndian
    implicit = syntax == ImplicitVRLittleEndian
    del dataset.PatientName
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(file, dataset, little_endian=little, implicit_vr=implicit)
    content = file.getvalue()
    if charset is not None:  # the placeholder is replaced, so that any bytes can be stored
        tag = b"\x08\x00\x05\x00" if little else b"\x00\x08\x00\x05"
        value = charset.encode() + b" " * (len(charset) % 2)
        content = replaced(content, tag, b"CS", value, implicit, little)
    tag = b"\x10\x00\x10\x00" if little else b"\x00\x10\x00\x10"
    after = b"\x10\x00\x20\x00" if little else b"\x00\x10\x00\x20"
    place = content.index(after)
    return (
        content[:place]
        + element(tag, b"PN", name + b" " * (len(name) % 2), implicit, little)
        + content[place:]
    )


def element(tag, representation, value, implicit, little):
    order = "little" if little else "big"
    if implicit:
        return tag + len(value).to_bytes(4, order) + value
    return tag + representation + len(value).to_bytes(2, order) + value


def replaced(content, tag, representation, value, implicit, little):
    start = content.index(tag, 132)
    order = "little" if little else "big"
    width = 4 if implicit else 2
    at = start + (4 if implicit else 6)
    length = int.from_bytes(content[at : at + width], order)
    end = at + width + length
    return content[:start] + element(tag, representation, value, implicit, little) + content[end:]


def test_results_have_the_same_uids_whenever_they_are_made(make_image, predictor):
    data = make_image()
    first, again = make_results(data, predictor), make_results(data, predictor)
    other = make_results(make_image(number=2), predictor)
    for kind in (1, 2):
        assert first[kind].instance == again[kind].instance != other[kind].instance
        assert first[kind].series == again[kind].series == other[kind].series
        assert first[kind].data == again[kind].data
        assert first[kind].instance.startswith("2.25.")
    source = read_source(data)
    uids = result_uids(source.study, source.instance, predictor.bundle)
    assert uids["report"] == (first[1].series, first[1].instance)
    assert derived_uid("report", source.instance, "another model") != first[1].instance
    # Worked out with the formula of annex B.2 and RFC 9562; must never change.
    assert derived_uid("report", "1.2.3", "0" * 64) == (
        "2.25.56183056305199678202349321215900073704"
    )


def test_an_adjusted_image_has_results_of_its_own(make_image, predictor):
    data = make_image(seed=1001, pneumonia=True)
    radiograph = read_radiograph(data)
    source = read_source(data)

    def results_of(radiograph, **options):
        prediction = predictor.predict(radiograph, explain="gradcam")
        return dicom_results(prediction, radiograph, source, predictor.bundle, MOMENT, **options)

    plain = results_of(radiograph)
    mirrored = results_of(adjust(radiograph, Adjustment(mirrored=True)))
    inverted = results_of(adjust(radiograph, Adjustment(inverted=True)))
    window = results_of(radiograph, window=1)
    reports = [files[-1] for files in (plain, mirrored, inverted, window)]
    assert len({report.instance for report in reports}) == 4
    assert len({report.series for report in reports}) == 1
    assert results_of(radiograph)[-1].instance == plain[-1].instance

    assert mirrored[0].kind == plain[0].kind == "capture"
    assert not parsed(mirrored[0]).PatientOrientation
    assert list(parsed(plain[0]).PatientOrientation) == ["L", "F"]
    comments = contents(parsed(mirrored[-1]))["121106", "DCM"]
    assert any("mirrored left to right" in text for text in comments)
    comments = contents(parsed(window[-1]))["121106", "DCM"]
    assert "The image was read with its window 2." in comments


def test_the_report_of_a_refused_image_states_its_adjustment(make_image, predictor):
    noise = np.random.default_rng(0).integers(0, 255, (224, 224)).astype(np.uint8)
    data = make_image(pixels=noise)
    radiograph = adjust(read_radiograph(data), Adjustment(quarter_turns=1))
    prediction = predictor.predict(radiograph)
    assert prediction.verdict == "REFUSED"
    (report,) = dicom_results(prediction, radiograph, read_source(data), predictor.bundle, MOMENT)
    assert prediction.adjustment in contents(parsed(report))["121106", "DCM"]


def test_a_changed_calibration_gives_other_uids(predictor):
    bundle = predictor.bundle
    config = {**bundle.config, "calibration": {**bundle.config["calibration"], "prior": 0.4}}
    assert model_hash(replace(bundle, config=config)) != model_hash(bundle)


def test_dciodvfy_finds_no_error(results, make_image, predictor, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    noise = np.random.default_rng(0).integers(0, 255, (224, 224)).astype(np.uint8)
    lossy = make_image(
        LossyImageCompression="01",
        LossyImageCompressionRatio="12.5",
        LossyImageCompressionMethod="ISO_10918_1",
        PatientOrientation=None,
        ViewPosition=None,
    )
    sparse = make_image(PatientName="", PatientSex="", AccessionNumber="", StudyID=None)
    files = [
        *results[1:],
        make_results(make_image(pixels=noise), predictor)[1],
        *make_results(lossy, predictor)[1:],
        *make_results(sparse, predictor, reasons=("One.",), gate="caution")[1:],
        make_results(make_image(), predictor, verdict="UNCERTAIN", unlike=True)[1],
    ]
    for number, file in enumerate(files):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(file.data)
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        lines = done.stderr.splitlines()
        assert {"report": "ComprehensiveSR", "capture": "SCImage"}[file.kind] in lines
        assert [line for line in lines if line.startswith("Error")] == []
        # dciodvfy cannot know a private scheme, and notes what the image itself has no value for.
        known = (f"<{SCHEME}>", "needed to build DICOMDIR")
        warnings = [line for line in lines if line.startswith("Warning")]
        assert [line for line in warnings if not any(text in line for text in known)] == []


def test_highdicom_reads_the_report_back(results, predictor):
    prediction, report, _ = results
    document = highdicom.sr.srread(io.BytesIO(report.data))
    assert isinstance(document, highdicom.sr.ComprehensiveSR)
    (group,) = document.content.get_image_measurement_groups()
    assert group.tracking_identifier == "Image"
    values = {one.name.value: one.value for one in group.get_measurements()}
    assert values["103815-7"] == pytest.approx(prediction.probability, abs=5e-5)
    evaluations = {
        one.name.meaning: one.value.meaning for one in group.get_qualitative_evaluations()
    }
    assert evaluations["Pneumonia"] == "Suspected"
    (image,) = group.source_images
    assert image.referenced_sop_instance_uid == "1.2.826.0.1.3680043.8.498.1.1.1"
    ((study, series, instance, _),) = document.get_evidence()
    assert (study, series, instance) == tuple(
        f"1.2.826.0.1.3680043.8.498.1{end}" for end in ("", ".1", ".1.1")
    )


def test_the_capture_shows_the_image_and_the_result_below_it(results):
    _, _, capture = results
    dataset = parsed(capture)
    shown = highdicom.imread(io.BytesIO(capture.data)).pixel_array
    assert shown.shape == (dataset.Rows, dataset.Columns, 3)
    assert dataset.Columns == 640
    assert dataset.ImageType == ["DERIVED", "SECONDARY", "OTHER"]
    assert shown.shape[0] > 640 + 100  # heading above and text below the image of 640 x 640


def test_no_text_covers_the_image(predictor, image):
    """Where the map is zero, the picture contains the image unchanged."""
    pixels = image(0, False, 640, 640).astype(np.float32)
    prediction = replace(
        predictor.predict(read_radiograph_of(pixels)), heatmap=np.zeros((640, 640), np.float32)
    )
    drawn = draw_capture(prediction, pixels, "Heading")
    top = next(
        row
        for row in range(200)
        if np.array_equal(drawn[row : row + 640, :, 0], pixels.astype(np.uint8))
    )
    assert drawn[:top].any()
    assert drawn[top + 640 :].any()
    hot = np.zeros((640, 640), np.float32)
    hot[100:200, 100:200] = 1
    coloured = draw_capture(replace(prediction, heatmap=hot), pixels, "Heading")
    different = (coloured != drawn).any(axis=2)
    rows, columns = np.nonzero(different)
    assert (rows.min(), rows.max()) == (top + 100, top + 199)
    assert (columns.min(), columns.max()) == (100, 199)


def read_radiograph_of(pixels):
    from xray_core import Radiograph

    return Radiograph(pixels, pixels.shape)


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (3000, 2500), (1, 1)])
def test_a_capture_of_any_shape_has_room_for_its_text(predictor, image, shape):
    prediction = predictor.predict(read_radiograph_of(image().astype(np.float32)))
    pixels = np.full(shape, 90, np.float32)
    drawn = draw_capture(
        replace(prediction, heatmap=np.zeros(shape, np.float32)), pixels, "Heading"
    )
    assert 320 <= drawn.shape[1] <= 1024
    assert drawn.shape[0] < 2000


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({}, None),
        ({"BodyPartExamined": None, "ViewPosition": None}, None),
        ({"BodyPartExamined": "HAND"}, "this is not a chest (body part HAND)"),
        ({"ViewPosition": "LL"}, "this is a lateral view"),
        ({"Modality": "CT"}, "this is not an X-ray (modality CT)"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw detector data"),
    ],
)
def test_the_header_tells_what_is_no_frontal_chest_x_ray(make_image, elements, reason):
    reasons = exclusions(make_image(**elements))
    assert len(reasons) == (reason is not None)
    assert reason is None or reason in reasons[0]


def test_a_damaged_header_excludes_nothing_and_gives_no_source(make_image):
    data = make_image()[:300]
    assert exclusions(data) == []
    with pytest.raises(UnreadableImage):
        read_source(data)


@pytest.mark.parametrize("uid", ["", "text", "1.2.3 4"])
def test_an_image_without_valid_uids_gets_no_result(make_image, uid):
    with pytest.raises(UnreadableImage, match="no valid UIDs"):
        read_source(make_image(StudyInstanceUID=uid))


def test_every_private_code_has_a_lower_case_value_and_a_meaning():
    assert all(
        code == code.lower() and len(code) <= 64 and meaning for code, meaning in CODES.items()
    )


@pytest.mark.parametrize(
    "elements",
    [
        {"SOPClassUID": "1.2.3"},
        {"InstanceNumber": None},
        {"InstanceNumber": -3},
        {"PatientOrientation": "L"},
        {"PatientOrientation": ["", ""]},
        {"PatientOrientation": ["X", "Y"]},
        {"StudyInstanceUID": "1.02.003"},
        {"BurnedInAnnotation": "MAYBE"},
        {"LossyImageCompression": "01"},
        {"StudyDate": "", "StudyTime": ""},
        {"PatientBirthDate": "19991231"},
        {"ReferringPhysicianName": None},
    ],
)
def test_an_unusual_header_gives_results_all_the_same(make_image, predictor, elements):
    _, report, capture = make_results(make_image(**elements), predictor)
    assert parsed(report).Modality == "SR"
    assert parsed(capture).Modality == "OT"
    (study,) = parsed(report).CurrentRequestedProcedureEvidenceSequence
    (reference,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert reference.ReferencedSOPClassUID == elements.get(
        "SOPClassUID", "1.2.840.10008.5.1.4.1.1.1"
    )
    for keyword in ("StudyInstanceUID", "StudyDate", "PatientBirthDate"):
        if keyword in elements:
            assert parsed(report)[keyword].value == elements[keyword]


def test_what_highdicom_refuses_is_one_sentence(make_image, predictor, monkeypatch):
    from xray_core.errors import PacsError
    from xray_core.pacs import analysis
    from xray_core.pacs.search import ImageReference

    def refuse(*arguments):
        raise ValueError(f"Patient name {NAME} is invalid.")

    monkeypatch.setattr(analysis, "dicom_results", refuse)
    source = read_source(make_image())
    image = ImageReference(source.study, source.series, source.instance)
    prediction = predictor.predict(make_image())
    with pytest.raises(PacsError, match=r"could not be written as DICOM.$") as caught:
        analysis.make_results(prediction, read_radiograph(make_image()), source, predictor)
    assert caught.value.__context__ is None
    result = analysis.analyse_image(make_image(), predictor, image, make_files=True)
    assert result.prediction.verdict == prediction.verdict
    assert (result.files, result.problem) == ((), str(caught.value))
    other = image._replace(instance="1.2.3")
    result = analysis.analyse_image(make_image(), predictor, other, make_files=True)
    assert (result.prediction, result.skipped) == (None, (ANOTHER_IMAGE,))
