"""The section "Errors": the misclassified images, the most confident first."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ui.common.errors import show_errors
from ui.common.frame import open_in_prediction
from ui.common.text import as_text
from ui.common.thumbnails import show_thumbnail
from ui.common.widgets import csv_button
from ui.evaluation.data import Evaluation, dataset_folder, image_path
from ui.viewer.on_disk import show_file
from xray_core.evaluation.groups import confident_errors
from xray_core.evaluation.metrics import Metrics

_SHOWN = 10
_OPEN = "evaluation_error_open"  # session state: which of the enlarged images is open, from 0
_CARD_WIDTH = 165  # pixels: two side by side on a phone
_COLUMNS = ["file", "error", "probability", "label", "subtype", "gate", "verdict", "patient"]


def show_misclassified(evaluation: Evaluation, metrics: Metrics) -> None:
    """Draw the most confident errors as images, and all errors as a table."""
    st.subheader("Most confident errors")
    errors = confident_errors(evaluation.table, threshold=metrics.threshold)
    if errors.empty:
        st.success("No image is misclassified at this threshold.")
        return
    missed = int((errors["error"] == "missed").sum())
    st.markdown(
        f"{len(errors)} of {metrics.images} images are misclassified at a threshold of "
        f"{metrics.threshold:.1%}: {missed} missed, {len(errors) - missed} wrongly flagged. They "
        "are sorted by distance from the threshold. Some may be label errors."
    )
    _show_images(evaluation, errors.head(_SHOWN))
    table = errors[[name for name in _COLUMNS if name in errors]]
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "probability": st.column_config.NumberColumn(format="percent"),
            "gate": "input check",
        },
    )
    csv_button(table, f"{evaluation.slug}-errors", "Errors (CSV)")


def _show_images(evaluation: Evaluation, errors: pd.DataFrame) -> None:
    paths = [image_path(evaluation, str(file)) for file in errors["file"]]
    if not any(paths):
        st.info(
            "The images are not on this disk, so only their names are listed. "
            + (
                "To see them, put the dataset in `data/chest_xray` or set `CHEST_XRAY_DIR`."
                if dataset_folder() is None
                else "The dataset on this disk does not contain them."
            ),
            icon=":material/image_not_supported:",
        )
        return
    cards = list(zip(paths, errors.itertuples(), strict=True))
    present = [
        (number, path, _caption(number, row))
        for number, (path, row) in enumerate(cards, 1)
        if path is not None
    ]
    with st.container(horizontal=True, key="evaluation-images-wrong"):
        for number, (path, row) in enumerate(cards, 1):
            with st.container(width=_CARD_WIDTH):
                _show_card(number, path, row)
                if path is not None and st.button(
                    f"Enlarge ({number})", key=f"enlarge-{number}", width="stretch"
                ):
                    st.session_state[_OPEN] = [other for other, *_ in present].index(number)
                    _show_enlarged(present)


@st.dialog("Misclassified image", width="large")
def _show_enlarged(images: list[tuple[int, Path, str]]) -> None:
    """Draw one of `images` (number, path, caption) in the viewer, whose arrow keys open others."""
    with show_errors():
        place = st.session_state[_OPEN]
        _, path, caption = images[place]

        def step(change: int) -> None:
            st.session_state[_OPEN] = place + change

        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Open in Prediction", type="primary", icon=":material/radiology:"):
                open_in_prediction(path)
            st.markdown(f"**{caption}**")
        show_file(
            path,
            key="errors-viewer",
            description=f"Chest X-ray {unescape(caption)}.",
            place=place,
            images=len(images),
            on_step=step,
        )


def _caption(number: int, row: Any) -> str:
    """Return label, error and probability of an image as Markdown."""
    return f"{_name(number, row)}, {row.error}: {row.probability:.1%}"


def _name(number: int, row: Any) -> str:
    subtype = getattr(row, "subtype", "none")
    known = isinstance(subtype, str) and subtype not in ("none", "")
    return f"{number}. {row.label.capitalize()}{f' ({as_text(subtype, 40)})' if known else ''}"


def _show_card(number: int, path: Path | None, row: Any) -> None:
    if path is None:
        st.caption(f"{_name(number, row)}: not on this disk")
        return
    caption = _caption(number, row)
    show_thumbnail(path, caption, alt=f"Chest X-ray {caption}")
    if st.button(
        f"Open in Prediction ({number})",
        key=f"open-{number}",  # a table may name a file twice
        help=f"Opens {as_text(row.file)} with its heat map",
        width="stretch",
    ):
        open_in_prediction(path)
