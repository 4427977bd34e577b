"""The training curves: accuracy and loss by epoch."""

import altair as alt
import pandas as pd
import streamlit as st

from ui.common.palette import BLUE, GREY, VERMILION
from ui.common.text import as_text
from ui.common.widgets import csv_button, figure_buttons
from xray_core.model.bundle import Bundle

_COLOURS = {"training": BLUE, "validation": VERMILION}


def show_curves(bundle: Bundle) -> None:
    """Draw accuracy and loss of the training and validation images, with the best epoch."""
    history = bundle.history()
    best = (bundle.config.get("training") or {}).get("best_epoch")
    for column, name in zip(st.columns(2, gap="large"), ("accuracy", "loss"), strict=True):
        with column:
            st.altair_chart(
                _curve_chart(history, name, best),
                alt=f"{name.capitalize()} by epoch, training and validation; best epoch {best}",
            )
    st.caption(
        f"Vertical line: best epoch ({as_text(best)}), whose weights were kept. Training images "
        "are augmented and sampled equally from both classes, validation images are not, so the "
        "two curves are not directly comparable."
    )

    def draw(kind: str) -> bytes:
        from xray_core.evaluation.figures import as_bytes, draw_training

        return as_bytes(draw_training(history, best), kind)

    figure_buttons("training", "Training curves", bundle.name, draw)
    csv_button(history, f"{bundle.name}-history", "History (CSV)")


def _curve_chart(
    history: pd.DataFrame, name: str, best_epoch: int | None
) -> alt.Chart | alt.LayerChart:
    """Return the training and validation values of `name` ("accuracy" or "loss") by epoch."""
    columns = {name: "training", f"val_{name}": "validation"}
    recorded = [column for column in columns if column in history]
    long = history.melt("epoch", recorded, "fold", "value").replace({"fold": columns})
    folds = list(_COLOURS)
    lines = (
        alt.Chart(long)
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "epoch:Q",
                title="Epoch",
                axis=alt.Axis(tickMinStep=1, format="d"),
                scale=alt.Scale(zero=False, nice=False),
            ),
            y=alt.Y("value:Q", title=name.capitalize(), scale=alt.Scale(zero=False)),
            color=alt.Color(
                "fold:N",
                scale=alt.Scale(domain=folds, range=list(_COLOURS.values())),
                legend=alt.Legend(title=None, orient="top", symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "fold:N", scale=alt.Scale(domain=folds, range=[[1, 0], [6, 3]]), legend=None
            ),
            tooltip=[
                alt.Tooltip("fold:N", title="Images"),
                alt.Tooltip("epoch:Q", title="Epoch"),
                alt.Tooltip("value:Q", title=name.capitalize(), format=".4f"),
            ],
        )
    )
    if best_epoch is None:
        return lines.properties(height=280)
    rule = (
        alt.Chart(pd.DataFrame({"epoch": [best_epoch]}))
        .mark_rule(color=GREY, strokeDash=[4, 3], size=2)
        .encode(x="epoch:Q", tooltip=[alt.Tooltip("epoch:Q", title="Best epoch")])
    )
    return alt.layer(rule, lines).properties(height=280)
