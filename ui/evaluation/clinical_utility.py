"""The section "Clinical utility": the decision curve."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from ui.common.palette import BLUE, GREY, VERMILION, percent_axis
from ui.common.widgets import csv_button
from ui.evaluation.data import Evaluation
from xray_core.evaluation.curves import decision_curve
from xray_core.evaluation.metrics import Metrics

_STRATEGIES = {"model": "the model", "all": "treat all", "none": "treat none"}


def show_clinical_utility(evaluation: Evaluation, metrics: Metrics) -> None:
    """Draw the net benefit of the model at the prevalence of the slider."""
    st.subheader("Net benefit (decision curve)")
    curve = decision_curve(evaluation.scores, metrics.stated_prevalence)
    if curve.empty:
        st.info("A decision curve needs images of both classes.")
        return
    st.markdown(
        "Net benefit is the share of true positives minus the share of false positives times the "
        "odds of the threshold probability. A 10% threshold counts one missed pneumonia as bad as "
        "nine unnecessary treatments. The model is useful where its line is above both others."
    )
    st.altair_chart(
        decision_chart(curve),
        alt="Net benefit of the model, of treating all and of treating none",
    )
    st.caption(
        f"{metrics.images} images, at a prevalence of {metrics.stated_prevalence:.0%} (the slider "
        "above). Band: 95%, patient-level bootstrap."
    )
    csv_button(curve, f"{evaluation.slug}-decision-curve", "Decision curve (CSV)")


def decision_chart(curve: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Return the net benefit of the model, of treating all and of treating none."""
    low = float(min(0, curve["low"].min()))
    top = float(curve["model"].max()) * 1.1 + 1e-3
    scale = alt.Scale(domain=[max(low, -0.25 * top), top])  # lower values are clipped
    long = curve.melt("risk", list(_STRATEGIES), "strategy", "benefit")
    order = list(_STRATEGIES.values())
    lines = (
        alt.Chart(long.replace({"strategy": _STRATEGIES}))
        .mark_line(clip=True)
        .encode(
            x=alt.X("risk:Q", title="Threshold probability", axis=percent_axis()),
            y=alt.Y("benefit:Q", title="Net benefit per image", scale=scale),
            color=alt.Color(
                "strategy:N",
                sort=order,
                scale=alt.Scale(domain=order, range=[BLUE, VERMILION, GREY]),
                legend=alt.Legend(title=None, orient="top", symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "strategy:N",
                scale=alt.Scale(domain=order, range=[[1, 0], [6, 3], [2, 2]]),
                legend=None,
            ),
            tooltip=[
                alt.Tooltip("strategy:N", title="Strategy"),
                alt.Tooltip("risk:Q", format=".0%", title="Threshold probability"),
                alt.Tooltip("benefit:Q", format=".3f", title="Net benefit"),
            ],
        )
    )
    band = (
        alt.Chart(curve)
        .mark_area(color=BLUE, opacity=0.2, clip=True)
        .encode(x="risk:Q", y=alt.Y("low:Q", scale=scale), y2="high:Q")
    )
    return alt.layer(band, lines).properties(height=360)
