"""The sections of the Evaluation page beneath the headline: ranking, calibration, use, groups."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ui.common.widgets import csv_button
from ui.evaluation import charts
from ui.evaluation.data import Evaluated
from ui.evaluation.numbers import figure_buttons
from xray_core.evaluation.calibration import ReliabilityBin
from xray_core.evaluation.curves import decision_curve
from xray_core.evaluation.groups import SMALL_GROUP, accuracy_against_share, positives
from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.scores import Scores
from xray_core.evaluation.tables import (
    NAMES,
    describe_calibration,
    format_group_metric,
    format_metric,
)
from xray_core.labels import SUBTYPES
from xray_core.stats.intervals import Estimate, format_estimate

_SUBTYPES = {name: f"{shown.capitalize()} pneumonia" for name, shown in SUBTYPES.items()}
_GATE = {
    "passed": "Passed",
    "caution": "Unlike the training images (caution)",
    "refused": "Refused as foreign",
}
_DOWNLOADS = {"subtype": "By kind of pneumonia (CSV)", "gate": "By input check (CSV)"}


def ranking(chosen: Evaluated, found: Metrics) -> None:
    """ROC with its band and operating points, precision-recall with its baseline."""
    points = {
        "main": evaluate(chosen.scores, threshold=chosen.calibration.decision_threshold),
        "rule-out": evaluate(chosen.scores, threshold=chosen.calibration.exclusion_threshold),
    }
    shown = points if found.threshold in {p.threshold for p in points.values()} else None
    shown = shown or {**points, "now": found}
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("ROC curve")
        st.caption(
            f"Area {format_metric('roc_auc', found.roc_auc)}. The band holds 95% of the curves of "
            "resampled patients, at each false-positive rate by itself."
        )
        if chosen.roc.points.empty:
            st.info("A ROC curve needs images of both classes.")
        else:
            st.altair_chart(
                charts.roc(chosen.roc, shown, None),
                alt="ROC curve: sensitivity against false-positive rate, with operating points",
            )
            figure_buttons(
                "roc", "ROC curve", chosen.slug, lambda kind: _draw_roc(chosen, points, kind)
            )
            csv_button(chosen.roc.points, f"{chosen.slug}-roc", "ROC (CSV)")
    with right:
        st.subheader("Precision and recall")
        st.caption(
            f"Average precision {format_metric('average_precision', found.average_precision)}. The "
            "baseline, guessing, is these images' share of pneumonia; the diamond the threshold."
        )
        st.altair_chart(
            charts.precision_recall(chosen.precision_recall, chosen.scores.prevalence, found),
            alt="Precision against recall, with the baseline of guessing",
        )
        csv_button(
            chosen.precision_recall, f"{chosen.slug}-precision-recall", "Precision-recall (CSV)"
        )


def scores(chosen: Evaluated, found: Metrics) -> None:
    """How the probabilities of each class lie about the threshold."""
    st.subheader("Scores by class")
    st.caption("Dashed: the threshold. Grey: the uncertain band, where the model gives no verdict.")
    for label in ("NORMAL", "PNEUMONIA"):
        st.altair_chart(
            charts.histogram(
                chosen.histogram, label, found.threshold, chosen.calibration.uncertain
            ),
            alt=f"Histogram of the probabilities of {label.lower()} images",
        )
    csv_button(chosen.histogram, f"{chosen.slug}-scores", "Scores by class (CSV)")


def calibration(chosen: Evaluated, found: Metrics) -> None:
    """The reliability diagram, the calibration error and what chance alone would give."""
    diagram = chosen.reliability
    error = found.calibration_error
    st.subheader("Reliability")
    if error.value != error.value:
        st.info("Calibration can only be measured on images of both classes.")
        return
    st.markdown(
        f"Expected calibration error **{format_metric('calibration_error', error)}**. "
        + describe_calibration(error.value, *diagram.reference)
    )
    left, right = st.columns([5, 4], gap="medium")
    table = pd.DataFrame([vars(b) for b in diagram.bins])
    with left:
        st.altair_chart(
            charts.reliability(diagram),
            alt="Reliability diagram: observed share of pneumonia against stated probability",
        )
        st.caption(
            "The number beside a point is its images. Probabilities are stated at a prior of 50%; "
            f"here their log-odds were shifted to these images' {found.prevalence:.1%}, without "
            "which no model could agree with them. Bars: 95% (Wilson, by patients)."
        )
        figure_buttons(
            "calibration",
            "Reliability diagram",
            chosen.slug,
            lambda kind: _draw_calibration(chosen, kind),
        )
    with right:
        show = pd.DataFrame(
            [
                {
                    "bin": f"{b.low:.0%} to {b.high:.0%}",
                    "images": b.images,
                    "patients": b.patients,
                    "predicted": b.predicted,
                    "observed": _observed(b),
                }
                for b in diagram.bins
                if b.images
            ]
        )
        st.dataframe(
            show,
            hide_index=True,
            column_config={"predicted": st.column_config.NumberColumn(format="percent")},
        )
        csv_button(table, f"{chosen.slug}-reliability", "Reliability bins (CSV)")
        st.markdown(
            f"Brier score {format_metric('brier', found.brier)}, "
            f"log loss {format_metric('log_loss', found.log_loss)}."
        )


def usefulness(chosen: Evaluated, found: Metrics) -> None:
    """The decision curve at the stated prevalence."""
    st.subheader("Net benefit (decision curve)")
    curve = decision_curve(chosen.scores, found.stated_prevalence)
    if curve.empty:
        st.info("A decision curve needs images of both classes.")
        return
    st.markdown(
        "Someone who would treat from a probability of 10% holds nine needless treatments for as "
        "bad as one missed pneumonia. The curve counts, per image, pneumonia found minus false "
        "alarms at that exchange rate. The model helps where its line lies above both others. "
        f"Holds where {found.stated_prevalence:.0%} have pneumonia (the slider above), to which "
        "the probabilities are shifted."
    )
    st.altair_chart(
        charts.decision(curve),
        alt="Net benefit of the model, of calling every image and of calling none",
    )
    csv_button(curve, f"{chosen.slug}-decision-curve", "Decision curve (CSV)")


def groups(chosen: Evaluated, found: Metrics) -> None:
    """By subtype, by outcome of the gate, and what abstaining buys."""
    if chosen.subtypes:
        st.subheader("By kind of pneumonia")
        normal = chosen.scores.label.size - int(chosen.scores.label.sum())
        st.caption(
            f"ROC AUC: each kind against all {normal} normal images, so the specificity is the "
            f"same for all: {format_metric('specificity', found.specificity)}."
        )
        kinds = chosen.table.loc[chosen.scores.label, "subtype"].nunique()
        if kinds > len(chosen.subtypes):
            st.caption(f"The {len(chosen.subtypes)} most frequent of {kinds} kinds.")
        _group_table(
            chosen,
            "subtype",
            {
                _SUBTYPES.get(name, name): (scores, *positives(scores))
                for name, scores in chosen.subtypes.items()
            },
            found.threshold,
            ("sensitivity", "roc_auc"),
        )
    if chosen.gate:
        st.subheader("By outcome of the gate")
        st.caption("The gate compares an image with the training images before the verdict.")
        _group_table(
            chosen,
            "gate",
            {
                _GATE.get(name, name): (scores, len(scores.label), scores.weights.patients)
                for name, scores in chosen.gate.items()
            },
            found.threshold,
            ("accuracy", "sensitivity", "specificity"),
        )
    st.subheader("Where the model abstains")
    low, high = chosen.calibration.uncertain
    decided = chosen.decided
    if decided.metrics is None:
        st.info("No image lies outside the uncertain band.")
        return
    inside = decided.metrics
    st.markdown(
        f"Between {low:.0%} and {high:.0%} the model says UNCERTAIN. It decides "
        f"**{decided.share_decided:.1%}** of these images ({decided.decided} of {decided.images}; "
        f"{decided.uncertain} uncertain, {decided.refused} refused), and of those it calls "
        f"**{format_metric('accuracy', inside.accuracy)}** rightly; sensitivity "
        f"{format_metric('sensitivity', inside.sensitivity)}, specificity "
        f"{format_metric('specificity', inside.specificity)}."
    )
    curve = accuracy_against_share(
        chosen.scores.label, chosen.scores.probability, chosen.calibration.decision_threshold
    )
    st.altair_chart(
        charts.abstention(curve, decided.share_decided, inside.accuracy.value),
        alt="Accuracy of the images decided against the share decided",
    )
    st.caption("The most certain images first; the diamond is the model's own uncertain band.")
    csv_button(curve, f"{chosen.slug}-abstention", "Accuracy by share decided (CSV)")


def _observed(b: ReliabilityBin) -> str:
    """The observed share of a bin with its interval, and with its images where they are few."""
    words = format_estimate(Estimate(b.observed, b.observed_low, b.observed_high))
    return words if b.images >= SMALL_GROUP else f"{words}, n = {b.images}"


def _group_table(
    chosen: Evaluated,
    column: str,
    parts: dict[str, tuple[Scores, int, int]],
    threshold: float,
    shown: tuple[str, ...],
) -> None:
    """A row for each group: its images, and the images and patients that are its own."""
    rows = []
    for name, (scores, images, patients) in parts.items():
        found = evaluate(scores, threshold=threshold)
        rows.append(
            {
                "Group": name,
                "Images": images,
                "With pneumonia": int(scores.label.sum()),
                "Patients": patients,
                **{NAMES[metric]: format_group_metric(metric, scores, found) for metric in shown},
            }
        )
    table = pd.DataFrame(rows)
    st.dataframe(table, hide_index=True)
    csv_button(table, f"{chosen.slug}-by-{column}", _DOWNLOADS[column])


def _draw_roc(chosen: Evaluated, points: dict[str, Metrics], kind: str) -> bytes:
    from xray_core.evaluation.figures import as_bytes, draw_roc

    return as_bytes(draw_roc(chosen.roc, points), kind)


def _draw_calibration(chosen: Evaluated, kind: str) -> bytes:
    from xray_core.evaluation.figures import as_bytes, draw_calibration

    return as_bytes(draw_calibration(chosen.reliability), kind)
