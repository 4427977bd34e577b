import io
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from xray_core.evaluation.verdicts import verdict_rates
from xray_core.imaging.adjustment import Adjustment
from xray_core.imaging.pixels import adjust
from xray_core.imaging.radiograph import Radiograph, read_radiograph
from xray_core.prediction import wording
from xray_core.prediction.report_pdf import Overlay, report_pdf

pypdf = pytest.importorskip("pypdf")
DAY = date(2026, 3, 4)


def words(pdf):
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert len(reader.pages) == 1
    return " ".join(reader.pages[0].extract_text().split())


def grey(radiograph):
    return np.rint(radiograph.pixels).astype(np.uint8)


def images(pdf):
    return [image.image for image in pypdf.PdfReader(io.BytesIO(pdf)).pages[0].images]


@pytest.fixture(scope="module")
def pneumonia(predictor, image_png):
    data = image_png(2001, True)
    return predictor.predict(data, explain="layercam"), grey(read_radiograph(data))


@pytest.fixture(scope="module")
def rates(predictor):
    return verdict_rates(predictor.bundle.predictions())


def blue(legend=("low", "high"), colours=None):
    """An overlay that is all blue."""
    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[..., 2] = 200
    return Overlay(pixels, legend, colours)


def test_the_report_has_the_sentences_of_the_prediction(predictor, pneumonia, rates):
    prediction = replace(pneumonia[0], reasons=("One caution.", "Another caution."))
    text = words(
        report_pdf(prediction, pneumonia[1], predictor.bundle, rates=rates, created_on=DAY)
    )
    for sentence in (prediction.shown_as, prediction.sentence, *prediction.reasons):
        assert sentence in text
    assert f"this image: {wording.percent(prediction.probability)}" in text
    assert "2026-03-04" in text
    assert f"micro, version {predictor.bundle.version}" in text
    assert "not a medical device" in text
    assert "Map (Layer-CAM)" in text
    assert "most similar training images" in text


def test_the_accuracy_is_shown_where_it_applies(predictor, pneumonia, rates):
    plain = replace(pneumonia[0], accuracy_applies=True)
    text = words(report_pdf(plain, pneumonia[1], predictor.bundle, rates=rates))
    assert "images with pneumonia: Pneumonia suspected" in text
    assert "95% intervals by patient" in text
    unlike = replace(plain, accuracy_applies=False)
    text = words(report_pdf(unlike, pneumonia[1], predictor.bundle, rates=rates))
    assert wording.ACCURACY_DOES_NOT_APPLY in text
    assert "images with pneumonia: Pneumonia suspected" not in text


def test_the_marks_of_the_scale_are_labelled(predictor, pneumonia):
    text = words(report_pdf(*pneumonia, predictor.bundle))
    calibration = predictor.bundle.calibration
    low, high = calibration.uncertain
    assert "decision threshold 50%" in text
    assert f"exclusion threshold {wording.share(calibration.exclusion_threshold)}" in text
    assert f"indeterminate {low:.0%} to {high:.0%}" in text


def test_the_exclusion_threshold_is_described_in_counts(predictor, pneumonia):
    counts = {"true_positive": 90, "false_positive": 4, "false_negative": 3, "true_negative": 40}
    evaluated = {"exclusion_threshold": {"confusion": counts}}
    metrics = {"validation": evaluated, "test": {}}
    bundle = replace(predictor.bundle, config={**predictor.bundle.config, "metrics": metrics})
    text = words(report_pdf(*pneumonia, bundle))
    assert "Validation set: 3 of the 43 images below it had pneumonia (93 of all 137)." in text


def test_the_post_test_probability_is_shown_if_requested(predictor, pneumonia):
    assert "Post-test" not in words(report_pdf(*pneumonia, predictor.bundle))
    even = replace(pneumonia[0], probability=0.9)
    text = words(report_pdf(even, pneumonia[1], predictor.bundle, pre_test=0.1))
    assert "Post-test probability 50% at a pre-test probability of 10%." in text


def test_image_map_and_legend_are_in_the_report(predictor, pneumonia, image):
    plain, shown = images(report_pdf(*pneumonia, predictor.bundle, overlay=blue(("An outline.",))))
    assert np.array_equal(np.asarray(plain.convert("L")), image(2001, True))
    assert np.array_equal(np.asarray(shown.convert("RGB")), blue().pixels)
    assert "An outline." in words(
        report_pdf(*pneumonia, predictor.bundle, overlay=blue(("An outline.",)))
    )


def test_a_colour_scale_is_drawn_between_low_and_high(predictor, pneumonia):
    colours = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    pdf = report_pdf(*pneumonia, predictor.bundle, overlay=blue(("weakest", "strongest"), colours))
    scale = images(pdf)[2]
    assert scale.size == (256, 1)
    assert np.array_equal(np.asarray(scale.convert("RGB"))[0], colours)
    assert "weakest strongest" in words(pdf)


def test_the_report_names_its_image_and_the_correction(predictor, image):
    rotated = Radiograph(np.rot90(image(2001, True)).astype(np.float32), (224, 224))
    changed = adjust(rotated, Adjustment(1, False))
    prediction = predictor.predict(changed, explain="gradcam")
    text = words(report_pdf(prediction, grey(changed), predictor.bundle, title="Image 7"))
    assert "Image 7" in text
    assert "The image was rotated by 90 degrees clockwise before the analysis." in text


def test_a_large_image_is_reduced_and_keeps_its_aspect(predictor, pneumonia, image_png):
    large = read_radiograph(image_png(1, height=1500, width=3000))
    (drawn,) = images(report_pdf(pneumonia[0], grey(large), predictor.bundle))
    assert drawn.size == (1000, 500)


@pytest.mark.parametrize("explain", [None, "gradcam"])
def test_a_refused_image_has_its_reason_and_no_probability(predictor, explain):
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 1), np.uint8)
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(noise[:, :, 0]).save(data, "PNG")
    prediction = predictor.predict(data.getvalue(), explain=explain)
    assert prediction.verdict == "REFUSED"
    radiograph = read_radiograph(data.getvalue())
    text = words(report_pdf(prediction, grey(radiograph), predictor.bundle, pre_test=0.2))
    assert "Not analysed" in text
    assert text.count(prediction.reasons[0]) == 1
    assert "this image:" not in text
    assert "Post-test" not in text


@pytest.mark.parametrize("probability", [0.0, 0.002, 0.13, 0.5, 0.998, 1.0])
@pytest.mark.parametrize("exclusion_threshold", [0.01, 0.13, 0.45, 0.5])
def test_no_label_of_the_scale_leaves_the_page_or_hides_another(
    predictor, pneumonia, probability, exclusion_threshold, monkeypatch
):
    from reportlab.pdfbase.pdfmetrics import stringWidth
    from reportlab.pdfgen.canvas import Canvas

    drawn = []

    def noted(place):
        original = getattr(Canvas, place)

        def draw(self, x, y, text, *rest, **options):
            wide = stringWidth(text, self._fontname, self._fontsize)
            left = (
                x - {"drawString": 0, "drawRightString": 1, "drawCentredString": 0.5}[place] * wide
            )
            drawn.append((left, left + wide, y, text))
            return original(self, x, y, text, *rest, **options)

        monkeypatch.setattr(Canvas, place, draw)

    for place in ("drawString", "drawRightString", "drawCentredString"):
        noted(place)
    config = {**predictor.bundle.config}
    config["calibration"] = {**config["calibration"], "exclusion_threshold": exclusion_threshold}
    bundle = type(predictor.bundle)(predictor.bundle.folder, config)
    report_pdf(replace(pneumonia[0], probability=probability), pneumonia[1], bundle)
    labels = [label for label in drawn if label[3].strip()]
    assert len(labels) >= 6
    for left, right, y, text in labels:
        assert left >= 0, text
        assert right <= 595, text
        for other_left, other_right, other_y, other in labels:
            if other != text and abs(other_y - y) < 7:
                assert right <= other_left or other_right <= left, (text, other)


def test_no_file_name_unless_passed(predictor, pneumonia):
    assert "ward" not in words(report_pdf(*pneumonia, predictor.bundle))
    named = words(report_pdf(*pneumonia, predictor.bundle, file_name="ward <7>.png"))
    assert "ward <7>.png" in named


@pytest.mark.parametrize("name", ["x" * 400 + ".png", "\u80ba\n\x00.png", "<b>&amp;"])
def test_any_file_name_leaves_one_page(predictor, pneumonia, name):
    assert words(report_pdf(*pneumonia, predictor.bundle, file_name=name))


def test_equal_results_give_equal_files_without_identity(predictor, pneumonia):
    first, second = (report_pdf(*pneumonia, predictor.bundle, created_on=DAY) for _ in range(2))
    assert first == second
    meta = pypdf.PdfReader(io.BytesIO(first)).metadata
    assert meta.author in ("", "anonymous", None)
    assert meta["/CreationDate"].startswith("D:2000")


def test_many_cautions_still_fit_one_page(predictor, pneumonia, rates):
    long = replace(pneumonia[0], reasons=(wording.UNLIKE_TRAINING,) * 30)
    text = words(report_pdf(long, pneumonia[1], predictor.bundle, rates=rates, overlay=blue()))
    assert text.count("The model is less reliable on such images.") == 30


def test_a_refused_image_names_its_adjustment(predictor, image):
    upright = Radiograph(image(2001, True).astype(np.float32), (224, 224))
    changed = adjust(upright, Adjustment(quarter_turns=2))
    prediction = predictor.predict(changed)
    assert prediction.verdict == "REFUSED"
    text = words(report_pdf(prediction, grey(changed), predictor.bundle))
    assert "The image was rotated by 180 degrees before the analysis." in text
