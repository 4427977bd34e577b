"""A prediction on one page of paper (PDF, A4).

It names no patient and no file, unless a file name is passed. Its metadata hold no date, user or
machine, so that equal answers give equal files.
"""

import io
from datetime import date
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xray_core.images import Radiograph
from xray_core.model.bundle import Bundle
from xray_core.prediction import wording
from xray_core.prediction.explain import METHOD_NAMES
from xray_core.prediction.predictor import Prediction

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

LARGEST_SIDE = 1000
"""Pixels; more would not show at the size of print."""

MARGIN = 48.0  # all lengths in points, 1/72 inch
GAP = 12.0
PICTURES_HEIGHT = 250.0
FOOT = MARGIN + 34.0
INK, PALE, BAND = "#1a1a1a", "#5a5a5a", "#d9d9d9"


def report_pdf(
    prediction: Prediction,
    radiograph: Radiograph,
    bundle: Bundle,
    *,
    overlay: NDArray[np.uint8] | None = None,
    file_name: str | None = None,
    made_on: date | None = None,
) -> bytes:
    """Return a one-page PDF: film, overlay, verdict, probability on its scale, cautions, model.

    `overlay` is the film with its map as RGB (H, W, 3); without it one is drawn where the
    prediction has a map. `made_on` is today unless given. The film keeps its aspect ratio and is
    reduced to at most 1000 pixels a side.
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
    heading = f"Chest X-ray pneumonia demo · {day}"
    if file_name is not None:
        heading += f" · {_printable(file_name)}"
    top = _text(canvas, heading, top, inner, size=9, colour=PALE, lines=1)
    top = _text(canvas, wording.VERDICTS[prediction.verdict], top - 4, inner, size=22, bold=True)
    if prediction.probability is not None:
        top = _scale(canvas, prediction.probability, bundle, top - 6, inner)
    top = _pictures(canvas, prediction, radiograph, overlay, top - GAP, inner)
    _text(canvas, wording.DISCLAIMER, FOOT, inner, size=9, bold=True)
    _words(canvas, prediction, bundle, top - GAP, FOOT + GAP, inner)
    canvas.showPage()
    canvas.save()
    return page.getvalue()


def _words(
    canvas: "Canvas",
    prediction: Prediction,
    bundle: Bundle,
    top: float,
    bottom: float,
    width: float,
) -> None:
    """Draw what to be careful about and what the numbers mean, shrunk if there is much of it."""
    from reportlab.platypus import Frame, KeepInFrame, Paragraph

    style, strong = _style(9.5), _style(10.5, bold=True)
    flow: list[Paragraph] = []
    if prediction.reasons:
        refused = prediction.verdict in ("REFUSED", "UNREADABLE")
        flow.append(Paragraph("Why" if refused else "Be careful", strong))
        flow += [Paragraph(f"• {escape(reason)}", style) for reason in prediction.reasons]
    if prediction.map_note:
        method = METHOD_NAMES.get(prediction.method or "", "")
        flow.append(Paragraph(f"The map ({method})", strong))
        flow.append(Paragraph(escape(prediction.map_note), style))
    if prediction.neighbours is not None:
        flow.append(Paragraph("Films like this one", strong))
        flow.append(Paragraph(escape(prediction.neighbours.sentence()), style))
    flow.append(Paragraph("The model and its numbers", strong))
    flow.append(Paragraph(escape(_model_words(bundle)), style))
    frame = Frame(MARGIN, bottom, width, top - bottom, 0, 0, 0, 0)
    frame.addFromList([KeepInFrame(width, top - bottom, flow, mode="shrink")], canvas)


def _model_words(bundle: Bundle) -> str:
    calibration = bundle.calibration
    low, high = calibration.uncertain
    words = (
        f"{bundle.name}, version {bundle.version}. The probability is calibrated to a prior of "
        f"{calibration.prior:.0%}: above {high:.0%} counts as pneumonia, below {low:.0%} as "
        f"normal, between them as uncertain. Below {_share(calibration.rule_out)}, the rule-out "
        "point, hardly any film with pneumonia was found in validation. "
    )
    return words + wording.in_natural_frequencies(bundle.natural_frequencies)


def _scale(canvas: "Canvas", probability: float, bundle: Bundle, top: float, width: float) -> float:
    """Draw 0 to 100% with the uncertain band, the operating points and the film's mark."""
    calibration = bundle.calibration
    low, high = calibration.uncertain
    top = _text(
        canvas, f"Probability of pneumonia: {wording.percent(probability)}", top, width, size=13
    )
    bar, thick = top - 30, 9.0
    canvas.setStrokeColor(PALE)
    canvas.setFillColor("#ffffff")
    canvas.rect(MARGIN, bar, width, thick, fill=1)
    canvas.setFillColor(BAND)
    canvas.rect(MARGIN + low * width, bar, (high - low) * width, thick, fill=1, stroke=0)
    canvas.setFillColor(INK)
    canvas.setStrokeColor(INK)
    for point in (calibration.main, calibration.rule_out):
        canvas.line(MARGIN + point * width, bar - 3, MARGIN + point * width, bar + thick + 3)
    x = MARGIN + probability * width
    mark = canvas.beginPath()
    mark.moveTo(x, bar + thick + 1)
    mark.lineTo(x - 6, bar + thick + 11)
    mark.lineTo(x + 6, bar + thick + 11)
    mark.close()
    canvas.drawPath(mark, fill=1, stroke=0)
    canvas.setFont("Helvetica", 8)
    canvas.drawString(MARGIN, bar - 11, "0%")
    canvas.drawRightString(MARGIN + width, bar - 11, "100%")
    legend = (
        f"triangle: this film; grey: uncertain, {low:.0%} to {high:.0%}; lines: rule-out "
        f"{_share(calibration.rule_out)}, main {_share(calibration.main)}"
    )
    canvas.drawCentredString(MARGIN + width / 2, bar - 11, legend)
    return bar - 16


def _share(point: float) -> str:
    """Return percents, with a decimal where whole ones would say little."""
    return f"{point:.0%}" if point >= 0.1 else f"{point:.1%}"


def _pictures(
    canvas: "Canvas",
    prediction: Prediction,
    radiograph: Radiograph,
    overlay: NDArray[np.uint8] | None,
    top: float,
    width: float,
) -> float:
    """Draw the film on the left and, where there is a map, the overlay on the right."""
    from reportlab.lib.utils import ImageReader

    film = Image.fromarray(np.rint(radiograph.pixels).astype(np.uint8))
    pictures = [film]
    if overlay is not None:
        pictures.append(Image.fromarray(overlay))
    elif prediction.heatmap is not None:
        pictures.append(_overlaid(film, prediction.heatmap))
    slot = (width - GAP) / 2
    scale = min(slot / film.width, PICTURES_HEIGHT / film.height)
    wide, high = film.width * scale, film.height * scale
    for number, picture in enumerate(pictures):
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        canvas.drawImage(
            ImageReader(picture), MARGIN + number * (slot + GAP), top - high, wide, high
        )
    return top - high


def _overlaid(film: Image.Image, heatmap: NDArray[np.float32]) -> Image.Image:
    """Return the film with the map in orange over it, clear where the map is zero."""
    small = film.copy()
    small.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    heat = Image.fromarray(np.rint(255 * 0.6 * heatmap).astype(np.uint8)).resize(small.size)
    orange = Image.new("RGB", small.size, (255, 140, 0))
    return Image.composite(orange, small.convert("RGB"), heat)


def _text(
    canvas: "Canvas",
    text: str,
    top: float,
    width: float,
    *,
    size: float,
    bold: bool = False,
    colour: str = INK,
    lines: int = 3,
) -> float:
    """Draw a paragraph below `top` and return where it ends."""
    from reportlab.platypus import Paragraph

    paragraph = Paragraph(escape(text), _style(size, bold=bold, colour=colour))
    _, high = paragraph.wrap(width, lines * size * 1.25)
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
