"""The section "Compare": two models on the same images."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from ui.common.errors import show_error
from ui.common.models import list_models
from ui.common.widgets import csv_button
from ui.evaluation.data import Evaluation, load_evaluation
from ui.evaluation.roc_and_pr import roc_chart
from xray_core.errors import XrayError
from xray_core.evaluation.comparison import Comparison, compare
from xray_core.evaluation.metrics import evaluate
from xray_core.evaluation.tables import NAMES, format_metric
from xray_core.stats.bootstrap import reporting
from xray_core.stats.intervals import Estimate

_COMPARED = ("sensitivity", "specificity", "accuracy", "roc_auc", "calibration_error")


def show_comparison(evaluation: Evaluation, fold: str) -> None:
    """Draw the choice of another model and the comparison, each at its own decision threshold."""
    st.subheader("Two models on the same images")
    others = [name for name, problem in list_models() if not problem and name != evaluation.model]
    if not others:
        st.info(
            "There is no other model to compare with. Train one, for example with "
            "`python train.py --recipe cnn`.",
            icon=":material/model_training:",
        )
        return
    other_name = st.selectbox("Compare with", others, key="evaluation_other")
    try:
        other = load_evaluation(other_name, fold)
        comparison = _compare(evaluation.key, other.key, evaluation, other)
    except XrayError as error:
        show_error(error)
        return
    st.markdown(_summary(evaluation.model, other_name, comparison))
    table = _metrics_table(evaluation, other, comparison)
    st.dataframe(table, hide_index=True)
    left, right = st.columns(2, gap="medium")
    with left:
        _show_tests(evaluation.model, other_name, comparison)
        csv_button(table, f"{evaluation.slug}-against-{other_name}", "Comparison (CSV)")
    with right:
        st.altair_chart(
            roc_chart(evaluation.roc, other=other.roc),
            alt=f"ROC curves of {evaluation.model} (solid) and {other_name} (dashed)",
        )
        st.caption(f"Solid line and 95% band: {evaluation.model}. Dashed line: {other_name}.")
    _show_disagreements(evaluation, other_name, comparison.disagreements)


def _show_tests(name: str, other_name: str, comparison: Comparison) -> None:
    st.caption(
        "Differences with 95% intervals from the same resampled patients. DeLong, clustered by "
        f"patient: {_p(comparison.auc_p_value)} (images independent: "
        f"{_p(comparison.auc_p_value_images)}). McNemar, clustered by patient: "
        f"{_p(comparison.mcnemar_p_value)} (exact, images independent: "
        f"{_p(comparison.mcnemar_p_value_images)})."
    )
    st.dataframe(
        pd.DataFrame(
            {
                "Images": [f"{name} correct", f"{name} wrong"],
                f"{other_name} correct": [comparison.both_right, comparison.only_b_right],
                f"{other_name} wrong": [comparison.only_a_right, comparison.neither_right],
            }
        ),
        hide_index=True,
    )


def _show_disagreements(
    evaluation: Evaluation, other_name: str, disagreements: pd.DataFrame
) -> None:
    st.markdown(f"**Images that the models classify differently: {len(disagreements)}**")
    table = disagreements.rename(
        columns={"probability_a": evaluation.model, "probability_b": other_name}
    ).replace({"right": {"A": evaluation.model, "B": other_name}})
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        table,
        hide_index=True,
        column_config={evaluation.model: percent, other_name: percent, "right": "correct"},
    )
    csv_button(table, f"{evaluation.slug}-disagreements-{other_name}", "Disagreements (CSV)")


@st.cache_resource(max_entries=8, show_spinner="Comparing ...")
def _compare(key: str, other_key: str, _evaluation: Evaluation, _other: Evaluation) -> Comparison:
    with reporting(None):  # a cached function must draw nothing on the page that called it
        return compare(
            _evaluation.table,
            _other.table,
            threshold_a=_evaluation.calibration.decision_threshold,
            threshold_b=_other.calibration.decision_threshold,
        )


def _metrics_table(
    evaluation: Evaluation, other: Evaluation, comparison: Comparison
) -> pd.DataFrame:
    a = evaluate(evaluation.scores, threshold=evaluation.calibration.decision_threshold)
    b = evaluate(other.scores, threshold=other.calibration.decision_threshold)
    differences = {
        "sensitivity": comparison.sensitivity_difference,
        "specificity": comparison.specificity_difference,
        "accuracy": comparison.accuracy_difference,
        "roc_auc": comparison.auc_difference,
    }
    return pd.DataFrame(
        [
            {
                "Metric": NAMES[name],
                evaluation.model: format_metric(name, getattr(a, name)),
                other.model: format_metric(name, getattr(b, name)),
                "Difference": _signed(name, differences[name]) if name in differences else "",
            }
            for name in _COMPARED
        ]
    )


def _signed(name: str, difference: Estimate) -> str:
    if name == "roc_auc":
        text = "{:+.3f} ({:+.3f} to {:+.3f})"
        return text.format(difference.value, difference.low, difference.high)
    text = "{:+.1f} points ({:+.1f} to {:+.1f})"
    return text.format(*(100 * x for x in (difference.value, difference.low, difference.high)))


def _summary(name: str, other_name: str, comparison: Comparison) -> str:
    difference = comparison.accuracy_difference
    if difference.low > 0 or difference.high < 0:
        better = name if difference.value > 0 else other_name
        conclusion = (
            f"**{better}** has the higher accuracy (95% interval of the difference excludes 0)"
        )
    else:
        conclusion = "the 95% interval of the difference in accuracy includes 0"
    return (
        f"On {comparison.images} images of {comparison.patients} patients, only {name} is correct "
        f"on {comparison.only_a_right} and only {other_name} on {comparison.only_b_right}: "
        f"{conclusion}."
    )


def _p(value: float) -> str:
    if math.isnan(value):
        return "p not defined"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
