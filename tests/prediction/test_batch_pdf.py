"""The report of several images: its summary, its pages, and what it keeps in memory."""

import io
import weakref
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from xray_core.evaluation.verdicts import verdict_rates
from xray_core.imaging.adjustment import Adjustment
from xray_core.imaging.pixels import adjust
from xray_core.imaging.radiograph import Radiograph, read_radiograph
from xray_core.labels import SHOWN_AS, SHOWN_AS_UNLIKE
from xray_core.prediction import wording
from xray_core.prediction.batch_pdf import BatchEntry, batch_report_pdf
from xray_core.prediction.report_pdf import NOT_SHOWN, Overlay, Pictures, report_pdf
from xray_core.prediction.result import Prediction

pypdf = pytest.importorskip("pypdf")
DAY = date(2026, 3, 4)
UNREADABLE_FILE = "The file is empty."


def pages(pdf):
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def grey(radiograph):
    return np.rint(radiograph.pixels).astype(np.uint8)


def entry(number, prediction, pixels=None, **known):
    pictures = None if pixels is None else Pictures(pixels)
    return BatchEntry(f"Image {number}", prediction, lambda: pictures, **known)


@pytest.fixture(scope="module")
def sick(predictor, image_png):
    data = image_png(2001, True)
    return predictor.predict(data), grey(read_radiograph(data))


@pytest.fixture(scope="module")
def each_kind(predictor, sick, image):
    """One image with each kind of result, the third an image unlike the training images."""
    prediction, pixels = sick
    upside_down = adjust(Radiograph(pixels.astype(np.float32), pixels.shape), Adjustment(2))
    refused = predictor.predict(upside_down)
    assert (prediction.verdict, refused.verdict) == ("PNEUMONIA", "REFUSED")
    unreadable = Prediction(None, "UNREADABLE", (UNREADABLE_FILE,), model=predictor.model)
    return [
        entry(1, replace(prediction, reasons=()), pixels),
        entry(2, replace(prediction, verdict="NORMAL", probability=0.03), pixels),
        entry(3, replace(prediction, verdict="UNCERTAIN", probability=0.5, unlike=True), pixels),
        entry(4, refused, grey(upside_down)),
        entry(5, unreadable),
    ]


def test_the_summary_counts_and_lists_every_kind_of_result(predictor, each_kind):
    summary, *others = pages(batch_report_pdf(each_kind, predictor.bundle, created_on=DAY))
    assert len(others) == 5
    assert "2026-03-04" in summary
    assert "Results of 5 images" in summary
    for shown_as, count in (
        (SHOWN_AS["PNEUMONIA"], 1),
        (SHOWN_AS["NORMAL"], 1),
        (SHOWN_AS["UNCERTAIN"], 0),
        (SHOWN_AS["REFUSED"], 1),
        (SHOWN_AS["UNREADABLE"], 1),
        (SHOWN_AS_UNLIKE, 1),
    ):
        assert f"{shown_as}: {count}" in summary
    table = summary.split("Page Image 1 ")[1]
    for number, (text, shown) in enumerate(zip(each_kind, others, strict=True), start=1):
        assert f"Image {number}" in shown
        assert f"Page {number + 1} of 6" in shown
        assert text.prediction.shown_as in shown
    assert "Image 2 No pneumonia detected 3%" in table
    assert "50% (ranking only)" in table
    assert f"Image 5 Unreadable {UNREADABLE_FILE} 6" in table
    assert "not a medical device" in summary
    assert f"micro, version {predictor.bundle.version}" in summary


def test_the_page_of_an_image_is_its_own_report(predictor, sick):
    prediction, pixels = sick
    rates = verdict_rates(predictor.bundle.predictions())
    known = {"rates": rates, "pre_test": 0.2, "created_on": DAY}
    alone = pages(report_pdf(prediction, pixels, predictor.bundle, title="Image 1", **known))[0]
    page = pages(batch_report_pdf([entry(1, prediction, pixels)], predictor.bundle, **known))[1]
    assert page == f"{alone} Page 2 of 2"


def test_the_post_test_probability_is_in_the_summary_if_requested(predictor, sick):
    even = [entry(1, replace(sick[0], probability=0.9), sick[1])]
    summary = pages(batch_report_pdf(even, predictor.bundle, pre_test=0.1))[0]
    assert "90%; post-test 50%" in summary
    assert "Post-test probabilities are at a pre-test probability of 10%." in summary
    assert "post-test" not in pages(batch_report_pdf(even, predictor.bundle))[0].lower()


def test_the_summary_gives_the_first_caution_and_the_number_of_others(predictor, sick):
    several = replace(sick[0], reasons=(wording.TOO_SURE, "Another caution.", "A third."))
    summary, page = pages(batch_report_pdf([entry(1, several, sick[1])], predictor.bundle))
    assert f"{wording.TOO_SURE} (and 2 more)" in summary
    assert "Another caution." not in summary
    assert "Another caution." in page


def test_a_refused_image_names_its_adjustment(predictor, each_kind):
    page = pages(batch_report_pdf(each_kind, predictor.bundle))[4]
    assert "The image was rotated by 180 degrees before the analysis." in page
    assert each_kind[3].prediction.reasons[0] in page
    assert "this image:" not in page


def test_an_image_that_was_not_kept_has_a_page_with_its_result(predictor, sick):
    page = pages(batch_report_pdf([entry(1, sick[0])], predictor.bundle))[1]
    assert NOT_SHOWN in page
    assert sick[0].sentence in page
    unreadable = Prediction(None, "UNREADABLE", (UNREADABLE_FILE,), model=predictor.model)
    assert NOT_SHOWN not in pages(batch_report_pdf([entry(1, unreadable)], predictor.bundle))[1]


def test_the_result_of_another_model_is_shown_without_thresholds(predictor, sick):
    other = replace(sick[0], model="other 2020-01-01 abc", accuracy_applies=True)
    rates = verdict_rates(predictor.bundle.predictions())
    page = pages(batch_report_pdf([entry(1, other, sick[1])], predictor.bundle, rates=rates))[1]
    assert "other 2020-01-01 abc" in page
    assert other.sentence in page
    assert "decision threshold" not in page
    assert "95% intervals by patient" not in page


def test_file_names_are_left_out_unless_passed(predictor, sick):
    named = entry(1, *sick, file_name="ward <7>\u80ba.png")
    for page in pages(batch_report_pdf([named], predictor.bundle)):
        assert "ward <7>?.png" in page
    assert not any(
        "ward" in p for p in pages(batch_report_pdf([entry(1, *sick)], predictor.bundle))
    )


def test_a_long_summary_is_split_and_its_rows_lead_to_their_pages(predictor, sick):
    prediction, pixels = sick
    long = replace(prediction, reasons=(wording.UNLIKE_TRAINING,))
    entries = [entry(n, long, pixels[::8, ::8]) for n in range(1, 61)]
    pdf = batch_report_pdf(entries, predictor.bundle, created_on=DAY)
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    text = pages(pdf)
    summaries = len(text) - 60
    assert summaries >= 2
    assert len(reader.outline) == 60
    links = [
        link.get_object() for page in reader.pages[:summaries] for link in page.get("/Annots", [])
    ]
    assert len(links) == 60
    for number, link in enumerate(links, start=1):
        page = reader.get_page_number(link["/Dest"][0].get_object())
        assert page == summaries + number - 1
        assert f"Image {number} " in text[page]
    for page in reader.pages[:summaries]:
        lowest = [annotation.get_object()["/Rect"][1] for annotation in page["/Annots"]]
        assert min(lowest) > 48 + 34  # above the disclaimer
    assert all("not a medical device" in page for page in text)


def test_equal_results_give_equal_files_without_identity(predictor, each_kind):
    first, second = (
        batch_report_pdf(each_kind, predictor.bundle, created_on=DAY) for _ in range(2)
    )
    assert first == second
    meta = pypdf.PdfReader(io.BytesIO(first)).metadata
    assert meta.author in ("", "anonymous", None)
    assert meta["/CreationDate"].startswith("D:2000")


def test_only_one_image_is_in_memory_at_a_time(predictor, sick):
    alive = []

    def load():
        assert [kept for kept in alive if kept() is not None] == []
        pixels = np.zeros((1200, 1000), np.uint8)
        overlay = np.zeros((1200, 1000, 3), np.uint8)
        alive.extend(map(weakref.ref, (pixels, overlay)))
        return Pictures(pixels, Overlay(overlay, ("Lines.",)))

    entries = [BatchEntry(f"Image {n}", sick[0], load) for n in range(6)]
    batch_report_pdf(entries, predictor.bundle)
    assert len(alive) == 12


def test_images_are_stored_as_jpeg(predictor, sick):
    texture = np.random.default_rng(0).normal(120, 12, (1000, 800)).clip(0, 255).astype(np.uint8)
    pdf = batch_report_pdf([entry(1, sick[0], texture)], predictor.bundle)
    (drawn,) = pypdf.PdfReader(io.BytesIO(pdf)).pages[1].images
    assert drawn.name.endswith(".jpg")
    difference = np.abs(np.asarray(drawn.image.convert("L"), float) - texture)
    assert difference.mean() < 5
    assert len(pdf) < len(report_pdf(sick[0], texture, predictor.bundle))


def test_a_report_of_no_image_has_its_summary(predictor):
    (summary,) = pages(batch_report_pdf([], predictor.bundle))
    assert "Results of 0 images" in summary
