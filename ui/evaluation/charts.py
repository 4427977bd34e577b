"""Interactive charts of the Evaluation page: Altair specifications from computed tables.

Blue is normal or the model, vermilion pneumonia or the operating point; both are told apart by all
readers and on both themes, and shape, dash or position says the same.
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from xray_core.evaluation.curves import ReliabilityDiagram, RocCurve
from xray_core.evaluation.metrics import Metrics

BLUE, VERMILION, GREY = "#2f86d1", "#dd6027", "#8a929c"
_HEIGHT = 360
_MOST_POINTS = 2000


def roc(
    curve: RocCurve, points: dict[str, Metrics], other: RocCurve | None
) -> alt.LayerChart | alt.FacetChart:
    """The ROC curve with its 95% band and named operating points, and another model's curve."""
    x = alt.X("false_positive_rate:Q", title="False-positive rate (1 - specificity)", axis=_share())
    layers: list[alt.Chart] = [_diagonal()]
    layers.append(
        alt.Chart(curve.band)
        .mark_area(color=BLUE, opacity=0.22)
        .encode(x=x, y=alt.Y("low:Q", title="Sensitivity", axis=_share()), y2="high:Q")
    )
    layers.append(
        alt.Chart(_without_infinity(curve.points))
        .mark_line(color=BLUE, strokeWidth=2, interpolate="linear", point=_hover_point(BLUE))
        .encode(x=x, y="sensitivity:Q", order="step:Q", tooltip=_tips(_ROC_TIPS))
    )
    if other is not None:
        layers.append(
            alt.Chart(_without_infinity(other.points))
            .mark_line(color=VERMILION, strokeWidth=2, strokeDash=[6, 3])
            .encode(x=x, y="sensitivity:Q", order="step:Q", tooltip=_tips(_ROC_TIPS))
        )
    if points:  # without points the chart would hold a graphic that has no name
        layers.append(_operating_points(points))
    return alt.layer(*layers).properties(height=_HEIGHT)


def precision_recall(
    curve: pd.DataFrame, prevalence: float, now: Metrics
) -> alt.LayerChart | alt.FacetChart:
    """Precision against recall, with the baseline of guessing and the current threshold."""
    line = (
        alt.Chart(_thinned(curve))
        .mark_line(color=BLUE, strokeWidth=2, point=_hover_point(BLUE))
        .encode(
            x=alt.X("recall:Q", title="Recall (sensitivity)", axis=_share()),
            y=alt.Y(
                "precision:Q",
                title="Precision (PPV on these images)",
                axis=_share(),
                scale=alt.Scale(domain=[0, 1]),
            ),
            order=alt.Order("threshold:Q", sort="descending"),
            tooltip=_tips({"threshold": "Threshold", "recall": "Recall", "precision": "Precision"}),
        )
    )
    baseline = pd.DataFrame({"y": [prevalence], "label": [f"guessing: {prevalence:.1%}"]})
    rule = alt.Chart(baseline).mark_rule(color=GREY, strokeDash=[3, 3]).encode(y="y:Q")
    text = (
        alt.Chart(baseline)
        .mark_text(color=GREY, align="left", dy=-7, x=6)
        .encode(y="y:Q", text="label:N")
    )
    cells = now.confusion
    called = cells.true_positive + cells.false_positive
    here = pd.DataFrame(
        {
            "recall": [now.sensitivity.value],
            "precision": [cells.true_positive / called if called else np.nan],
            "threshold": [now.threshold],
        }
    )
    mark = (
        alt.Chart(here)
        .mark_point(color=VERMILION, filled=True, size=130, shape="diamond")
        .encode(
            x="recall:Q",
            y="precision:Q",
            tooltip=_tips(
                {"threshold": "Threshold now", "recall": "Recall", "precision": "Precision"}
            ),
        )
    )
    return alt.layer(rule, text, line, mark).properties(height=_HEIGHT)


def histogram(
    table: pd.DataFrame, label: str, threshold: float, band: tuple[float, float]
) -> alt.LayerChart | alt.FacetChart:
    """The images of one class by probability, with the threshold and the uncertain band."""
    normal = label == "NORMAL"
    x = alt.X(
        "low:Q",
        bin="binned",
        title=None if normal else "Probability of pneumonia (prior 50%)",
        axis=_share(),
        scale=_unit(),
    )
    shade = pd.DataFrame({"low": [band[0]], "high": [band[1]]})
    under = (
        alt.Chart(shade)
        .mark_rect(color=GREY, opacity=0.22)
        .encode(
            x=x,
            x2="high:Q",
            tooltip=[
                alt.Tooltip("low:Q", format=".0%", title="Uncertain from"),
                alt.Tooltip("high:Q", format=".0%", title="to"),
            ],
        )
    )
    bars = (
        alt.Chart(table[table["label"] == label])
        .mark_bar(color=BLUE if normal else VERMILION)
        .encode(
            x=x,
            x2="high:Q",
            y=alt.Y("images:Q", title=label.capitalize(), axis=alt.Axis(minExtent=40, tickCount=4)),
            tooltip=[
                alt.Tooltip("low:Q", format=".0%", title="From"),
                alt.Tooltip("high:Q", format=".0%", title="to"),
                alt.Tooltip("images:Q", title="Images"),
            ],
        )
    )
    line = (
        alt.Chart(pd.DataFrame({"threshold": [threshold]}))
        .mark_rule(color=GREY, size=2, strokeDash=[5, 3])
        .encode(x="threshold:Q")
    )
    return alt.layer(under, bars, line).properties(height=150 if normal else 180)


def reliability(diagram: ReliabilityDiagram) -> alt.LayerChart | alt.FacetChart:
    """Observed against predicted share, with 95% intervals; the size of a point is its images."""
    table = pd.DataFrame([vars(b) for b in diagram.bins if b.images])
    x = alt.X("predicted:Q", title="Mean probability in the bin", axis=_share(), scale=_unit())
    tips = [
        alt.Tooltip("predicted:Q", format=".1%", title="Predicted"),
        alt.Tooltip("observed:Q", format=".1%", title="Observed"),
        alt.Tooltip("observed_low:Q", format=".1%", title="95% from"),
        alt.Tooltip("observed_high:Q", format=".1%", title="to"),
        alt.Tooltip("images:Q", title="Images"),
        alt.Tooltip("patients:Q", title="Patients"),
    ]
    base = alt.Chart(table)
    bars = base.mark_rule(color=BLUE, size=2).encode(
        x=x,
        y=alt.Y("observed_low:Q", title="Share that shows pneumonia", axis=_share(), scale=_unit()),
        y2="observed_high:Q",
        tooltip=tips,
    )
    dots = base.mark_point(color=BLUE, filled=True, opacity=1).encode(
        x=x,
        y="observed:Q",
        size=alt.Size("images:Q", legend=None, scale=alt.Scale(range=[40, 400])),
        tooltip=tips,
    )
    counts = base.mark_text(dx=16, dy=12, color=GREY).encode(x=x, y="observed:Q", text="images:Q")
    return alt.layer(_diagonal(), bars, dots, counts).properties(height=_HEIGHT)


def decision(curve: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Net benefit of the model against calling all and calling none, by the risk one acts on."""
    low = float(min(0, curve["low"].min()))
    top = float(curve["model"].max()) * 1.1 + 1e-3
    scale = alt.Scale(domain=[max(low, -0.25 * top), top])  # what lies below is cut off, not moved
    names = {"model": "the model", "all": "treat all", "none": "treat none"}
    long = curve.melt("risk", list(names), "strategy", "benefit").replace({"strategy": names})
    order = list(names.values())
    lines = (
        alt.Chart(long)
        .mark_line(clip=True)
        .encode(
            x=alt.X("risk:Q", title="Threshold probability", axis=_share()),
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
                alt.Tooltip("risk:Q", format=".0%", title="Acting from"),
                alt.Tooltip("benefit:Q", format=".3f", title="Net benefit"),
            ],
        )
    )
    band = (
        alt.Chart(curve)
        .mark_area(color=BLUE, opacity=0.2, clip=True)
        .encode(x="risk:Q", y=alt.Y("low:Q", scale=scale), y2="high:Q")
    )
    return alt.layer(band, lines).properties(height=_HEIGHT)


def abstention(
    curve: pd.DataFrame, share: float, accuracy: float
) -> alt.LayerChart | alt.FacetChart:
    """Accuracy of the images decided against their share; the mark is the bundle's own band."""
    line = (
        alt.Chart(_thinned(curve[curve["share_decided"] >= 0.05]))
        .mark_line(color=BLUE)
        .encode(
            x=alt.X("share_decided:Q", title="Share of images decided", axis=_share()),
            y=alt.Y(
                "accuracy:Q",
                title="Accuracy of those",
                axis=alt.Axis(format=".0%"),
                scale=alt.Scale(zero=False),
            ),
            tooltip=_tips({"share_decided": "Decided", "accuracy": "Accuracy"}),
        )
    )
    here = pd.DataFrame({"share_decided": [share], "accuracy": [accuracy]})
    mark = (
        alt.Chart(here)
        .mark_point(color=VERMILION, filled=True, size=130, shape="diamond")
        .encode(
            x="share_decided:Q",
            y="accuracy:Q",
            tooltip=_tips({"share_decided": "Outside the band", "accuracy": "Accuracy"}),
        )
    )
    return alt.layer(line, mark).properties(height=260)


_ROC_TIPS = {
    "threshold": "Threshold",
    "sensitivity": "Sensitivity",
    "false_positive_rate": "False-positive rate",
}


def _operating_points(points: dict[str, Metrics]) -> alt.Chart:
    table = pd.DataFrame(
        {
            "name": list(points),
            "sensitivity": [p.sensitivity.value for p in points.values()],
            "false_positive_rate": [1 - p.specificity.value for p in points.values()],
            "threshold": [p.threshold for p in points.values()],
        }
    )
    return (
        alt.Chart(table)
        .mark_point(color=VERMILION, filled=True, size=140, opacity=1)
        .encode(
            x="false_positive_rate:Q",
            y="sensitivity:Q",
            shape=alt.Shape(
                "name:N",
                sort=list(points),
                scale=alt.Scale(
                    domain=list(points), range=["circle", "square", "diamond"][: len(points)]
                ),
                legend=alt.Legend(title=None, orient="bottom-right", symbolFillColor=VERMILION),
            ),
            tooltip=[alt.Tooltip("name:N", title="Point"), *_tips(_ROC_TIPS)],
        )
    )


def _diagonal() -> alt.Chart:
    return (
        alt.Chart(pd.DataFrame({"x": [0, 1], "y": [0, 1]}))
        .mark_line(color=GREY, strokeDash=[3, 3], strokeWidth=1)
        .encode(x="x:Q", y="y:Q")
    )


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most 2,000 rows, evenly spread, with both ends: a browser draws no more, nor shows it."""
    if len(curve) <= _MOST_POINTS:
        return curve
    return curve.iloc[np.linspace(0, len(curve) - 1, _MOST_POINTS).round().astype(int)]


def _without_infinity(curve: pd.DataFrame) -> pd.DataFrame:
    """JSON has no infinity: the first threshold of a ROC curve becomes missing. Adds the order."""
    curve = _thinned(curve)
    return curve.assign(
        threshold=curve["threshold"].replace(np.inf, np.nan), step=np.arange(len(curve))
    )


def _tips(names: dict[str, str]) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", title=title, format=".1%") for name, title in names.items()]


def _hover_point(colour: str) -> alt.OverlayMarkDef:
    return alt.OverlayMarkDef(color=colour, size=60, opacity=0)


def _share() -> alt.Axis:
    return alt.Axis(format=".0%", tickCount=5)


def _unit() -> alt.Scale:
    return alt.Scale(domain=[0, 1])
