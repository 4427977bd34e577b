"""The section "ROC and PR": both curves with intervals and operating points."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from ui.common.palette import (
    BLUE,
    GREY,
    VERMILION,
    diagonal,
    diamond,
    percent_axis,
    percent_tooltips,
    thin,
    unit_scale,
)
from ui.common.widgets import csv_button, figure_buttons
from ui.evaluation.data import Evaluation
from xray_core.evaluation.curves import RocCurve
from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.tables import format_metric

_HEIGHT = 360
_ROC_TITLES = {
    "threshold": "Threshold",
    "sensitivity": "Sensitivity",
    "false_positive_rate": "False-positive rate",
}
_PR_TITLES = {"threshold": "Threshold", "recall": "Recall", "precision": "Precision"}


def show_roc_and_pr(evaluation: Evaluation, metrics: Metrics) -> None:
    """Draw the ROC curve beside the precision-recall curve."""
    left, right = st.columns(2, gap="large")
    with left:
        _show_roc(evaluation, metrics)
    with right:
        _show_precision_recall(evaluation, metrics)


def roc_chart(
    roc: RocCurve, points: dict[str, Metrics] | None = None, other: RocCurve | None = None
) -> alt.LayerChart | alt.FacetChart:
    """Return the ROC curve with its 95% band, operating points and another model's curve."""
    x = alt.X(
        "false_positive_rate:Q", title="False-positive rate (1 - specificity)", axis=percent_axis()
    )
    tooltip = percent_tooltips(_ROC_TITLES)
    layers = [
        diagonal(),
        alt.Chart(roc.band)
        .mark_area(color=BLUE, opacity=0.22)
        .encode(x=x, y=alt.Y("low:Q", title="Sensitivity", axis=percent_axis()), y2="high:Q"),
        alt.Chart(_drawable(roc.points))
        .mark_line(color=BLUE, strokeWidth=2, interpolate="linear", point=_hover_point())
        .encode(x=x, y="sensitivity:Q", order="step:Q", tooltip=tooltip),
    ]
    if other is not None:
        layers.append(
            alt.Chart(_drawable(other.points))
            .mark_line(color=VERMILION, strokeWidth=2, strokeDash=[6, 3])
            .encode(x=x, y="sensitivity:Q", order="step:Q", tooltip=tooltip)
        )
    if points:  # an empty layer would be a graphic without an accessible name
        layers.append(_operating_points(points))
    return alt.layer(*layers).properties(height=_HEIGHT)


def precision_recall_chart(
    curve: pd.DataFrame, prevalence: float, metrics: Metrics
) -> alt.LayerChart | alt.FacetChart:
    """Return precision against recall, with the baseline of guessing and the threshold."""
    line = (
        alt.Chart(thin(curve))
        .mark_line(color=BLUE, strokeWidth=2, point=_hover_point())
        .encode(
            x=alt.X("recall:Q", title="Recall (sensitivity)", axis=percent_axis()),
            y=alt.Y(
                "precision:Q",
                title="Precision (PPV on these images)",
                axis=percent_axis(),
                scale=unit_scale(),
            ),
            order=alt.Order("threshold:Q", sort="descending"),
            tooltip=percent_tooltips(_PR_TITLES),
        )
    )
    baseline = alt.Chart(
        pd.DataFrame({"precision": [prevalence], "label": [f"guessing: {prevalence:.1%}"]})
    )
    rule = baseline.mark_rule(color=GREY, strokeDash=[3, 3]).encode(y="precision:Q")
    text = baseline.mark_text(color=GREY, align="left", dy=-7, x=6).encode(
        y="precision:Q", text="label:N"
    )
    cells = metrics.confusion
    flagged = cells.true_positive + cells.false_positive
    point = pd.DataFrame(
        {
            "recall": [metrics.sensitivity.value],
            "precision": [cells.true_positive / flagged if flagged else np.nan],
            "threshold": [metrics.threshold],
        }
    )
    mark = diamond(point).encode(
        x="recall:Q", y="precision:Q", tooltip=percent_tooltips(_PR_TITLES)
    )
    return alt.layer(rule, text, line, mark).properties(height=_HEIGHT)


def _show_roc(evaluation: Evaluation, metrics: Metrics) -> None:
    st.subheader("ROC curve")
    st.caption(
        f"{metrics.images} images. Area {format_metric('roc_auc', metrics.roc_auc)}. Band: "
        "pointwise 95%, patient-level bootstrap."
    )
    if evaluation.roc.points.empty:
        st.info("A ROC curve needs images of both classes.")
        return
    calibration = evaluation.calibration
    points = {
        "decision threshold": evaluate(evaluation.scores, threshold=calibration.decision_threshold),
        "exclusion threshold": evaluate(
            evaluation.scores, threshold=calibration.exclusion_threshold
        ),
    }
    shown = dict(points)
    if metrics.threshold not in {point.threshold for point in points.values()}:
        shown["current threshold"] = metrics
    st.altair_chart(
        roc_chart(evaluation.roc, shown),
        alt="ROC curve: sensitivity against false-positive rate, with operating points",
    )

    def draw(kind: str) -> bytes:
        from xray_core.evaluation.figures import as_bytes, draw_roc

        return as_bytes(draw_roc(evaluation.roc, points), kind)

    figure_buttons("roc", "ROC curve", evaluation.slug, draw)
    csv_button(evaluation.roc.points, f"{evaluation.slug}-roc", "ROC (CSV)")


def _show_precision_recall(evaluation: Evaluation, metrics: Metrics) -> None:
    st.subheader("Precision-recall curve")
    st.caption(
        "Average precision "
        f"{format_metric('average_precision', metrics.average_precision)}. Dashed: guessing, the "
        "share of pneumonia in these images. Diamond: the threshold above."
    )
    curve = evaluation.precision_recall
    st.altair_chart(
        precision_recall_chart(curve, evaluation.scores.prevalence, metrics),
        alt="Precision against recall, with the baseline of guessing",
    )
    csv_button(curve, f"{evaluation.slug}-precision-recall", "Precision-recall (CSV)")


def _operating_points(points: dict[str, Metrics]) -> alt.Chart:
    table = pd.DataFrame(
        {
            "name": list(points),
            "sensitivity": [point.sensitivity.value for point in points.values()],
            "false_positive_rate": [1 - point.specificity.value for point in points.values()],
            "threshold": [point.threshold for point in points.values()],
        }
    )
    shapes = ["circle", "square", "diamond"][: len(points)]
    return (
        alt.Chart(table)
        .mark_point(color=VERMILION, filled=True, size=140, opacity=1)
        .encode(
            x="false_positive_rate:Q",
            y="sensitivity:Q",
            shape=alt.Shape(
                "name:N",
                sort=list(points),
                scale=alt.Scale(domain=list(points), range=shapes),
                legend=alt.Legend(title=None, orient="bottom-right", symbolFillColor=VERMILION),
            ),
            tooltip=[alt.Tooltip("name:N", title="Point"), *percent_tooltips(_ROC_TITLES)],
        )
    )


def _drawable(curve: pd.DataFrame) -> pd.DataFrame:
    """Return a thinned ROC curve with its order; JSON has no infinity for the first threshold."""
    curve = thin(curve)
    return curve.assign(
        threshold=curve["threshold"].replace(np.inf, np.nan), step=np.arange(len(curve))
    )


def _hover_point() -> alt.OverlayMarkDef:
    return alt.OverlayMarkDef(color=BLUE, size=60, opacity=0)
