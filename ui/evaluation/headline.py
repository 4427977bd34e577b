"""The first row of the Evaluation page: the main metrics and what they mean for 100 patients."""

import streamlit as st

from ui.evaluation.wording import explain_metrics, natural_frequencies
from xray_core.evaluation.metrics import Metrics
from xray_core.evaluation.tables import metric_spec
from xray_core.stats.intervals import format_interval, format_value

_TITLES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "roc_auc": "ROC AUC",
    "calibration_error": "Calibration error",
}


def show_headline(metrics: Metrics) -> None:
    """Draw the main metrics, each with its interval and, in its help text, its meaning."""
    meanings = explain_metrics(metrics)
    at = f"at {metrics.stated_prevalence:.0%}"
    with st.container(horizontal=True, gap="small", key="evaluation-headline"):
        for name, title in {**_TITLES, "ppv": f"PPV {at}", "npv": f"NPV {at}"}.items():
            estimate, spec = getattr(metrics, name), metric_spec(name)
            st.metric(
                title,
                format_value(estimate.value, spec),
                delta=format_interval(estimate.low, estimate.high, spec),
                delta_color="off",
                delta_arrow="off",
                help=f"{meanings[name]} Below the value: 95% interval.",
                width=128,
            )
    st.markdown(natural_frequencies(metrics))
