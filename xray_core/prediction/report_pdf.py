"""The report of a prediction: a PDF of one A4 page. `batch_pdf` makes one of several images.

It has the same sentences as the page and the tables. It names no patient, and a file only if a file
name is passed. Its metadata hold no date, user or computer, so that equal results give equal files.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_core.labels import NORMAL, PNEUMONIA, SHOWN_AS, UNCERTAIN, UNREADABLE
from xray_core.model.bundle import Bundle
from xray_core.model.calibration import Calibration
from xray_core.prediction import wording
from xray_core.prediction.explain import METHOD_NAMES
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Paragraph

LARGEST_SIDE = 1000
"""Pixels; a higher resolution is not visible in print."""

JPEG_QUALITY = 90

NO_RATES: Mapping[str, Mapping[str, wording.Rate]] = {}
NOT_SHOWN = "The image is not shown, since it was not kept in memory."
HEADING = "Chest X-ray pneumonia demo"

PAGE_WIDTH, PAGE_HEIGHT = 595.28, 841.89  # A4; all lengths in points, 1/72 inch
MARGIN = 48.0
WIDTH = PAGE_WIDTH - 2 * MARGIN
GAP = 12.0
IMAGES_HEIGHT = 250.0
FOOT = MARGIN + 34.0
TEXT_COLOUR, PALE, BAND = "#1a1a1a", "#5a5a5a", "#d9d9d9"


@dataclass(frozen=True)
class Overlay:
    """An image with its map: `pixels`, RGB uint8 (H, W, 3), and the legend.

    `colours`, uint8 (256, 3) from low to high, are drawn between the two texts of `legend`. For
    outlines `colours` is None and `legend` is one text.
    """

    pixels: NDArray[np.uint8]
    legend: tuple[str, ...]
    colours: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Pictures:
    """What a report shows of an image.

    Attributes
    ----------
    pixels
        The image, uint8 (H, W) or (H, W, 3). Large sides are reduced; the aspect ratio is kept.
    overlay
        The image with its map, None for a report without one.
    lungs_outlined
        Whether both have the outline of the lungs, which is then explained.
    method, map_note
        Those of the prediction with this map, for a report of a prediction without one.
    """

    pixels: NDArray[np.uint8]
    overlay: Overlay | None = None
    lungs_outlined: bool = False
    method: str | None = None
    map_note: str | None = None


@dataclass(frozen=True)
class Context:
    """What the pages of a report have in common.

    `jpeg` stores the images with losses, in a fraction of the bytes; for the rest see `report_pdf`.
    """

    bundle: Bundle
    rates: Mapping[str, Mapping[str, wording.Rate]]
    pre_test: float | None
    created_on: date
    jpeg: bool = False

    @property
    def day(self) -> str:
        """The date of the report."""
        return self.created_on.isoformat()


def report_pdf(
    prediction: Prediction,
    pixels: NDArray[np.uint8],
    bundle: Bundle,
    *,
    title: str = "",
    overlay: Overlay | None = None,
    lungs_outlined: bool = False,
    rates: Mapping[str, Mapping[str, wording.Rate]] = NO_RATES,
    pre_test: float | None = None,
    file_name: str | None = None,
    created_on: date | None = None,
) -> bytes:
    """Return a one-page PDF: result, probability on its scale, cautions, image, map, model.

    Parameters
    ----------
    prediction
        The result.
    pixels, overlay, lungs_outlined
        The image and its map; see `Pictures`.
    bundle
        The model that gave the result.
    title
        Name of the image, such as "Image 3".
    rates
        Accuracy on the test images by label and verdict, from
        `xray_core.evaluation.verdicts.verdict_rates`; shown if it applies to the image.
    pre_test
        The pre-test probability in (0, 1), for the post-test probability.
    file_name
        Name of the file, None to leave it out.
    created_on
        Date of the report; today by default.
    """
    file = io.BytesIO()
    canvas = new_canvas(file)
    context = Context(bundle, rates, pre_test, created_on or date.today())
    names = (title, printable(file_name or ""))
    draw_page(canvas, prediction, Pictures(pixels, overlay, lungs_outlined), context, names)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def new_canvas(file: io.BytesIO) -> "Canvas":
    """Return a canvas of A4 pages without date, user or computer."""
    from reportlab import rl_config
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    rl_config.useA85 = 0  # text encoding of images, in Python, would take most of the time
    canvas = Canvas(file, pagesize=A4, invariant=1, pageCompression=1)
    canvas.setTitle(f"{HEADING}: report")
    canvas.setAuthor("")
    canvas.setCreator("xray_core")
    return canvas


def draw_page(
    canvas: "Canvas",
    prediction: Prediction,
    pictures: Pictures | None,
    context: Context,
    names: tuple[str, ...],
) -> None:
    """Draw the report of one image on the page.

    Parameters
    ----------
    canvas
        With an empty page.
    prediction
        The result. That of another model than `context.bundle` has no scale and no accuracy, since
        its thresholds are not known.
    pictures
        The image and its map, None where there is none to show.
    context
        What all pages have in common.
    names
        Parts of the heading that name the image; empty ones are left out.
    """
    bundle = context.bundle
    if pictures is not None and pictures.map_note:
        prediction = replace(prediction, method=pictures.method, map_note=pictures.map_note)
    of_bundle = prediction.model in ("", f"{bundle.name} {bundle.version}")
    top = PAGE_HEIGHT - MARGIN
    heading = " · ".join(part for part in (HEADING, context.day, *names) if part)
    top = draw_text(canvas, heading, top, size=9, colour=PALE)
    top = draw_text(canvas, prediction.shown_as, top - 4, size=22, bold=True)
    # The reasons of a result with a probability name the adjustment among its cautions.
    unlisted = prediction.adjustment if prediction.probability is None else ""
    explanation = prediction.sentence or " ".join(filter(None, (*prediction.reasons, unlisted)))
    top = draw_text(canvas, explanation, top - 4, size=10.5)
    if prediction.probability is not None:
        if of_bundle:
            note = prediction.probability_note
            top = _scale(canvas, prediction.probability, bundle.calibration, note, top - 4, WIDTH)
        post_test = None if context.pre_test is None else prediction.post_test(context.pre_test)
        if context.pre_test is not None and post_test is not None:
            sentence = wording.describe_post_test(post_test, context.pre_test)
            top = draw_text(canvas, sentence, top, size=10.5)
    if pictures is not None:
        top = _images(canvas, pictures, context.jpeg, top - GAP, WIDTH)
    elif prediction.verdict != UNREADABLE:
        top = draw_text(canvas, NOT_SHOWN, top - GAP, size=9.5)
    draw_text(canvas, wording.DISCLAIMER, FOOT, size=9, bold=True)
    _sections(canvas, prediction, context, of_bundle, top - GAP, FOOT + GAP, WIDTH)


def _sections(
    canvas: "Canvas",
    prediction: Prediction,
    context: Context,
    of_bundle: bool,
    top: float,
    bottom: float,
    width: float,
) -> None:
    """Draw cautions, map, similar images, model and accuracy; long texts are shrunk to fit."""
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
        in_lungs = wording.describe_map_in_lungs(prediction.map_in_lungs)
        section(f"Map ({method})", " ".join(filter(None, (prediction.map_note, in_lungs))))
    if prediction.neighbours is not None:
        section("Most similar training images", wording.nearest_images(prediction.neighbours))
    if of_bundle:
        section("Model and performance", describe_model(context.bundle))
        if prediction.probability is not None and not prediction.accuracy_applies:
            section("Accuracy on the test set", wording.ACCURACY_DOES_NOT_APPLY)
        elif prediction.accuracy_applies and context.rates:
            section("Accuracy on the test set", *wording.accuracy(context.rates), wording.TEST_SET)
    else:
        section("Model", f"{prediction.model}.")
    frame = Frame(MARGIN, bottom, width, top - bottom, 0, 0, 0, 0)
    frame.addFromList([KeepInFrame(width, top - bottom, flow, mode="shrink")], canvas)


def describe_model(bundle: Bundle) -> str:
    """Return the model, the meaning of its probability and its thresholds, in sentences."""
    calibration = bundle.calibration
    low, high = calibration.uncertain
    model = (
        f"{bundle.name}, version {bundle.version}. The probability assumes a pre-test probability "
        f"of {calibration.prior:.0%}. Above {high:.0%}: {SHOWN_AS[PNEUMONIA]}; below "
        f"{low:.0%}: {SHOWN_AS[NORMAL]}; between them: {SHOWN_AS[UNCERTAIN]}. "
    )
    if rule := bundle.unlike_rule:
        model += (
            f"For images unlike the training images the limits are {rule.high:.0%} and "
            f"{rule.low:.0%}. "
        )
    return model + wording.describe_exclusion_threshold(calibration, bundle.config)


def _scale(
    canvas: "Canvas",
    probability: float,
    calibration: Calibration,
    note: str,
    top: float,
    width: float,
) -> float:
    """Draw a scale from 0 to 100% with the band, the thresholds and the image, all labelled.

    A probability with a `note` is drawn in pale grey beside its note.
    """
    low, high = calibration.uncertain
    start, long = MARGIN + 24, width - 54  # room for 0% and 100% at the ends
    bar, thick = top - 34, 9.0

    def x_of(share: float) -> float:
        return start + share * long

    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(TEXT_COLOUR)
    canvas.drawRightString(start - 4, bar + 1.5, "0%")
    canvas.drawString(start + long + 4, bar + 1.5, "100%")
    canvas.setStrokeColor(PALE)
    canvas.setFillColor("#ffffff")
    canvas.rect(start, bar, long, thick, fill=1)
    canvas.setFillColor(BAND)
    canvas.rect(x_of(low), bar, (high - low) * long, thick, fill=1, stroke=0)
    canvas.setFillColor(TEXT_COLOUR)
    canvas.setStrokeColor(TEXT_COLOUR)

    decision, exclusion = calibration.decision_threshold, calibration.exclusion_threshold
    for threshold in (decision, exclusion):
        canvas.line(x_of(threshold), bar - 10, x_of(threshold), bar + thick + 3)
    decision_label = f"decision threshold {wording.share(decision)}"
    exclusion_label = f"exclusion threshold {wording.share(exclusion)}"
    canvas.drawString(x_of(decision) + 3, bar - 10, decision_label)
    label_width = canvas.stringWidth(exclusion_label, "Helvetica", 8)
    if x_of(exclusion) + 3 + label_width < x_of(decision) - 3:
        canvas.drawString(x_of(exclusion) + 3, bar - 10, exclusion_label)
    else:
        canvas.drawRightString(x_of(exclusion) - 3, bar - 10, exclusion_label)
    canvas.setStrokeColor(PALE)
    canvas.line(x_of(low), bar - 14, x_of(high), bar - 14)
    band = f"{SHOWN_AS[UNCERTAIN].lower()} {low:.0%} to {high:.0%}"
    canvas.drawCentredString(x_of((low + high) / 2), bar - 23, band)

    x = x_of(probability)
    canvas.setFillColor(PALE if note else TEXT_COLOUR)
    mark = canvas.beginPath()
    mark.moveTo(x, bar + thick + 1)
    mark.lineTo(x - 6, bar + thick + 11)
    mark.lineTo(x + 6, bar + thick + 11)
    mark.close()
    canvas.drawPath(mark, fill=1, stroke=0)
    label = f"this image: {wording.percent(probability)}" + (f" ({note})" if note else "")
    canvas.setFont("Helvetica-Bold", 9)
    half = canvas.stringWidth(label, "Helvetica-Bold", 9) / 2
    centre = min(max(x, MARGIN + half), MARGIN + width - half)
    canvas.drawCentredString(centre, bar + thick + 14, label)
    return bar - 28


def _images(canvas: "Canvas", pictures: Pictures, jpeg: bool, top: float, width: float) -> float:
    """Draw the image and, if there is a map, the overlay with its legend beside it."""
    overlay = pictures.overlay
    image = Image.fromarray(pictures.pixels)
    images = [image]
    if overlay is not None:
        images.append(Image.fromarray(overlay.pixels))
    slot = (width - GAP) / 2
    scale = min(slot / image.width, IMAGES_HEIGHT / image.height)
    wide, high = image.width * scale, image.height * scale
    for number, drawn in enumerate(images):
        left = MARGIN + number * (slot + GAP)
        canvas.drawImage(_stored(drawn, jpeg), left, top - high, wide, high)
    if pictures.lungs_outlined:
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(TEXT_COLOUR)
        canvas.drawString(MARGIN, top - high - 11, wording.LUNGS_OUTLINED)
    if overlay is None:
        return top - high - (13 if pictures.lungs_outlined else 0)
    _legend(canvas, overlay, MARGIN + slot + GAP, top - high - 11)
    return top - high - 13


def _stored(image: Image.Image, jpeg: bool) -> "ImageReader":
    """Return an image, reduced, in the form in which the PDF stores it."""
    from reportlab.lib.utils import ImageReader

    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    if not jpeg:
        return ImageReader(image)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return ImageReader(file)


def _legend(canvas: "Canvas", overlay: Overlay, left: float, base: float) -> None:
    """Draw the legend of the colours or lines, from `left` on the baseline `base`."""
    from reportlab.lib.utils import ImageReader

    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(TEXT_COLOUR)
    canvas.drawString(left, base, overlay.legend[0])
    if overlay.colours is None:
        return
    left += canvas.stringWidth(overlay.legend[0], "Helvetica", 8) + 4
    bar = Image.fromarray(overlay.colours[np.newaxis])  # (1, 256, 3)
    canvas.drawImage(ImageReader(bar), left, base - 1, 90, 8)
    canvas.drawString(left + 94, base, overlay.legend[1])


def draw_text(
    canvas: "Canvas",
    text: str,
    top: float,
    *,
    left: float = MARGIN,
    width: float = WIDTH,
    size: float,
    bold: bool = False,
    colour: str = TEXT_COLOUR,
) -> float:
    """Draw a paragraph below `top` and return its lower end."""
    paragraph = as_paragraph(text, size, bold=bold, colour=colour)
    _, high = paragraph.wrap(width, PAGE_HEIGHT)
    paragraph.drawOn(canvas, left, top - high)
    return top - high


def as_paragraph(
    text: str, size: float, *, bold: bool = False, colour: str = TEXT_COLOUR
) -> "Paragraph":
    """Return a plain text as a paragraph; no character of it is markup."""
    from reportlab.platypus import Paragraph

    return Paragraph(escape(text), _style(size, bold=bold, colour=colour))


def _style(size: float, *, bold: bool = False, colour: str = TEXT_COLOUR):  # type: ignore[no-untyped-def]
    from reportlab.lib.styles import ParagraphStyle

    return ParagraphStyle(
        "text",
        fontName="Helvetica-Bold" if bold else "Helvetica",
        fontSize=size,
        leading=size * 1.25,
        textColor=colour,
        spaceBefore=5 if bold else 1,
    )


def printable(name: str) -> str:
    """Return a name in Latin-1, the characters of the PDF's fonts, no longer than a line."""
    shown = "".join(c if c.isprintable() else "?" for c in name)
    shown = shown.encode("latin-1", "replace").decode("latin-1")
    return shown if len(shown) <= 60 else f"{shown[:40]}...{shown[-17:]}"
