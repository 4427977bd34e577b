"""A prediction on one page of paper (PDF, A4).

It says what the page and the tables say of the image. It names no patient and no file, unless a
file name is passed. Its metadata hold no date, user or machine, so that equal results give equal
files.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_core.imaging.radiograph import Radiograph
from xray_core.labels import NORMAL, PNEUMONIA, SHOWN_AS, UNCERTAIN
from xray_core.model.bundle import Bundle
from xray_core.model.calibration import Calibration
from xray_core.prediction import wording
from xray_core.prediction.explain import METHOD_NAMES
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

LARGEST_SIDE = 1000
"""Pixels; more would not show at the size of print."""

NO_RATES: Mapping[str, Mapping[str, wording.Rate]] = {}

MARGIN = 48.0  # all lengths in points, 1/72 inch
GAP = 12.0
PICTURES_HEIGHT = 250.0
FOOT = MARGIN + 34.0
INK, PALE, BAND = "#1a1a1a", "#5a5a5a", "#d9d9d9"


@dataclass(frozen=True)
class MapPicture:
    """An image with its map as shown: `pixels` RGB uint8 (H, W, 3), and what its colours mean.

    `colours` uint8 (256, 3) go from low to high and stand between the two texts of `legend`; None
    where lines are drawn, which the one text of `legend` explains.
    """

    pixels: NDArray[np.uint8]
    legend: tuple[str, ...]
    colours: NDArray[np.uint8] | None = None


def report_pdf(
    prediction: Prediction,
    radiograph: Radiograph,
    bundle: Bundle,
    *,
    title: str = "",
    picture: MapPicture | None = None,
    rates: Mapping[str, Mapping[str, wording.Rate]] = NO_RATES,
    pre_test: float | None = None,
    file_name: str | None = None,
    made_on: date | None = None,
) -> bytes:
    """Return a one-page PDF: result, probability on its scale, cautions, image, map, model.

    Parameters
    ----------
    prediction, radiograph, bundle
        The result, the image it is of, and the model that gave it. The image keeps its aspect ratio
        and is reduced to at most 1000 pixels a side.
    title
        Which image it is, "Image 3", say.
    picture
        The image with its map; without it the PDF has no map.
    rates
        The accuracy on test images, by label and verdict, as
        `xray_core.evaluation.verdicts.verdict_rates` gives it; shown where it applies to the image.
    pre_test
        The pre-test probability in (0, 1) that was set, for the post-test probability.
    made_on
        Today unless given.
    """
    from reportlab import rl_config
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    rl_config.useA85 = 0  # pictures as letters, in Python, would take most of the time
    page = io.BytesIO()
    canvas = Canvas(page, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle("Chest X-ray pneumonia demo: report")
    canvas.setAuthor("")
    canvas.setCreator("xray_core")
    width, height = A4
    inner = width - 2 * MARGIN

    top = height - MARGIN
    day = (made_on or date.today()).isoformat()
    heading = ["Chest X-ray pneumonia demo", day, title, _printable(file_name or "")]
    heading_text = " · ".join(part for part in heading if part)
    top = _text(canvas, heading_text, top, inner, size=9, colour=PALE)
    top = _text(canvas, prediction.shown_as, top - 4, inner, size=22, bold=True)
    said = prediction.sentence or " ".join(prediction.reasons)
    top = _text(canvas, said, top - 4, inner, size=10.5)
    if prediction.probability is not None:
        top = _scale(canvas, prediction.probability, bundle.calibration, top - 4, inner)
        after = None if pre_test is None else prediction.post_test(pre_test)
        if pre_test is not None and after is not None:
            top = _text(canvas, wording.post_test(after, pre_test), top, inner, size=10.5)
    top = _pictures(canvas, radiograph, picture, top - GAP, inner)
    _text(canvas, wording.DISCLAIMER, FOOT, inner, size=9, bold=True)
    _words(canvas, prediction, bundle, rates, top - GAP, FOOT + GAP, inner)
    canvas.showPage()
    canvas.save()
    return page.getvalue()


def _words(
    canvas: "Canvas",
    prediction: Prediction,
    bundle: Bundle,
    rates: Mapping[str, Mapping[str, wording.Rate]],
    top: float,
    bottom: float,
    width: float,
) -> None:
    """Draw cautions, what the map shows and the model's numbers, shrunk if there is much of it."""
    from reportlab.platypus import Frame, KeepInFrame, Paragraph

    style, strong = _style(9.5), _style(10.5, bold=True)
    flow: list[Paragraph] = []

    def section(heading: str, *texts: str) -> None:
        flow.append(Paragraph(heading, strong))
        flow.extend(Paragraph(escape(text), style) for text in texts)

    if prediction.probability is not None and prediction.reasons:
        section("Cautions", *(f"• {reason}" for reason in prediction.reasons))
    if prediction.map_note:
        method = METHOD_NAMES.get(prediction.method or "", "")
        section(f"Map ({method})", prediction.map_note)
    if prediction.neighbours is not None:
        section("Most similar training images", wording.nearest_images(prediction.neighbours))
    section("Model and performance", _model_words(bundle))
    if prediction.probability is not None and not prediction.accuracy_applies:
        section("Accuracy on the test set", wording.ACCURACY_DOES_NOT_APPLY)
    elif prediction.accuracy_applies and rates:
        section("Accuracy on the test set", *wording.accuracy(rates), wording.TEST_SET)
    frame = Frame(MARGIN, bottom, width, top - bottom, 0, 0, 0, 0)
    frame.addFromList([KeepInFrame(width, top - bottom, flow, mode="shrink")], canvas)


def _model_words(bundle: Bundle) -> str:
    calibration = bundle.calibration
    low, high = calibration.uncertain
    words = (
        f"{bundle.name}, version {bundle.version}. The probability assumes a pre-test probability "
        f"of {calibration.prior:.0%}. Above {high:.0%}: {SHOWN_AS[PNEUMONIA]}; below "
        f"{low:.0%}: {SHOWN_AS[NORMAL]}; between them: {SHOWN_AS[UNCERTAIN]}. "
    )
    return words + wording.exclusion_threshold(calibration, bundle.config)


def _scale(
    canvas: "Canvas", probability: float, calibration: Calibration, top: float, width: float
) -> float:
    """Draw 0 to 100% with the band, the thresholds and the image's mark, each with its label."""
    low, high = calibration.uncertain
    start, long = MARGIN + 24, width - 54  # room for 0% and 100% at the ends
    bar, thick = top - 34, 9.0

    def place(share: float) -> float:
        return start + share * long

    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(INK)
    canvas.drawRightString(start - 4, bar + 1.5, "0%")
    canvas.drawString(start + long + 4, bar + 1.5, "100%")
    canvas.setStrokeColor(PALE)
    canvas.setFillColor("#ffffff")
    canvas.rect(start, bar, long, thick, fill=1)
    canvas.setFillColor(BAND)
    canvas.rect(place(low), bar, (high - low) * long, thick, fill=1, stroke=0)
    canvas.setFillColor(INK)
    canvas.setStrokeColor(INK)

    main = f"decision threshold {wording.share(calibration.decision_threshold)}"
    exclusion = f"exclusion threshold {wording.share(calibration.exclusion_threshold)}"
    for point in (calibration.decision_threshold, calibration.exclusion_threshold):
        canvas.line(place(point), bar - 10, place(point), bar + thick + 3)
    canvas.drawString(place(calibration.decision_threshold) + 3, bar - 10, main)
    wide = canvas.stringWidth(exclusion, "Helvetica", 8)
    if (
        place(calibration.exclusion_threshold) + 3 + wide
        < place(calibration.decision_threshold) - 3
    ):
        canvas.drawString(place(calibration.exclusion_threshold) + 3, bar - 10, exclusion)
    else:
        canvas.drawRightString(place(calibration.exclusion_threshold) - 3, bar - 10, exclusion)
    canvas.setStrokeColor(PALE)
    canvas.line(place(low), bar - 14, place(high), bar - 14)
    band = f"{SHOWN_AS[UNCERTAIN].lower()} {low:.0%} to {high:.0%}"
    canvas.drawCentredString(place((low + high) / 2), bar - 23, band)

    x = place(probability)
    mark = canvas.beginPath()
    mark.moveTo(x, bar + thick + 1)
    mark.lineTo(x - 6, bar + thick + 11)
    mark.lineTo(x + 6, bar + thick + 11)
    mark.close()
    canvas.drawPath(mark, fill=1, stroke=0)
    label = f"this image: {wording.percent(probability)}"
    canvas.setFont("Helvetica-Bold", 9)
    half = canvas.stringWidth(label, "Helvetica-Bold", 9) / 2
    centre = min(max(x, MARGIN + half), MARGIN + width - half)
    canvas.drawCentredString(centre, bar + thick + 14, label)
    return bar - 28


def _pictures(
    canvas: "Canvas",
    radiograph: Radiograph,
    picture: MapPicture | None,
    top: float,
    width: float,
) -> float:
    """Draw the image on the left and, where there is a map, image and map with legend right."""
    from reportlab.lib.utils import ImageReader

    image = Image.fromarray(np.rint(radiograph.pixels).astype(np.uint8))
    pictures = [image]
    if picture is not None:
        pictures.append(Image.fromarray(picture.pixels))
    slot = (width - GAP) / 2
    scale = min(slot / image.width, PICTURES_HEIGHT / image.height)
    wide, high = image.width * scale, image.height * scale
    for number, shown in enumerate(pictures):
        shown.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        canvas.drawImage(ImageReader(shown), MARGIN + number * (slot + GAP), top - high, wide, high)
    if picture is None:
        return top - high
    _legend(canvas, picture, MARGIN + slot + GAP, top - high - 11)
    return top - high - 13


def _legend(canvas: "Canvas", picture: MapPicture, left: float, base: float) -> None:
    """Draw what the map's colours or lines mean, from `left` on the baseline `base`."""
    from reportlab.lib.utils import ImageReader

    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(INK)
    canvas.drawString(left, base, picture.legend[0])
    if picture.colours is None:
        return
    left += canvas.stringWidth(picture.legend[0], "Helvetica", 8) + 4
    bar = Image.fromarray(picture.colours[np.newaxis])  # (1, 256, 3)
    canvas.drawImage(ImageReader(bar), left, base - 1, 90, 8)
    canvas.drawString(left + 94, base, picture.legend[1])


def _text(
    canvas: "Canvas",
    text: str,
    top: float,
    width: float,
    *,
    size: float,
    bold: bool = False,
    colour: str = INK,
) -> float:
    """Draw a paragraph below `top` and return where it ends."""
    from reportlab.platypus import Paragraph

    paragraph = Paragraph(escape(text), _style(size, bold=bold, colour=colour))
    _, high = paragraph.wrap(width, PICTURES_HEIGHT)
    paragraph.drawOn(canvas, MARGIN, top - high)
    return top - high


def _style(size: float, *, bold: bool = False, colour: str = INK):  # type: ignore[no-untyped-def]
    from reportlab.lib.styles import ParagraphStyle

    return ParagraphStyle(
        "text",
        fontName="Helvetica-Bold" if bold else "Helvetica",
        fontSize=size,
        leading=size * 1.25,
        textColor=colour,
        spaceBefore=5 if bold else 1,
    )


def _printable(name: str) -> str:
    """Return a name as the PDF's own letters can show it, and no longer than a line."""
    shown = "".join(c if c.isprintable() else "?" for c in name)
    shown = shown.encode("latin-1", "replace").decode("latin-1")
    return shown if len(shown) <= 60 else f"{shown[:40]}...{shown[-17:]}"
