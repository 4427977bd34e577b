"""Two models on the same images: areas, decisions, and the images on which they disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

from xray_core.errors import XrayError
from xray_core.evaluation.ranking import areas
from xray_core.evaluation.scores import Scores, prepare
from xray_core.labels import NORMAL, PNEUMONIA
from xray_core.stats.bootstrap import Estimate
from xray_core.stats.delong import delong, difference_p_value


@dataclass(frozen=True)
class Comparison:
    """Model A against model B on the same images, each at its own threshold.

    Differences are A minus B with 95% bootstrap intervals over patients (the same ones drawn for
    both). `auc_p_value` is DeLong's with images of a patient as one cluster (Obuchowski 1997),
    `auc_p_value_images` the same as if all images were independent; `mcnemar_p_value` compares the
    decisions with images of a patient as one cluster (Obuchowski 1998), `mcnemar_p_value_images` is
    McNemar's exact one, as if all images were independent. `disagreements` holds the images with
    unlike decisions: file, label, subtype (if known), probability_a, probability_b, right ("A" or
    "B").
    """

    images: int
    patients: int
    auc_difference: Estimate
    accuracy_difference: Estimate
    sensitivity_difference: Estimate
    specificity_difference: Estimate
    auc_p_value: float
    auc_p_value_images: float
    both_right: int
    only_a_right: int
    only_b_right: int
    neither_right: int
    mcnemar_p_value: float
    mcnemar_p_value_images: float
    disagreements: pd.DataFrame


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    threshold_a: float,
    threshold_b: float,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two predictions tables (file, label, patient, probability) of the same images.

    The order of the rows does not matter. Raises XrayError where the images differ, an image stands
    twice in a table, or the tables disagree about a label.
    """
    both = _matched(a, b)
    ready = prepare(
        both["label"].to_numpy(),
        both["probability_a"].to_numpy(),
        both["patient"].to_numpy(),
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    truth = ready.label
    score_b = both["probability_b"].to_numpy(float)
    called_a, called_b = ready.probability >= threshold_a, score_b >= threshold_b
    right_a, right_b = called_a == truth, called_b == truth
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    scores = np.stack([ready.probability, score_b])
    unlike = called_a != called_b
    columns = ["file", "label", *(["subtype"] if "subtype" in both else [])]
    listed = both.loc[unlike, [*columns, "probability_a", "probability_b"]]
    return Comparison(
        images=len(both),
        patients=ready.weights.patients,
        auc_difference=_auc_difference(ready, score_b),
        accuracy_difference=_rate_difference(ready, right_a, right_b, np.ones_like(truth)),
        sensitivity_difference=_rate_difference(ready, right_a, right_b, truth),
        specificity_difference=_rate_difference(ready, right_a, right_b, ~truth),
        auc_p_value=difference_p_value(*delong(truth, scores, ready.patient)),
        auc_p_value_images=difference_p_value(*delong(truth, scores)),
        both_right=int((right_a & right_b).sum()),
        only_a_right=only_a,
        only_b_right=only_b,
        neither_right=int((~right_a & ~right_b).sum()),
        mcnemar_p_value=clustered_mcnemar_p_value(right_a, right_b, ready.patient),
        mcnemar_p_value_images=mcnemar_p_value(only_a, only_b),
        disagreements=listed.assign(right=np.where(right_a, "A", "B")[unlike]).reset_index(
            drop=True
        ),
    )


def mcnemar_p_value(only_a_right: int, only_b_right: int) -> float:
    """Two-sided exact p of McNemar's test; 1 where no decision differs."""
    from scipy.stats import binomtest

    discordant = only_a_right + only_b_right
    return float(binomtest(only_a_right, discordant).pvalue) if discordant else 1.0


def clustered_mcnemar_p_value(
    right_a: np.ndarray, right_b: np.ndarray, patient: np.ndarray
) -> float:
    """Two-sided p of two models being right equally often, images of a patient as one cluster.

    `right_a`, `right_b` (images,) bool; `patient` (images,) whole numbers from 0. 1 where no decision
    differs, NaN with one patient alone. Source: Obuchowski, Statistics in Medicine 17 (1998) 1495;
    normal approximation.
    """
    gained = np.bincount(patient, weights=right_a.astype(float) - right_b)
    if not gained.any():
        return 1.0
    if len(gained) < 2:
        return float("nan")
    variance = len(gained) / (len(gained) - 1) * np.sum(gained**2)
    return float(2 * ndtr(-abs(gained.sum()) / np.sqrt(variance)))


def _matched(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    for name, table in (("A", a), ("B", b)):
        twice = table.loc[table["file"].duplicated(), "file"]
        if len(twice):
            raise XrayError(f"Model {name} has two predictions for {twice.iloc[0]}.")
    only_a, only_b = set(a["file"]) - set(b["file"]), set(b["file"]) - set(a["file"])
    if only_a or only_b:
        example = sorted(only_a or only_b)[0]
        raise XrayError(
            "Two models can only be compared on the same images. "
            f"{len(only_a)} images have a prediction of model A alone and {len(only_b)} of model B "
            f"alone, for example {example}."
        )
    both = a.merge(
        b[["file", "label", "probability"]], on="file", suffixes=("_a", "_b"), validate="1:1"
    ).rename(columns={"label_a": "label"})
    unlike = both["label"] != both["label_b"]
    if unlike.any():
        raise XrayError(
            f"The two models' tables disagree about what {unlike.sum()} images are, for example "
            f"{both.loc[unlike, 'file'].iloc[0]}."
        )
    if not set(both["label"]) <= {PNEUMONIA, NORMAL}:
        raise XrayError("A label is NORMAL or PNEUMONIA.")
    return both


def _rate_difference(
    images: Scores, right_a: np.ndarray, right_b: np.ndarray, among: np.ndarray
) -> Estimate:
    gained = images.weights.sums(images.per_patient((right_a * 1.0 - right_b) * among))
    total = images.weights.sums(images.per_patient(among * 1.0))
    with np.errstate(invalid="ignore"):
        return images.weights.interval(gained / total)


def _auc_difference(images: Scores, score_b: np.ndarray) -> Estimate:
    of_a, of_b = images.weights.each(
        areas(images.ranked()), areas(images.ranked(score_b)), images=len(images.label)
    )
    return images.weights.interval(of_a[:, 0] - of_b[:, 0])
