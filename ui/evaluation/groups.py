"""The section "Groups": subtypes, input check, and accuracy outside the indeterminate band."""

from __future__ import annotations

import altair as alt
import pandas as pd
import streamlit as st

from ui.common.palette import BLUE, diamond, percent_axis, percent_tooltips, thin
from ui.common.widgets import csv_button
from ui.evaluation.data import Evaluation
from xray_core.evaluation.groups import accuracy_against_share, positives
from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.scores import Scores
from xray_core.evaluation.tables import NAMES, format_group_metric, format_metric

_SUBTYPES = {"bacteria": "Bacterial pneumonia", "virus": "Viral pneumonia"}
_INPUT_CHECK = {
    "passed": "Passed",
    "caution": "Caution: unlike the training images",
    "refused": "Not analysed",
}


def show_groups(evaluation: Evaluation, metrics: Metrics) -> None:
    """Draw the metrics of each subtype, of each input check result and of decided images."""
    if evaluation.by_subtype:
        _show_subtypes(evaluation, metrics)
    if evaluation.by_input_check:
        _show_input_check(evaluation, metrics)
    _show_indeterminate(evaluation)


def _show_subtypes(evaluation: Evaluation, metrics: Metrics) -> None:
    st.subheader("By subtype of pneumonia")
    scores = evaluation.scores
    st.caption(
        f"Each subtype is compared with all {int((~scores.label).sum())} normal images, so all "
        f"have the same specificity: {format_metric('specificity', metrics.specificity)}. "
        "95% intervals."
    )
    subtypes = evaluation.table.loc[scores.label, "subtype"].nunique()
    if subtypes > len(evaluation.by_subtype):
        st.caption(f"The {len(evaluation.by_subtype)} most frequent of {subtypes} subtypes.")
    table = pd.DataFrame(
        [
            _group_row(
                _SUBTYPES.get(name, name),
                group,
                positives(group),
                metrics.threshold,
                ("sensitivity", "roc_auc"),
            )
            for name, group in evaluation.by_subtype.items()
        ]
    )
    st.dataframe(table, hide_index=True)
    csv_button(table, f"{evaluation.slug}-by-subtype", "By subtype (CSV)")


def _show_input_check(evaluation: Evaluation, metrics: Metrics) -> None:
    st.subheader("By input check")
    st.caption(
        "The input check compares an image with the training images before it is analysed. "
        "95% intervals."
    )
    table = pd.DataFrame(
        [
            _group_row(
                _INPUT_CHECK.get(name, name),
                group,
                (len(group.label), group.weights.patients),
                metrics.threshold,
                ("accuracy", "sensitivity", "specificity"),
            )
            for name, group in evaluation.by_input_check.items()
        ]
    )
    st.dataframe(table, hide_index=True)
    csv_button(table, f"{evaluation.slug}-by-gate", "By input check (CSV)")


def _show_indeterminate(evaluation: Evaluation) -> None:
    st.subheader("Without indeterminate results")
    decided = evaluation.decided
    if decided.metrics is None:
        st.info("No image has a firm result: all are indeterminate or not analysed.")
        return
    low, high = evaluation.calibration.uncertain
    metrics = decided.metrics
    st.markdown(
        f"A probability of {low:.0%} to {high:.0%} is shown as Indeterminate; for images unlike "
        "the training images the limits may be wider. The model decides "
        f"**{decided.share_decided:.1%}** of these images ({decided.decided} of {decided.images}; "
        f"{decided.uncertain} indeterminate, {decided.refused} not analysed). Of the decided "
        f"images, **{format_metric('accuracy', metrics.accuracy)}** are classified correctly; "
        f"sensitivity {format_metric('sensitivity', metrics.sensitivity)}, specificity "
        f"{format_metric('specificity', metrics.specificity)}."
    )
    curve = accuracy_against_share(
        evaluation.scores.label,
        evaluation.scores.probability,
        evaluation.calibration.decision_threshold,
    )
    st.altair_chart(
        accuracy_chart(curve, decided.share_decided, metrics.accuracy.value),
        alt="Accuracy of the decided images against their share",
    )
    st.caption(
        "Images are decided in order of their distance from the decision threshold. Diamond: the "
        "model's own indeterminate results."
    )
    csv_button(curve, f"{evaluation.slug}-abstention", "Accuracy by share decided (CSV)")


def accuracy_chart(
    curve: pd.DataFrame, share: float, accuracy: float
) -> alt.LayerChart | alt.FacetChart:
    """Return the accuracy of the decided images against their share, with one point marked."""
    titles = {"share_decided": "Decided", "accuracy": "Accuracy"}
    line = (
        alt.Chart(thin(curve[curve["share_decided"] >= 0.05]))
        .mark_line(color=BLUE)
        .encode(
            x=alt.X("share_decided:Q", title="Share of images decided", axis=percent_axis()),
            y=alt.Y(
                "accuracy:Q",
                title="Accuracy of decided images",
                axis=alt.Axis(format=".0%"),
                scale=alt.Scale(zero=False),
            ),
            tooltip=percent_tooltips(titles),
        )
    )
    mark = diamond(pd.DataFrame({"share_decided": [share], "accuracy": [accuracy]})).encode(
        x="share_decided:Q", y="accuracy:Q", tooltip=percent_tooltips(titles)
    )
    return alt.layer(line, mark).properties(height=260)


def _group_row(
    name: str,
    scores: Scores,
    counts: tuple[int, int],
    threshold: float,
    shown: tuple[str, ...],
) -> dict[str, object]:
    """Return a table row; `counts` are the images and patients that belong to the group."""
    metrics = evaluate(scores, threshold=threshold)
    images, patients = counts
    return {
        "Group": name,
        "Images": images,
        "With pneumonia": int(scores.label.sum()),
        "Patients": patients,
        **{NAMES[metric]: format_group_metric(metric, scores, metrics) for metric in shown},
    }
