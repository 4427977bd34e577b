"""The report of several images: a PDF with a summary and one page per image.

The pages of the images are those of `report_pdf`. The images are loaded one at a time and stored as
JPEG, so that memory grows by some 0.3 MB per image: its page, which is held until the PDF is saved.
"""

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from textwrap import shorten
from typing import TYPE_CHECKING, NamedTuple

from xray_core.labels import SHOWN_AS, SHOWN_AS_UNLIKE, UNCERTAIN
from xray_core.model.bundle import Bundle
from xray_core.prediction import wording
from xray_core.prediction.report_pdf import (
    FOOT,
    GAP,
    HEADING,
    MARGIN,
    NO_RATES,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    PALE,
    TEXT_COLOUR,
    WIDTH,
    Context,
    Pictures,
    as_paragraph,
    describe_model,
    draw_page,
    draw_text,
    new_canvas,
    printable,
)
from xray_core.prediction.result import Prediction

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Paragraph

COLUMNS = {
    "Image": 104.0,
    "Result": 104.0,
    "Probability": 72.0,
    "First caution, or why there is no result": 187.0,
    "Page": WIDTH - 467.0,
}
"""The columns of the summary, with their widths in points."""

LONGEST_CAUTION = 300  # characters in the summary; the image's own page has all of them
PADDING = 4.0
SIZE = 8.0


@dataclass(frozen=True)
class BatchEntry:
    """One image of a report of several.

    Attributes
    ----------
    title
        Name of the image, such as "Image 3".
    prediction
        The result.
    pictures
        Loads the image when its page is drawn; returns None where there is none to show.
    file_name
        Name of the file, None to leave it out.
    """

    title: str
    prediction: Prediction
    pictures: Callable[[], Pictures | None]
    file_name: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The title and the file name, those that are not empty."""
        return tuple(filter(None, (self.title, printable(self.file_name or ""))))


class _Row(NamedTuple):
    """A row of the summary: its cells without the page number, and its height in points."""

    cells: "list[Paragraph]"
    height: float


def batch_report_pdf(
    entries: Sequence[BatchEntry],
    bundle: Bundle,
    *,
    rates: Mapping[str, Mapping[str, wording.Rate]] = NO_RATES,
    pre_test: float | None = None,
    created_on: date | None = None,
) -> bytes:
    """Return a PDF of several images: counts and a table of all results, then a page per image.

    Parameters
    ----------
    entries
        The images in the order of their pages, with results of any kind.
    bundle
        The model whose thresholds and accuracy the report states. The result of another model is
        shown without them.
    rates, pre_test, created_on
        As for `xray_core.prediction.report_pdf.report_pdf`.
    """
    file = io.BytesIO()
    canvas = new_canvas(file)
    context = Context(bundle, rates, pre_test, created_on or date.today(), jpeg=True)
    top = _draw_head(canvas, entries, context)
    rows = [_row(entry, pre_test) for entry in entries]
    lowest = FOOT + GAP
    summary = _split(rows, top - lowest, PAGE_HEIGHT - MARGIN - _heading_height() - lowest)
    pages = len(summary) + len(entries)
    for number, chunk in enumerate(summary):
        if number:
            top = _draw_heading(canvas, context) - GAP
        _draw_table(canvas, [(rows[i], len(summary) + i + 1) for i in chunk], top)
        draw_text(canvas, wording.DISCLAIMER, FOOT, size=9, bold=True)
        _end_page(canvas, number + 1, pages)
    for number, entry in enumerate(entries, start=len(summary) + 1):
        canvas.bookmarkPage(_key(number))
        outline = f"{' · '.join(entry.names)}: {entry.prediction.shown_as}"
        canvas.addOutlineEntry(outline, _key(number))
        draw_page(canvas, entry.prediction, entry.pictures(), context, entry.names)
        _end_page(canvas, number, pages)
    canvas.save()
    return file.getvalue()


def _draw_head(canvas: "Canvas", entries: Sequence[BatchEntry], context: Context) -> float:
    """Draw what the summary states about all images, and return its lower end."""
    top = _draw_heading(canvas, context)
    images = "1 image" if len(entries) == 1 else f"{len(entries)} images"
    top = draw_text(canvas, f"Results of {images}", top - 4, size=22, bold=True) - 6
    counts = Counter(entry.prediction.shown_as for entry in entries)
    for verdict, shown_as in SHOWN_AS.items():
        top = draw_text(canvas, f"{shown_as}: {counts[shown_as]}", top - 1, size=10.5)
        if verdict == UNCERTAIN and counts[SHOWN_AS_UNLIKE]:
            unlike = f"{SHOWN_AS_UNLIKE}: {counts[SHOWN_AS_UNLIKE]}"
            top = draw_text(canvas, unlike, top - 1, size=10.5)
    top = draw_text(canvas, describe_model(context.bundle), top - 6, size=9)
    if context.pre_test is not None:
        stated = f"Post-test probabilities are at a pre-test probability of {context.pre_test:.0%}."
        top = draw_text(canvas, stated, top - 2, size=9)
    return top - GAP


def _draw_heading(canvas: "Canvas", context: Context) -> float:
    text = f"{HEADING} · {context.day}"
    return draw_text(canvas, text, PAGE_HEIGHT - MARGIN, size=9, colour=PALE)


def _heading_height() -> float:
    return 9 * 1.25 + GAP


def _row(entry: BatchEntry, pre_test: float | None) -> _Row:
    prediction = entry.prediction
    probability = ""
    if prediction.probability is not None:
        note = f" ({prediction.probability_note})" if prediction.probability_note else ""
        probability = wording.percent(prediction.probability) + note
    post_test = None if pre_test is None else prediction.post_test(pre_test)
    if post_test is not None:
        probability += f"; post-test {wording.percent(post_test)}"
    reasons = prediction.reasons
    caution = shorten(reasons[0], LONGEST_CAUTION, placeholder=" ...") if reasons else ""
    if len(reasons) > 1:
        caution += f" (and {len(reasons) - 1} more)"
    texts = (" · ".join(entry.names), prediction.shown_as, probability, caution)
    cells = [as_paragraph(text, SIZE) for text in texts]
    heights = [
        cell.wrap(width - PADDING, PAGE_HEIGHT)[1]
        for cell, width in zip(cells, COLUMNS.values(), strict=False)
    ]
    return _Row(cells, max(heights) + PADDING)


def _split(rows: list[_Row], first: float, other: float) -> list[list[int]]:
    """Return the rows of each page of the summary, in points `first` or `other` high."""
    pages: list[list[int]] = [[]]
    room = first - _head_height()
    for index, row in enumerate(rows):
        if row.height > room and (pages[-1] or len(pages) == 1):
            pages.append([])
            room = other - _head_height()
        pages[-1].append(index)
        room -= row.height
    return pages


def _head_height() -> float:
    return SIZE * 1.25 + PADDING


def _draw_table(canvas: "Canvas", rows: list[tuple[_Row, int]], top: float) -> None:
    """Draw rows with their page numbers, which lead to the pages."""
    if not rows:
        return
    left = MARGIN
    for name, width in COLUMNS.items():
        draw_text(canvas, name, top, left=left, width=width - PADDING, size=SIZE, bold=True)
        left += width
    top -= _head_height()
    canvas.setStrokeColor(PALE)
    canvas.setLineWidth(0.5)
    for row, page in rows:
        canvas.line(MARGIN, top, MARGIN + WIDTH, top)
        left = MARGIN
        for cell, width in zip(row.cells, COLUMNS.values(), strict=False):
            cell.drawOn(canvas, left, top - PADDING / 2 - cell.height)
            left += width
        canvas.setFillColor(TEXT_COLOUR)
        canvas.setFont("Helvetica", SIZE)
        canvas.drawString(left, top - PADDING / 2 - SIZE, str(page))
        box = (MARGIN, top - row.height, MARGIN + WIDTH, top)
        canvas.linkRect("", _key(page), box, thickness=0)
        top -= row.height


def _end_page(canvas: "Canvas", number: int, pages: int) -> None:
    canvas.setFillColor(PALE)
    canvas.setFont("Helvetica", SIZE)
    canvas.drawRightString(PAGE_WIDTH - MARGIN, MARGIN / 2, f"Page {number} of {pages}")
    canvas.showPage()


def _key(page: int) -> str:
    return f"page-{page}"
