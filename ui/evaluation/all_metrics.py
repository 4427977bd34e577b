"""The section "All metrics": confusion matrix, and every metric with its intervals."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from ui.common.widgets import csv_button, figure_buttons
from ui.evaluation.data import Evaluation
from ui.evaluation.wording import explain_metrics
from xray_core.evaluation.groups import SMALL_GROUP
from xray_core.evaluation.metrics import Metrics, independent_intervals
from xray_core.evaluation.tables import NAMES, metric_spec
from xray_core.stats.intervals import format_interval, format_value


def show_all_metrics(evaluation: Evaluation, metrics: Metrics) -> None:
    """Draw the confusion matrix beside the table of all metrics."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.subheader("Confusion matrix")
        st.html(_confusion_matrix(metrics))
        st.caption(_compare_with_prediction_page(evaluation))
        figure_buttons(
            "confusion",
            "Confusion matrix",
            evaluation.slug,
            lambda kind: _draw_confusion(metrics, kind),
        )
    with right:
        st.subheader("All metrics")
        table = _metrics_table(evaluation, metrics)
        st.dataframe(table, hide_index=True, height=35 * (len(table) + 1) + 3)
        st.caption(
            "95% interval: patient-level bootstrap, 2,000 resamples, BCa. Wilson and DeLong "
            "intervals treat all images as independent. F1, accuracy and average precision hold at "
            f"these images' share of pneumonia ({metrics.prevalence:.1%}). Calibration error, "
            "Brier score and log loss use probabilities shifted from a 50% prior to that share."
        )
        csv_button(table, f"{evaluation.slug}-metrics", "All metrics (CSV)")
    with st.expander("Definitions"):
        meanings = explain_metrics(metrics)
        st.markdown("\n".join(f"- **{NAMES[name]}**: {meanings[name]}" for name in NAMES))


def _compare_with_prediction_page(evaluation: Evaluation) -> str:
    decided = evaluation.decided
    return (
        "These counts are two-way: each image lies on one side of the threshold. The Prediction "
        f"page has more results. Of these {decided.images} images it would show "
        f"{decided.uncertain} as Indeterminate and {decided.refused} as Not analysed, so it has "
        "fewer detected and missed pneumonias."
    )


def _metrics_table(evaluation: Evaluation, metrics: Metrics) -> pd.DataFrame:
    independent = independent_intervals(evaluation.scores, metrics)
    rows = []
    for name, estimate in metrics.estimates():
        spec, limits = metric_spec(name), independent.get(name)
        suffix = f" at {metrics.stated_prevalence:.0%}" if name in ("ppv", "npv") else ""
        rows.append(
            {
                "Metric": NAMES[name] + suffix,
                "Value": format_value(estimate.value, spec),
                "95% interval": ""
                if math.isnan(estimate.value)
                else format_interval(estimate.low, estimate.high, spec),
                "Wilson, DeLong": ""
                if limits is None or math.isnan(limits[0])
                else format_interval(*limits, spec),
            }
        )
    return pd.DataFrame(rows)


def _confusion_matrix(metrics: Metrics) -> str:
    """Return the confusion matrix as an accessible HTML table of counts and row shares.

    The shares of a class of under 20 images carry their interval.
    """
    table = metrics.confusion
    rows = (
        (
            "Pneumonia",
            metrics.sensitivity,
            ((table.true_positive, "detected"), (table.false_negative, "missed")),
        ),
        (
            "Normal",
            metrics.specificity,
            (
                (table.false_positive, "wrongly flagged"),
                (table.true_negative, "correctly negative"),
            ),
        ),
    )
    body = ""
    for name, rate, row in rows:
        total = sum(count for count, _ in row)
        cells = ""
        for count, label in row:
            share = count / total if total else 0.0
            text = f"{share:.1%}" if total else "no images"
            if 0 < total < SMALL_GROUP and not math.isnan(rate.low):
                low, high = rate.low, rate.high
                if label in ("missed", "wrongly flagged"):
                    low, high = 1 - high, 1 - low
                text += f" of {total} ({low:.1%} to {high:.1%})"
            cells += (
                f"<td style='background:rgba(47,134,209,{0.08 + 0.42 * share:.2f})'>"
                f"<b>{count}</b><br>{text}<br><small>{label}</small></td>"
            )
        body += f"<tr><th scope='row'>{name}<br><small>{total} images</small></th>{cells}</tr>"
    return (
        "<style>.confusion{border-collapse:separate;border-spacing:4px;width:100%}"
        ".confusion th{font-weight:600;padding:.3rem;text-align:center}"
        ".confusion td{padding:.7rem .3rem;text-align:center;border-radius:6px}"
        ".confusion b{font-size:1.6rem}</style>"
        "<table class='confusion'><caption style='caption-side:top;text-align:left'>"
        "Rows: reference label. Columns: model output.</caption>"
        "<tr><td style='background:none'></td><th scope='col'>Pneumonia</th>"
        f"<th scope='col'>Normal</th></tr>{body}</table>"
    )


def _draw_confusion(metrics: Metrics, kind: str) -> bytes:
    from xray_core.evaluation.figures import as_bytes, draw_confusion

    return as_bytes(draw_confusion(metrics.confusion), kind)
