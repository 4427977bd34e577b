"""The figures as files: matplotlib drawings of what `curves` and `metrics` computed.

The figures use no pyplot state, so that pages of several visitors can draw at once. Blue and
vermilion (Okabe and Ito) can be distinguished by readers with any colour vision; line styles carry
the same meaning.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from xray_core.evaluation.curves import (
    ReliabilityDiagram,
    RocCurve,
    reliability_diagram,
    roc_curve,
)
from xray_core.evaluation.metrics import Confusion, Metrics, evaluate
from xray_core.evaluation.scores import prepare_table
from xray_core.evaluation.tables import format_metric
from xray_core.model.calibration import Calibration
from xray_core.stats.intervals import format_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6b7280"


def draw_roc(roc: RocCurve, points: dict[str, Metrics]) -> Figure:
    """Draw the ROC curve with its pointwise 95% band.

    Parameters
    ----------
    roc
        The result of `roc_curve`.
    points
        The metrics at the operating points to mark, by name.
    """
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="chance")
    axes.fill_between(
        roc.band["false_positive_rate"].astype(float),
        roc.band["low"].astype(float),
        roc.band["high"].astype(float),
        color=BLUE,
        alpha=0.2,
        linewidth=0,
        label="95% band (bootstrap over patients)",
    )
    axes.plot(
        roc.points["false_positive_rate"].astype(float),
        roc.points["sensitivity"].astype(float),
        color=BLUE,
        label=f"AUC {format_metric('roc_auc', roc.auc)}",
    )
    for (name, metrics), marker in zip(points.items(), "os^Dv", strict=False):
        sensitivity, specificity = metrics.sensitivity.value, metrics.specificity.value
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


def draw_calibration(diagram: ReliabilityDiagram) -> Figure:
    """Draw the reliability diagram, with the number of images in each bin beneath."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5.8), dpi=150, layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="perfect")
    filled = [b for b in diagram.bins if b.images]
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
        f"ECE {format_metric('calibration_error', diagram.error)}; a perfectly calibrated model: "
        f"{format_interval(*diagram.reference, '.3f')}",
        fontsize=8,
    )
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    centres = [(b.low + b.high) / 2 for b in diagram.bins]
    bars = below.bar(centres, [b.images for b in diagram.bins], width=0.09, color=BLUE)
    below.bar_label(bars, fontsize=7)
    below.set(
        xlabel=f"Probability of pneumonia, shifted to these images' {diagram.prevalence:.1%}",
        ylabel="Images",
    )
    below.margins(y=0.35)
    for part in (axes, below):
        _plain(part)
    return figure


def draw_confusion(confusion: Confusion) -> Figure:
    """Draw the confusion matrix: images, and their share of those with the same label."""
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
        xlabel="Model output",
        ylabel="Reference label",
        xticklabels=["NORMAL", "PNEUMONIA"],
        yticklabels=["NORMAL", "PNEUMONIA"],
        xlim=(-0.5, 1.5),
        ylim=(1.5, -0.5),
    )
    axes.tick_params(axis="y", rotation=90)
    axes.grid(False)
    return figure


def draw_training(history: pd.DataFrame, best_epoch: int | None = None) -> Figure:
    """Draw accuracy and loss by epoch, training and validation.

    Parameters
    ----------
    history
        A row per epoch: epoch, accuracy, loss and, if known, val_accuracy, val_loss.
    best_epoch
        The epoch to mark, if any.
    """
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
    """Return a figure as the bytes of a file; equal figures give equal bytes.

    Parameters
    ----------
    figure
        What a function of this module drew.
    kind
        "png" or "svg".
    """
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def write_figures(
    folder: str | Path,
    predictions: pd.DataFrame,
    calibration: Calibration,
    history: pd.DataFrame,
    best_epoch: int | None = None,
) -> None:
    """Write roc.png, calibration.png, confusion.png and training.png of the test fold.

    Parameters
    ----------
    folder
        Where the files are written.
    predictions
        As in `tables.summary`.
    calibration
        The model's prior and thresholds.
    history, best_epoch
        As in `draw_training`.
    """
    scores = prepare_table(predictions[predictions["fold"] == "test"], prior=calibration.prior)
    decision = evaluate(scores, threshold=calibration.decision_threshold)
    exclusion = evaluate(scores, threshold=calibration.exclusion_threshold)
    points = {"decision threshold": decision, "exclusion threshold": exclusion}
    figures = {
        "roc": draw_roc(roc_curve(scores), points),
        "calibration": draw_calibration(reliability_diagram(scores)),
        "confusion": draw_confusion(decision.confusion),
        "training": draw_training(history, best_epoch),
    }
    for name, figure in figures.items():
        (Path(folder) / f"{name}.png").write_bytes(as_bytes(figure, "png"))


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
