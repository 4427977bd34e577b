"""What the Evaluation page evaluates: the stored predictions of a bundle, or a visitor's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.folders import image_below
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
    gate_scores,
    outside_band,
    subtype_scores,
)
from xray_core.evaluation.scores import Scores, prepare_table
from xray_core.model.calibration import Calibration
from xray_core.stats.bootstrap import reporting

OWN = "evaluation_own"  # session state: a visitor's own predictions, never in a shared cache


@dataclass(frozen=True)
class Evaluated:
    """A set of images with predictions, and all about it that no slider moves."""

    title: str
    model: str
    key: str  # stands for the table in caches: no two tables have the same
    table: pd.DataFrame
    notes: tuple[str, ...]
    calibration: Calibration
    scores: Scores
    roc: RocCurve
    precision_recall: pd.DataFrame
    reliability: ReliabilityDiagram
    histogram: pd.DataFrame
    decided: Abstention  # what holds outside the model's uncertain band
    folder: Path | None = None  # where the table's files are; None: in the dataset's folder

    @cached_property
    def subtypes(self) -> dict[str, Scores]:
        """Each kind of pneumonia with all normal images, ready to be evaluated."""
        return subtype_scores(self.table, prior=self.calibration.prior)

    @cached_property
    def gate(self) -> dict[str, Scores]:
        """The images by outcome of the gate, ready to be evaluated."""
        return gate_scores(self.table, prior=self.calibration.prior)

    @property
    def slug(self) -> str:
        """A name for files to download."""
        words = f"{self.model}-{self.title}".lower()
        return "-".join("".join(c if c.isalnum() else " " for c in words).split())


def stored(name: str, fold: str) -> Evaluated:
    """The stored predictions of a bundle for one fold ("test" or "validation")."""
    bundle = load_bundle(name)
    return _stored(name, str(bundle.config["files"]["predictions.csv"]), fold)


def evaluated(
    title: str,
    model: str,
    table: pd.DataFrame,
    notes: tuple[str, ...],
    calibration: Calibration,
    key: str = "",
    folder: Path | None = None,
) -> Evaluated:
    """Draw the bootstrap and the curves of a predictions table (label, probability, patient)."""
    # First, because the draws used last are kept, and those of all images are needed again.
    decided = outside_band(
        table,
        calibration.uncertain,
        threshold=calibration.decision_threshold,
        prior=calibration.prior,
    )
    scores = prepare_table(table, prior=calibration.prior)
    return Evaluated(
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
def images_folder() -> Path | None:
    """Where the dataset's images are on this disk, or None."""
    from xray_core.dataset.index import find_dataset

    try:
        return Path(find_dataset(None)).resolve()
    except DatasetError:
        return None


def image_on_disk(chosen: Evaluated, file: str) -> Path | None:
    """The image of a predictions table, if it is on this disk and inside the table's folder."""
    return image_below(chosen.folder or images_folder(), file)


@st.cache_resource(max_entries=8, show_spinner="Patient-level bootstrap, 2,000 resamples...")
def _stored(name: str, digest: str, fold: str) -> Evaluated:
    bundle = load_bundle(name)
    table = bundle.predictions()
    with reporting(None):  # a cached function must draw nothing on the page that called it
        return evaluated(
            f"{fold} split",
            bundle.name,
            table[table["fold"] == fold].reset_index(drop=True),
            (),
            bundle.calibration,
            key=f"{digest} {fold}",
        )
