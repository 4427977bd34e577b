"""Two models side by side, on the same images."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from ui.common.errors import show_error
from ui.common.models import list_models
from ui.common.widgets import csv_button
from ui.evaluation import charts
from ui.evaluation.data import Evaluated, stored
from xray_core.errors import XrayError
from xray_core.evaluation.comparison import Comparison, compare
from xray_core.evaluation.metrics import evaluate
from xray_core.evaluation.tables import NAMES, format_metric
from xray_core.stats.bootstrap import reporting
from xray_core.stats.intervals import Estimate

_COMPARED = ("sensitivity", "specificity", "accuracy", "roc_auc", "calibration_error")


def comparison(chosen: Evaluated, fold: str) -> None:
    """Choose another model; each is judged at its own decision threshold."""
    st.subheader("Two models on the same images")
    others = [name for name, problem in list_models() if not problem and name != chosen.model]
    if not others:
        st.info(
            "There is no other model to compare with. Train one, for example with "
            "`python train.py --recipe cnn`.",
            icon=":material/model_training:",
        )
        return
    other_name = st.selectbox("Compare with", others, key="evaluation_other")
    try:
        other = stored(other_name, fold)
        found = _compared(chosen.key, other.key, chosen, other)
    except XrayError as error:
        show_error(error)
        return
    st.markdown(_in_words(chosen.model, other_name, found))
    table = _table(chosen, other, found)
    st.dataframe(table, hide_index=True)
    left, right = st.columns(2, gap="medium")
    with left:
        st.caption(
            "Differences with 95% intervals, the same patients drawn for both. DeLong with images "
            f"of a patient as one cluster: {_p(found.auc_p_value)} (all images independent: "
            f"{_p(found.auc_p_value_images)}). McNemar with images of a patient as one cluster: "
            f"{_p(found.mcnemar_p_value)} (exact, all images independent: "
            f"{_p(found.mcnemar_p_value_images)})."
        )
        csv_button(table, f"{chosen.slug}-against-{other_name}", "Download the comparison (CSV)")
        st.dataframe(
            pd.DataFrame(
                {
                    "Images": [f"{chosen.model} right", f"{chosen.model} wrong"],
                    f"{other_name} right": [found.both_right, found.only_b_right],
                    f"{other_name} wrong": [found.only_a_right, found.neither_right],
                }
            ),
            hide_index=True,
        )
    with right:
        st.altair_chart(
            charts.roc(chosen.roc, {}, other.roc),
            alt=f"ROC curves of {chosen.model} (solid) and {other_name} (dashed)",
        )
        st.caption(f"Solid, with its band: {chosen.model}. Dashed: {other_name}.")
    st.markdown(f"**Images that the two call differently: {len(found.disagreements)}**")
    listed = found.disagreements.rename(
        columns={"probability_a": chosen.model, "probability_b": other_name}
    ).replace({"right": {"A": chosen.model, "B": other_name}})
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        listed, hide_index=True, column_config={chosen.model: percent, other_name: percent}
    )
    csv_button(
        listed, f"{chosen.slug}-disagreements-{other_name}", "Download the disagreements (CSV)"
    )


@st.cache_resource(max_entries=8, show_spinner="Comparing...")
def _compared(key: str, other_key: str, _chosen: Evaluated, _other: Evaluated) -> Comparison:
    with reporting(None):  # a cached function must draw nothing on the page that called it
        return compare(
            _chosen.table,
            _other.table,
            threshold_a=_chosen.calibration.decision_threshold,
            threshold_b=_other.calibration.decision_threshold,
        )


def _table(chosen: Evaluated, other: Evaluated, found: Comparison) -> pd.DataFrame:
    a = evaluate(chosen.scores, threshold=chosen.calibration.decision_threshold)
    b = evaluate(other.scores, threshold=other.calibration.decision_threshold)
    differences = {
        "sensitivity": found.sensitivity_difference,
        "specificity": found.specificity_difference,
        "accuracy": found.accuracy_difference,
        "roc_auc": found.auc_difference,
    }
    return pd.DataFrame(
        [
            {
                "Metric": NAMES[name],
                chosen.model: format_metric(name, getattr(a, name)),
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


def _in_words(name: str, other: str, found: Comparison) -> str:
    difference = found.accuracy_difference
    if difference.low > 0 or difference.high < 0:
        better = name if difference.value > 0 else other
        verdict = f"**{better}** is right more often (95% CI of the difference excludes 0)"
    else:
        verdict = "the 95% CI of the difference in accuracy includes 0"
    return (
        f"On {found.images} images of {found.patients} patients, {name} alone is right on "
        f"{found.only_a_right} and {other} alone on {found.only_b_right}: {verdict}."
    )


def _p(value: float) -> str:
    if math.isnan(value):
        return "p not defined"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
