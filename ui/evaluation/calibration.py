"""The section "Calibration": reliability diagram and calibration error."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd
import streamlit as st

from ui.common.palette import BLUE, GREY, diagonal, percent_axis, unit_scale
from ui.common.widgets import csv_button, figure_buttons
from ui.evaluation.data import Evaluation
from xray_core.evaluation.calibration import ReliabilityBin
from xray_core.evaluation.curves import ReliabilityDiagram
from xray_core.evaluation.groups import SMALL_GROUP
from xray_core.evaluation.metrics import Metrics
from xray_core.evaluation.tables import describe_calibration, format_metric
from xray_core.stats.intervals import Estimate, format_estimate


def show_calibration(evaluation: Evaluation, metrics: Metrics) -> None:
    """Draw the calibration error, its range under perfect calibration, and the diagram."""
    st.subheader("Reliability diagram")
    error = metrics.calibration_error
    if math.isnan(error.value):
        st.info("Calibration can only be measured on images of both classes.")
        return
    st.markdown(
        f"Expected calibration error **{format_metric('calibration_error', error)}**. "
        + describe_calibration(error.value, *evaluation.reliability.reference)
    )
    left, right = st.columns([5, 4], gap="medium")
    with left:
        _show_diagram(evaluation, metrics)
    with right:
        _show_bins(evaluation.reliability.bins, evaluation.slug)
        st.markdown(
            f"Brier score {format_metric('brier', metrics.brier)}, "
            f"log loss {format_metric('log_loss', metrics.log_loss)}."
        )


def _show_diagram(evaluation: Evaluation, metrics: Metrics) -> None:
    st.altair_chart(
        _reliability_chart(evaluation.reliability),
        alt="Reliability diagram: observed share of pneumonia against predicted probability",
    )
    st.caption(
        f"{metrics.images} images in ten bins; the number at a point is its images. Bars: 95% "
        "Wilson interval with patients in place of images. Probabilities are shifted from the 50% "
        "prior to these "
        f"images' {metrics.prevalence:.1%}."
    )

    def draw(kind: str) -> bytes:
        from xray_core.evaluation.figures import as_bytes, draw_calibration

        return as_bytes(draw_calibration(evaluation.reliability), kind)

    figure_buttons("calibration", "Reliability diagram", evaluation.slug, draw)


def _show_bins(bins: list[ReliabilityBin], slug: str) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "bin": f"{b.low:.0%} to {b.high:.0%}",
                    "images": b.images,
                    "patients": b.patients,
                    "predicted": b.predicted,
                    "observed": _observed(b),
                }
                for b in bins
                if b.images
            ]
        ),
        hide_index=True,
        column_config={"predicted": st.column_config.NumberColumn(format="percent")},
    )
    csv_button(
        pd.DataFrame([vars(b) for b in bins]), f"{slug}-reliability", "Reliability bins (CSV)"
    )


def _observed(b: ReliabilityBin) -> str:
    """Return the observed share of a bin with its interval, and its number of images if small."""
    text = format_estimate(Estimate(b.observed, b.observed_low, b.observed_high))
    return text if b.images >= SMALL_GROUP else f"{text}, n = {b.images}"


def _reliability_chart(diagram: ReliabilityDiagram) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(pd.DataFrame([vars(b) for b in diagram.bins if b.images]))
    x = alt.X(
        "predicted:Q",
        title="Mean predicted probability",
        axis=percent_axis(),
        scale=unit_scale(),
    )
    tooltip = [
        alt.Tooltip("predicted:Q", format=".1%", title="Predicted"),
        alt.Tooltip("observed:Q", format=".1%", title="Observed"),
        alt.Tooltip("observed_low:Q", format=".1%", title="95% from"),
        alt.Tooltip("observed_high:Q", format=".1%", title="to"),
        alt.Tooltip("images:Q", title="Images"),
        alt.Tooltip("patients:Q", title="Patients"),
    ]
    bars = base.mark_rule(color=BLUE, size=2).encode(
        x=x,
        y=alt.Y(
            "observed_low:Q",
            title="Observed share of pneumonia",
            axis=percent_axis(),
            scale=unit_scale(),
        ),
        y2="observed_high:Q",
        tooltip=tooltip,
    )
    dots = base.mark_point(color=BLUE, filled=True, opacity=1).encode(
        x=x,
        y="observed:Q",
        size=alt.Size("images:Q", legend=None, scale=alt.Scale(range=[40, 400])),
        tooltip=tooltip,
    )
    counts = base.mark_text(dx=16, dy=12, color=GREY).encode(x=x, y="observed:Q", text="images:Q")
    return alt.layer(diagonal(), bars, dots, counts).properties(height=360)
