"""Two models on the same images: differences of their metrics, and where they disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

from xray_core.errors import XrayError
from xray_core.evaluation.scores import NEGATIVE, POSITIVE, Scores, prepare_scores
from xray_core.stats.delong import delong, difference_p_value
from xray_core.stats.intervals import Estimate
from xray_core.stats.ranking import ranking_metrics


@dataclass(frozen=True)
class Comparison:
    """Model A against model B on the same images, each at its own threshold.

    Attributes
    ----------
    images, patients
        How many were compared.
    auc_difference, accuracy_difference, sensitivity_difference, specificity_difference
        A minus B, with 95% intervals from a bootstrap that draws the same patients for both.
    auc_p_value, auc_p_value_images
        DeLong's, with images of a patient as one cluster, and with all images independent.
    both_right, only_a_right, only_b_right, neither_right
        Images by which model classifies them correctly.
    mcnemar_p_value, mcnemar_p_value_images
        McNemar's, with images of a patient as one cluster, and exact with all images independent.
    disagreements
        The images that the models classify differently: file, label, subtype (if known),
        probability_a, probability_b, right ("A" or "B").
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
    """Compare two models by their predictions on the same images.

    Parameters
    ----------
    a, b
        The columns file, label, patient and probability, in any order of the rows.
    threshold_a, threshold_b
        An image with a probability at or above it is positive.
    n_bootstrap, seed
        The number of bootstrap draws, and their seed.

    Raises
    ------
    XrayError
        The images differ, an image occurs twice in a table, or the labels differ.
    """
    both = _matched(a, b)
    scores = prepare_scores(
        both["label"].to_numpy(),
        both["probability_a"].to_numpy(),
        both["patient"].to_numpy(),
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    truth, patient = scores.label, scores.patient
    probability_b = both["probability_b"].to_numpy(float)
    positive_a, positive_b = scores.probability >= threshold_a, probability_b >= threshold_b
    right_a, right_b = positive_a == truth, positive_b == truth
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    probabilities = np.stack([scores.probability, probability_b])
    differ = positive_a != positive_b
    columns = ["file", "label", *(["subtype"] if "subtype" in both else [])]
    listed = both.loc[differ, [*columns, "probability_a", "probability_b"]]
    return Comparison(
        images=len(both),
        patients=scores.weights.patients,
        auc_difference=_auc_difference(scores, probability_b),
        accuracy_difference=_rate_difference(scores, right_a, right_b, np.ones_like(truth)),
        sensitivity_difference=_rate_difference(scores, right_a, right_b, truth),
        specificity_difference=_rate_difference(scores, right_a, right_b, ~truth),
        auc_p_value=difference_p_value(*delong(truth, probabilities, patient)),
        auc_p_value_images=difference_p_value(*delong(truth, probabilities)),
        both_right=int((right_a & right_b).sum()),
        only_a_right=only_a,
        only_b_right=only_b,
        neither_right=int((~right_a & ~right_b).sum()),
        mcnemar_p_value=clustered_mcnemar_p_value(right_a, right_b, patient),
        mcnemar_p_value_images=mcnemar_p_value(only_a, only_b),
        disagreements=listed.assign(right=np.where(right_a, "A", "B")[differ]).reset_index(
            drop=True
        ),
    )


def mcnemar_p_value(only_a_right: int, only_b_right: int) -> float:
    """Return the two-sided p value of McNemar's exact test; 1 where no decision differs."""
    from scipy.stats import binomtest

    discordant = only_a_right + only_b_right
    return float(binomtest(only_a_right, discordant).pvalue) if discordant else 1.0


def clustered_mcnemar_p_value(
    right_a: np.ndarray, right_b: np.ndarray, patient: np.ndarray
) -> float:
    """Return the two-sided p value of McNemar's test with images of a patient as one cluster.

    Parameters
    ----------
    right_a, right_b
        (images,) bool, whether each model classifies the image correctly.
    patient
        (images,) whole numbers from 0.

    Returns
    -------
    float
        By normal approximation; 1 where no decision differs, NaN with a single patient.

    References
    ----------
    Obuchowski, Statistics in Medicine 17 (1998) 1495.
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
        repeated = table.loc[table["file"].duplicated(), "file"]
        if len(repeated):
            raise XrayError(f"Model {name} has two predictions for {repeated.iloc[0]}.")
    only_a, only_b = set(a["file"]) - set(b["file"]), set(b["file"]) - set(a["file"])
    if only_a or only_b:
        example = sorted(only_a or only_b)[0]
        raise XrayError(
            "Two models can only be compared on the same images. "
            f"{len(only_a)} images have a prediction of model A only and {len(only_b)} of model B "
            f"only, for example {example}."
        )
    both = a.merge(
        b[["file", "label", "probability"]], on="file", suffixes=("_a", "_b"), validate="1:1"
    ).rename(columns={"label_a": "label"})
    differ = both["label"] != both["label_b"]
    if differ.any():
        raise XrayError(
            f"The labels of {differ.sum()} images differ between the two models' tables, for "
            f"example {both.loc[differ, 'file'].iloc[0]}."
        )
    if not set(both["label"]) <= {POSITIVE, NEGATIVE}:
        raise XrayError("A label is NORMAL or PNEUMONIA.")
    return both


def _rate_difference(
    scores: Scores, right_a: np.ndarray, right_b: np.ndarray, among: np.ndarray
) -> Estimate:
    gained = scores.weights.sums(scores.per_patient((right_a * 1.0 - right_b) * among))
    total = scores.weights.sums(scores.per_patient(among * 1.0))
    with np.errstate(invalid="ignore"):
        return scores.weights.interval(gained / total)


def _auc_difference(scores: Scores, probability_b: np.ndarray) -> Estimate:
    of_a, of_b = scores.weights.apply(
        ranking_metrics(scores.positive_counter()),
        ranking_metrics(scores.positive_counter(probability_b)),
        images=len(scores.label),
    )
    return scores.weights.interval(of_a[:, 0] - of_b[:, 0])
