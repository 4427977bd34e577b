"""The sliders of the Evaluation page: threshold and prevalence."""

import streamlit as st

from ui.common.errors import show_errors
from ui.evaluation.data import Evaluation

_POINTS = {"decision": "Decision", "exclusion": "Exclusion"}
_DEFAULT_PREVALENCE = 10  # percent


def show_controls(evaluation: Evaluation) -> tuple[float, float]:
    """Draw the sliders.

    Returns the threshold on the calibrated probability and the prevalence, both in [0, 1].
    """
    left, right = st.columns(2, gap="large")
    with left:
        threshold = _threshold(evaluation)
    with right:
        prevalence = _prevalence(evaluation.scores.prevalence)
    return threshold, prevalence


def _threshold(evaluation: Evaluation) -> float:
    points = {
        "decision": evaluation.calibration.decision_threshold,
        "exclusion": evaluation.calibration.exclusion_threshold,
    }
    st.session_state.setdefault("evaluation_point", "decision")
    point = st.segmented_control(
        "Operating point (threshold)",
        list(points),
        format_func=lambda name: f"{_POINTS[name]} ({points[name]:.1%})",
        key="evaluation_point",
        help="The decision threshold gives both kinds of error the same weight. The exclusion "
        "threshold has a sensitivity of 99% on validation images and altered copies of them. "
        "Neither was fitted to test images.",
    )
    if point or "evaluation_threshold" not in st.session_state:
        st.session_state["evaluation_threshold"] = round(100 * points[point or "decision"], 1)
    percent = st.slider(
        "Threshold (pneumonia at or above)",
        0.0,
        100.0,
        step=0.1,
        format="%.1f%%",
        key="evaluation_threshold",
        on_change=show_errors()(_clear_operating_point),
    )
    # The slider is rounded; at an operating point the exact threshold counts.
    return points[point] if point else percent / 100


def _prevalence(in_images: float) -> float:
    st.session_state.setdefault("evaluation_prevalence", _DEFAULT_PREVALENCE)
    percent = st.slider(
        "Prevalence of pneumonia in your setting",
        1,
        70,
        format="%d%%",
        key="evaluation_prevalence",
        help="The share of examined patients who have pneumonia, for example 1% in screening and "
        f"70% on a ward. Predictive values depend on it. {in_images:.1%}, the share in these "
        "images, is not a clinical prevalence: the images were collected to include many of both "
        "classes.",
    )
    st.caption(
        f"Changes PPV, NPV and net benefit. {in_images:.1%} of these images show pneumonia, which "
        "is not a clinical prevalence."
    )
    return percent / 100


def _clear_operating_point() -> None:
    st.session_state["evaluation_point"] = None
