"""The first screen of the Evaluation page: headline numbers, sliders, and the table of them all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pandas as pd
import streamlit as st

from ui.common.errors import show_errors
from ui.common.widgets import csv_button
from ui.evaluation.data import Evaluated
from ui.evaluation.wording import frequencies, meanings
from xray_core.evaluation.groups import SMALL_GROUP
from xray_core.evaluation.metrics import Metrics, independent_intervals
from xray_core.evaluation.tables import NAMES, metric_spec
from xray_core.stats.bootstrap import reporting
from xray_core.stats.intervals import format_interval, format_value

HEADLINE = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "roc_auc": "ROC AUC",
    "calibration_error": "Calibration",
}
_POINTS = {"main": "Main", "exclusion_threshold": "Rule-out"}
_SLOW_SECONDS, _REFRESH_SECONDS = 1.0, 0.2
_DEFAULT_PREVALENCE = 10  # percent
_WHY_PREVALENCE = (
    "How many of those examined have pneumonia. Predictive values hang on it, and the "
    "{share:.1%} of these images is no clinic's: they were collected to have many of both. Set the "
    "share where you work, from 1% (screening) to 70% (a ward)."
)


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show a progress bar for the replicates computed inside, where they take over a second."""
    place = st.empty()
    shown = time.monotonic() + _SLOW_SECONDS - _REFRESH_SECONDS
    step = 1

    def show(done: int, total: int) -> None:
        nonlocal shown, step
        if time.monotonic() - shown > _REFRESH_SECONDS:
            shown = time.monotonic()
            place.progress(
                done / total,
                f"Computing the intervals, step {step}: {done:,} of {total:,} resamples",
            )
        step += done == total

    with reporting(show):
        yield
    place.empty()


def headline(found: Metrics) -> None:
    """The numbers that matter first, each with its interval and, one click away, its meaning."""
    words = meanings(found)
    at = f"at {found.stated_prevalence:.0%}"
    with st.container(horizontal=True, gap="small", key="evaluation-headline"):
        for name, title in {**HEADLINE, "ppv": f"PPV {at}", "npv": f"NPV {at}"}.items():
            estimate, spec = getattr(found, name), metric_spec(name)
            st.metric(
                title,
                format_value(estimate.value, spec),
                delta=format_interval(estimate.low, estimate.high, spec),
                delta_color="off",
                delta_arrow="off",
                help=f"{words[name]} Below: 95% interval.",
                width=118,
            )
    st.markdown(frequencies(found))


def controls(chosen: Evaluated) -> tuple[float, float]:
    """The sliders: threshold in [0, 1] on the calibrated probability, and prevalence in [0, 1]."""
    points = {
        "main": chosen.calibration.decision_threshold,
        "exclusion_threshold": chosen.calibration.exclusion_threshold,
    }
    st.session_state.setdefault("evaluation_point", "main")
    left, right = st.columns(2, gap="large")
    with left:
        point = st.segmented_control(
            "Operating point",
            list(points),
            format_func=lambda name: f"{_POINTS[name]} ({points[name]:.1%})",
            key="evaluation_point",
            help="Main weighs both errors alike; rule-out finds 99% of pneumonia on the "
            "validation split. Both were fixed before the test split was looked at.",
        )
    start = 100 * points[point or "main"]
    if "evaluation_threshold" not in st.session_state or point:
        st.session_state["evaluation_threshold"] = round(start, 1)
    with left:
        percent = st.slider(
            "Threshold: called pneumonia from",
            0.0,
            100.0,
            step=0.1,
            format="%.1f%%",
            key="evaluation_threshold",
            on_change=show_errors()(_leave_operating_point),
        )
    with right:
        st.session_state.setdefault("evaluation_prevalence", _DEFAULT_PREVALENCE)
        prevalence = st.slider(
            "Prevalence: share of pneumonia where it is used",
            1,
            70,
            format="%d%%",
            key="evaluation_prevalence",
            help=_WHY_PREVALENCE.format(share=chosen.scores.prevalence),
        )
        st.caption(
            "Moves PPV, NPV and the net benefit. "
            f"The {chosen.scores.prevalence:.1%} of these images is no clinic's."
        )
    # The slider shows a rounded value; at an operating point the exact one counts.
    return (points[point] if point else percent / 100), prevalence / 100


def all_numbers(chosen: Evaluated, found: Metrics) -> None:
    """Confusion matrix in counts and rates, and every metric with both kinds of interval."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.subheader("Confusion matrix")
        st.html(_matrix(found))
        st.caption(three_ways(chosen))
        figure_buttons(
            "confusion", "Confusion matrix", chosen.slug, lambda kind: _draw_confusion(found, kind)
        )
    with right:
        st.subheader("Every number")
        table = metrics_frame(chosen, found)
        st.dataframe(table, hide_index=True, height=35 * (len(table) + 1) + 3)
        st.caption(
            "Interval: 95%, patient-level bootstrap, 2,000 resamples (BCa), since images of one "
            "patient resemble each other. Beside it Wilson's and DeLong's, which take all images as "
            "independent. F1, accuracy and average precision hold at these images' share of "
            f"pneumonia ({found.prevalence:.1%}); calibration, Brier score and log loss after "
            "shifting the log-odds from a prior of 50% to that share."
        )
        csv_button(table, f"{chosen.slug}-metrics", "Download the numbers (CSV)")
    with st.expander("What each number means"):
        words = meanings(found)
        st.markdown("\n".join(f"- **{NAMES[name]}**: {words[name]}" for name in NAMES))


def three_ways(chosen: Evaluated) -> str:
    """Why the counts here differ from those of the Prediction page, in numbers."""
    decided = chosen.decided
    low, high = chosen.calibration.uncertain
    return (
        "These counts are two-way: every image lies on one side of the threshold. The Prediction "
        f"page gives three kinds of result. Of these {decided.images} images it would show "
        f"{decided.uncertain} as Indeterminate (probability from {low:.0%} to {high:.0%}) and "
        f"{decided.refused} as Not analysed, whatever their side, so its counts of found and "
        "missed pneumonia are smaller."
    )


def metrics_frame(chosen: Evaluated, found: Metrics) -> pd.DataFrame:
    """Every metric as a row: name, value, interval, and Wilson's or DeLong's beside it."""
    independent = independent_intervals(chosen.scores, found)
    rows = []
    for name, estimate in found.estimates():
        spec = metric_spec(name)
        alone = independent.get(name)
        where = f" at {found.stated_prevalence:.0%}" if name in ("ppv", "npv") else ""
        rows.append(
            {
                "Metric": NAMES[name] + where,
                "Value": format_value(estimate.value, spec),
                "95% interval": ""
                if math.isnan(estimate.value)
                else format_interval(estimate.low, estimate.high, spec),
                "Wilson, DeLong": ""
                if alone is None or math.isnan(alone[0])
                else format_interval(*alone, spec),
            }
        )
    return pd.DataFrame(rows)


def figure_buttons(figure: str, title: str, slug: str, draw: Callable[[str], bytes]) -> None:
    """Buttons that download a figure as PNG and SVG; it is drawn when one is pressed.

    `title` is the figure's name on the buttons, `figure` the one in the names of the files.
    """
    with st.container(horizontal=True):
        for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml")):
            st.download_button(
                f"{title} ({kind.upper()})",
                data=partial(draw, kind),
                file_name=f"{slug}-{figure}.{kind}",
                mime=mime,
                key=f"{figure}-{kind}",
                on_click="ignore",
                icon=":material/download:",
            )


def _draw_confusion(found: Metrics, kind: str) -> bytes:
    from xray_core.evaluation.figures import as_bytes, draw_confusion

    return as_bytes(draw_confusion(found.confusion), kind)


def _leave_operating_point() -> None:
    st.session_state["evaluation_point"] = None


def _matrix(found: Metrics) -> str:
    """The confusion matrix as an accessible HTML table: counts, and shares of each true class.

    The shares of a class of under 20 images carry their interval.
    """
    table = found.confusion
    hit, clear = found.sensitivity, found.specificity
    rows = (
        ("Pneumonia", (table.true_positive, "found", hit), (table.false_negative, "missed", None)),
        (
            "Normal",
            (table.false_positive, "wrongly flagged", None),
            (table.true_negative, "correctly negative", clear),
        ),
    )
    body = ""
    for name, *row in rows:
        total = sum(count for count, _, _ in row)
        [estimate] = [given for _, _, given in row if given is not None]
        cells = ""
        for count, word, given in row:
            share = count / total if total else 0.0
            text = f"{share:.1%}" if total else "no image"
            if 0 < total < SMALL_GROUP and not math.isnan(estimate.low):
                low, high = estimate.low, estimate.high
                if given is None:  # the other side of the same rate
                    low, high = 1 - high, 1 - low
                text += f" of {total} ({format_interval(low, high)})"
            cells += (
                f"<td style='background:rgba(47,134,209,{0.08 + 0.42 * share:.2f})'>"
                f"<b>{count}</b><br>{text}<br><small>{word}</small></td>"
            )
        body += f"<tr><th scope='row'>{name}<br><small>{total} images</small></th>{cells}</tr>"
    return (
        "<style>.confusion{border-collapse:separate;border-spacing:4px;width:100%}"
        ".confusion th{font-weight:600;padding:.3rem;text-align:center}"
        ".confusion td{padding:.7rem .3rem;text-align:center;border-radius:6px}"
        ".confusion b{font-size:1.6rem}</style>"
        "<table class='confusion'><caption style='caption-side:top;text-align:left'>"
        "Rows: reference label. Columns: model output.</caption>"
        "<tr><td style='background:none'></td><th scope='col'>called pneumonia</th>"
        f"<th scope='col'>called normal</th></tr>{body}</table>"
    )
