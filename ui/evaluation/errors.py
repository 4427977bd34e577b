"""The most confident errors with their images, and two models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ui.common.frame import open_in_prediction
from ui.common.text import as_text
from ui.common.widgets import csv_button
from ui.dataset.gallery import small_picture
from ui.evaluation.data import Evaluated, image_on_disk, images_folder
from xray_core.evaluation.groups import confident_errors
from xray_core.evaluation.metrics import Metrics

_SHOWN = 10
_CARD_WIDTH = 165  # pixels: two beside each other on a phone


def errors(chosen: Evaluated, found: Metrics) -> None:
    """The images on the wrong side of the threshold, the most confident first."""
    st.subheader("Most confident errors")
    wrong = confident_errors(chosen.table, threshold=found.threshold)
    if wrong.empty:
        st.success("No image is on the wrong side of this threshold.")
        return
    missed = int((wrong["error"] == "missed").sum())
    st.markdown(
        f"{len(wrong)} of {found.images} images are on the wrong side of {found.threshold:.1%}: "
        f"{missed} missed, {len(wrong) - missed} wrongly flagged. The farthest from it come first. "
        "A wrong label in the data set looks like this, too."
    )
    _gallery(chosen, wrong)
    columns = ["file", "error", "probability", "label", "subtype", "gate", "verdict", "patient"]
    table = wrong[[name for name in columns if name in wrong]]
    st.dataframe(
        table,
        hide_index=True,
        column_config={"probability": st.column_config.NumberColumn(format="percent")},
    )
    csv_button(table, f"{chosen.slug}-errors", "Download the errors (CSV)")


def _gallery(chosen: Evaluated, wrong: pd.DataFrame) -> None:
    first = wrong.head(_SHOWN)
    found = [image_on_disk(chosen, str(file)) for file in first["file"]]
    if not any(found):
        st.info(
            "The images are not on this disk, so only their names are listed. "
            + (
                "Put the data set under `data/chest_xray`, or set `CHEST_XRAY_DIR`, to see them."
                if images_folder() is None
                else "The data set on this disk does not hold them."
            ),
            icon=":material/image_not_supported:",
        )
        return
    with st.container(horizontal=True, key="evaluation-images-wrong"):
        for number, (path, row) in enumerate(zip(found, first.itertuples(), strict=True), 1):
            with st.container(width=_CARD_WIDTH):
                _card(number, path, row)


def _card(number: int, path: Path | None, row: Any) -> None:
    kind = getattr(row, "subtype", "none")
    named = isinstance(kind, str) and kind not in ("none", "")
    words = f"{number}. {row.label.capitalize()}{f' ({as_text(kind, 40)})' if named else ''}"
    if path is None:
        st.caption(f"{words}: not on this disk")
        return
    words = f"{words}, {row.error}: {row.probability:.1%}"
    small_picture(path, words, alt=f"Chest X-ray {words}")
    if st.button(
        f"Open in Prediction ({number})",
        key=f"open-{number}",  # a table may name a file twice
        help=f"{as_text(row.file)}, with its overlay",
        width="stretch",
    ):
        open_in_prediction(path)
