import io
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from xray_core.images import read_radiograph
from xray_core.prediction import wording
from xray_core.prediction.report import report_pdf

pypdf = pytest.importorskip("pypdf")
DAY = date(2026, 3, 4)


def words(pdf):
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert len(reader.pages) == 1
    return " ".join(reader.pages[0].extract_text().split())


def pictures(pdf):
    return [image.image for image in pypdf.PdfReader(io.BytesIO(pdf)).pages[0].images]


@pytest.fixture(scope="module")
def sick(predictor, film_png):
    data = film_png(2001, True)
    return predictor.predict(data, explain="layercam"), read_radiograph(data)


def test_the_page_holds_the_answer_the_model_and_the_disclaimer(predictor, sick):
    text = words(report_pdf(*sick, predictor.bundle, made_on=DAY))
    assert "Signs of pneumonia" in text
    assert f"Probability of pneumonia: {sick[0].probability:.0%}" in text or "above 99%" in text
    assert "2026-03-04" in text
    assert f"micro, version {predictor.bundle.version}" in text
    assert "Of 100 films with pneumonia in the test set it calls" in text
    assert "not a medical device" in text
    assert "Layer-CAM" in text
    assert "training films most like this one" in text
    for reason in sick[0].reasons:
        assert reason in text


def test_film_and_overlay_are_on_the_page(predictor, sick, film):
    plain, overlay = pictures(report_pdf(*sick, predictor.bundle))
    assert np.array_equal(np.asarray(plain.convert("L")), film(2001, True))
    assert plain.size == overlay.size == (224, 224)
    red, _, blue = overlay.convert("RGB").split()
    assert np.asarray(red, int).mean() > np.asarray(blue, int).mean() + 5


def test_the_page_s_own_overlay_is_used_where_one_is_passed(predictor, sick):
    mine = np.zeros((224, 224, 3), np.uint8)
    mine[..., 2] = 200
    _, overlay = pictures(report_pdf(*sick, predictor.bundle, overlay=mine))
    assert np.array_equal(np.asarray(overlay.convert("RGB")), mine)


def test_a_large_film_is_reduced_and_keeps_its_aspect(predictor, sick, film_png):
    large = read_radiograph(film_png(1, height=1500, width=3000))
    prediction = replace(sick[0], heatmap=None)
    (picture,) = pictures(report_pdf(prediction, large, predictor.bundle))
    assert picture.size == (1000, 500)


@pytest.mark.parametrize("explain", [None, "gradcam"])
def test_a_refused_film_has_its_reason_and_no_probability(predictor, explain):
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 1), np.uint8)
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(noise[:, :, 0]).save(data, "PNG")
    prediction = predictor.predict(data.getvalue(), explain=explain)
    assert prediction.verdict == "REFUSED"
    text = words(report_pdf(prediction, read_radiograph(data.getvalue()), predictor.bundle))
    assert "No answer for this picture" in text
    assert prediction.reasons[0] in text
    assert "Probability of pneumonia" not in text


def test_no_file_name_unless_passed(predictor, sick):
    assert "ward" not in words(report_pdf(*sick, predictor.bundle))
    named = words(report_pdf(*sick, predictor.bundle, file_name="ward <7>.png"))
    assert "ward <7>.png" in named


@pytest.mark.parametrize("name", ["x" * 400 + ".png", "\u80ba\n\x00.png", "<b>&amp;"])
def test_any_file_name_leaves_one_page(predictor, sick, name):
    assert words(report_pdf(*sick, predictor.bundle, file_name=name))


def test_equal_answers_give_equal_files_without_identity(predictor, sick):
    first, second = (report_pdf(*sick, predictor.bundle, made_on=DAY) for _ in range(2))
    assert first == second
    meta = pypdf.PdfReader(io.BytesIO(first)).metadata
    assert meta.author in ("", "anonymous", None)
    assert meta["/CreationDate"].startswith("D:2000")


def test_much_to_be_careful_about_still_fits_one_page(predictor, sick):
    long = replace(sick[0], reasons=(wording.UNLIKE_TRAINING,) * 30)
    text = words(report_pdf(long, sick[1], predictor.bundle))
    assert text.count("Trust the result less.") == 30
