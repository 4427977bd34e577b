"""What the Evaluation page evaluates: the stored predictions of a bundle, or a visitor's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.folders import find_shown_dataset, image_below
from ui.common.models import load_bundle
from xray_core.errors import DatasetError
from xray_core.evaluation.curves import (
    ReliabilityDiagram,
    RocCurve,
    precision_recall_curve,
    reliability_diagram,
    roc_curve,
    score_histogram,
)
from xray_core.evaluation.groups import (
    Abstention,
    firm_results,
    gate_scores,
    subtype_scores,
)
from xray_core.evaluation.scores import Scores, prepare_table
from xray_core.model.bundle import Bundle
from xray_core.model.calibration import Calibration
from xray_core.stats.bootstrap import reporting

OWN = "evaluation_own"  # session state: a visitor's own predictions, never in a shared cache


@dataclass(frozen=True)
class Evaluation:
    """A table of predictions and everything computed from it that does not depend on a slider."""

    title: str
    model: str
    key: str  # identifies the table in caches: no two tables have the same
    table: pd.DataFrame
    notes: tuple[str, ...]
    calibration: Calibration
    scores: Scores
    roc: RocCurve
    precision_recall: pd.DataFrame
    reliability: ReliabilityDiagram
    histogram: pd.DataFrame
    decided: Abstention  # the images with a firm result
    folder: Path | None = None  # of the table's files; None: the dataset's folder

    @cached_property
    def by_subtype(self) -> dict[str, Scores]:
        """Each subtype of pneumonia with all normal images."""
        return subtype_scores(self.table, prior=self.calibration.prior)

    @cached_property
    def by_input_check(self) -> dict[str, Scores]:
        """The images by result of the input check."""
        return gate_scores(self.table, prior=self.calibration.prior)

    @property
    def slug(self) -> str:
        """The start of the names of downloaded files."""
        text = f"{self.model}-{self.title}".lower()
        return "-".join("".join(c if c.isalnum() else " " for c in text).split())


def load_evaluation(name: str, fold: str) -> Evaluation:
    """Return the evaluation of a bundle's stored predictions for "test" or "validation"."""
    bundle = load_bundle(name)
    digest = str(bundle.config["files"]["predictions.csv"])
    return _evaluate_bundle(bundle.folder, digest, fold, bundle)


def evaluate_table(
    title: str,
    model: str,
    table: pd.DataFrame,
    notes: tuple[str, ...],
    calibration: Calibration,
    key: str = "",
    folder: Path | None = None,
) -> Evaluation:
    """Compute the bootstrap and the curves of a table of label, probability and patient."""
    # First: the bootstrap keeps the resamples used last, and those of all images are needed again.
    decided = firm_results(
        table,
        calibration.uncertain,
        threshold=calibration.decision_threshold,
        prior=calibration.prior,
    )
    scores = prepare_table(table, prior=calibration.prior)
    return Evaluation(
        title=title,
        model=model,
        key=key,
        table=table,
        notes=notes,
        calibration=calibration,
        scores=scores,
        roc=roc_curve(scores),
        precision_recall=precision_recall_curve(scores),
        reliability=reliability_diagram(scores),
        histogram=score_histogram(scores),
        decided=decided,
        folder=folder,
    )


@st.cache_data(max_entries=1, ttl=60, show_spinner=False)
def dataset_folder() -> Path | None:
    """Return the folder of the dataset on this computer, or None."""
    try:
        return Path(find_shown_dataset()).resolve()
    except DatasetError:
        return None


def image_path(evaluation: Evaluation, file: str) -> Path | None:
    """Return the path of a table's image, or None where it is not in the table's folder."""
    return image_below(evaluation.folder or dataset_folder(), file)


@st.cache_resource(max_entries=8, show_spinner="Patient-level bootstrap, 2,000 resamples ...")
def _evaluate_bundle(folder: Path, digest: str, fold: str, _bundle: Bundle) -> Evaluation:
    table = _bundle.predictions()
    with reporting(None):  # a cached function must draw nothing on the page that called it
        return evaluate_table(
            f"{fold} split",
            _bundle.name,
            table[table["fold"] == fold].reset_index(drop=True),
            (),
            _bundle.calibration,
            key=f"{digest} {fold}",
        )
