"""The section "Score distribution": the probabilities of each class as histograms."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from ui.common.palette import CLASS_COLOURS, GREY, percent_axis, unit_scale
from ui.common.widgets import csv_button
from ui.evaluation.data import Evaluation
from xray_core.evaluation.metrics import Metrics


def show_score_distribution(evaluation: Evaluation, metrics: Metrics) -> None:
    """Draw the histogram of each class with the threshold and the indeterminate band."""
    st.subheader("Score distribution")
    st.caption(
        f"{metrics.images} images by probability of pneumonia at a 50% prior. Dashed line: the "
        "threshold. Grey band: shown as Indeterminate."
    )
    table, band = evaluation.histogram, evaluation.calibration.uncertain
    for label in CLASS_COLOURS:
        st.altair_chart(
            _histogram(table, label, metrics.threshold, band),
            alt=f"Histogram of the probabilities of {label.lower()} images",
        )
    csv_button(table, f"{evaluation.slug}-scores", "Score distribution (CSV)")


def _histogram(
    table: pd.DataFrame, label: str, threshold: float, band: tuple[float, float]
) -> alt.LayerChart | alt.FacetChart:
    lower = label == "PNEUMONIA"
    x = alt.X(
        "low:Q",
        bin="binned",
        title="Probability of pneumonia" if lower else None,
        axis=percent_axis(),
        scale=unit_scale(),
    )
    indeterminate = (
        alt.Chart(pd.DataFrame({"low": [band[0]], "high": [band[1]]}))
        .mark_rect(color=GREY, opacity=0.22)
        .encode(
            x=x,
            x2="high:Q",
            tooltip=[
                alt.Tooltip("low:Q", format=".0%", title="Indeterminate from"),
                alt.Tooltip("high:Q", format=".0%", title="to"),
            ],
        )
    )
    bars = (
        alt.Chart(table[table["label"] == label])
        .mark_bar(color=CLASS_COLOURS[label])
        .encode(
            x=x,
            x2="high:Q",
            y=alt.Y(
                "images:Q",
                title=f"{label.capitalize()} images",
                axis=alt.Axis(minExtent=40, tickCount=4),
            ),
            tooltip=[
                alt.Tooltip("low:Q", format=".0%", title="From"),
                alt.Tooltip("high:Q", format=".0%", title="to"),
                alt.Tooltip("images:Q", title="Images"),
            ],
        )
    )
    rule = (
        alt.Chart(pd.DataFrame({"threshold": [threshold]}))
        .mark_rule(color=GREY, size=2, strokeDash=[5, 3])
        .encode(x="threshold:Q")
    )
    return alt.layer(indeterminate, bars, rule).properties(height=180 if lower else 150)
