"""The figures as files: they draw what `curves`, `metrics` and `calibration_error` worked out.

Every function returns a matplotlib Figure that belongs to nobody (no pyplot state), so that pages
of several visitors can draw at once. Blue and vermilion (Okabe and Ito) are told apart by all
readers, and line styles carry the same meaning.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from xray_core.evaluation.calibration import (
    ReliabilityBin,
    calibrated_reference,
    reliability,
)
from xray_core.evaluation.curves import roc_band, roc_curve
from xray_core.evaluation.groups import prepare_table
from xray_core.evaluation.metrics import Metrics, evaluate
from xray_core.evaluation.rates import Confusion
from xray_core.evaluation.tables import OperatingPoints, as_text
from xray_core.stats.bootstrap import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b7280"


def draw_roc(
    curve: pd.DataFrame, band: pd.DataFrame, auc: Estimate, points: dict[str, Metrics]
) -> Figure:
    """The ROC curve of `roc_curve` with its pointwise 95% band and the named operating points."""
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="guessing")
    axes.fill_between(
        band["false_positive_rate"].astype(float),
        band["low"].astype(float),
        band["high"].astype(float),
        color=BLUE,
        alpha=0.2,
        linewidth=0,
        label="95% band (bootstrap over patients)",
    )
    axes.plot(
        curve["false_positive_rate"].astype(float),
        curve["sensitivity"].astype(float),
        color=BLUE,
        label=f"AUC {as_text('roc_auc', auc)}",
    )
    for (name, found), marker in zip(points.items(), "os^Dv", strict=False):
        sensitivity, specificity = found.sensitivity.value, found.specificity.value
        axes.plot(
            1 - specificity,
            sensitivity,
            marker=marker,
            color=VERMILION,
            markeredgecolor="white",
            linestyle="none",
            markersize=9,
            label=f"{name}: sensitivity {sensitivity:.1%}, specificity {specificity:.1%}",
        )
    axes.set(xlabel="False-positive rate (1 - specificity)", ylabel="Sensitivity")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def draw_calibration(
    bins: list[ReliabilityBin], error: Estimate, reference: tuple[float, float], prevalence: float
) -> Figure:
    """The reliability diagram with the images of each bin, at the prevalence of the images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5.8), dpi=150, layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="perfect")
    filled = [b for b in bins if b.images]
    axes.errorbar(
        [b.predicted for b in filled],
        [b.observed for b in filled],
        yerr=[
            [b.observed - b.observed_low for b in filled],
            [b.observed_high - b.observed for b in filled],
        ],
        color=BLUE,
        marker="o",
        capsize=3,
        linewidth=1,
        label="observed, 95% interval",
    )
    axes.set(ylabel="Share with pneumonia", ylim=(-0.03, 1.03), xlim=(-0.03, 1.03))
    axes.set_title(
        f"ECE {as_text('calibration_error', error)}; a perfectly calibrated model: "
        f"{reference[0]:.3f} to {reference[1]:.3f}",
        fontsize=8,
    )
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    centres = [(b.low + b.high) / 2 for b in bins]
    bars = below.bar(centres, [b.images for b in bins], width=0.09, color=BLUE)
    below.bar_label(bars, fontsize=7)
    below.set(
        xlabel=f"Probability of pneumonia, shifted to these images' {prevalence:.1%}",
        ylabel="Images",
    )
    below.margins(y=0.35)
    for part in (axes, below):
        _plain(part)
    return figure


def draw_confusion(confusion: Confusion) -> Figure:
    """The confusion matrix: images, and their share of what they really are."""
    figure, axes = _square()
    rows = [
        [confusion.true_negative, confusion.false_positive],
        [confusion.false_negative, confusion.true_positive],
    ]
    shares = [[count / sum(row) if sum(row) else math.nan for count in row] for row in rows]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(rows):
        for j, count in enumerate(row):
            share = "" if math.isnan(shares[i][j]) else f"\n{shares[i][j]:.1%}"
            colour = "white" if shares[i][j] > 0.55 else "black"
            axes.text(j, i, f"{count}{share}", ha="center", va="center", color=colour, fontsize=15)
    axes.set(
        xticks=[0, 1],
        yticks=[0, 1],
        xlabel="Called",
        ylabel="Is",
        xticklabels=["NORMAL", "PNEUMONIA"],
        yticklabels=["NORMAL", "PNEUMONIA"],
        xlim=(-0.5, 1.5),
        ylim=(1.5, -0.5),
    )
    axes.tick_params(axis="y", rotation=90)
    axes.grid(False)
    return figure


def draw_training(history: pd.DataFrame, best_epoch: int | None = None) -> Figure:
    """Accuracy and loss by epoch, training and validation, from a bundle's history table."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), dpi=150, layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for column, colour, style, label in (
            (name, BLUE, "-", "training"),
            (f"val_{name}", VERMILION, "--", "validation"),
        ):
            if column in history:
                axes.plot(
                    history["epoch"],
                    history[column],
                    color=colour,
                    linestyle=style,
                    marker="o",
                    markersize=3,
                    label=label,
                )
        if best_epoch is not None:
            axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch ({best_epoch})")
        axes.set(xlabel="Epoch", ylabel=name.capitalize())
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, frameon=False)
        _plain(axes)
    return figure


def as_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a file, `kind` "png" or "svg"; equal figures give equal bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def write_figures(
    folder: str | Path,
    predictions: pd.DataFrame,
    calibration: OperatingPoints,
    history: pd.DataFrame | None = None,
    best_epoch: int | None = None,
    fold: str = "test",
) -> list[Path]:
    """Write roc, calibration, confusion and (with a history) training as PNG into `folder`.

    `predictions` as in `report.summary`. Returns the files in that order.
    """
    images = predictions[predictions["fold"] == fold]
    ready = prepare_table(images, prior=calibration.prior)
    main = evaluate(ready, threshold=calibration.decision_threshold)
    points = {"main": main, "rule-out": evaluate(ready, threshold=calibration.exclusion_threshold)}
    low, high, _ = calibrated_reference(ready.shifted, ready.patient)
    bins = reliability(ready.label, ready.shifted, ready.patient)
    drawn = {
        "roc": draw_roc(roc_curve(ready), roc_band(ready), main.roc_auc, points),
        "calibration": draw_calibration(bins, main.calibration_error, (low, high), main.prevalence),
        "confusion": draw_confusion(main.confusion),
    }
    if history is not None:
        drawn["training"] = draw_training(history, best_epoch)
    written = []
    for name, figure in drawn.items():
        path = Path(folder) / f"{name}.png"
        path.write_bytes(as_bytes(figure, "png"))
        written.append(path)
    return written


def _square() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.5)
