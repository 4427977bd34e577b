"""Labels, probabilities and patients of a set of images, checked and ready to be evaluated."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xray_core.errors import XrayError
from xray_core.evaluation.calibration import BINS, bin_index
from xray_core.model.calibration import shift_prior
from xray_core.stats.bootstrap import PatientWeights
from xray_core.stats.intervals import Estimate, wilson_interval
from xray_core.stats.ranking import CountPositives, positive_counter, ranking_metrics

POSITIVE = "PNEUMONIA"
NEGATIVE = "NORMAL"


@dataclass(frozen=True)
class Scores:
    """Labels and probabilities of a set of images, with the bootstrap over their patients.

    Attributes
    ----------
    label
        (images,) bool, True for PNEUMONIA.
    probability
        (images,) in [0, 1], of PNEUMONIA, at the prior `prior`.
    patient
        (images,) whole numbers, the columns of `weights`.
    prior
        The share of pneumonia at which the probabilities are calibrated.
    weights
        The bootstrap and jackknife weights of the patients.
    """

    label: np.ndarray
    probability: np.ndarray
    patient: np.ndarray
    prior: float
    weights: PatientWeights

    @property
    def prevalence(self) -> float:
        """The share of pneumonia among the images, in [0, 1]."""
        return float(self.label.mean())

    @property
    def one_class(self) -> bool:
        """Whether all images have the same label."""
        return self.prevalence in (0.0, 1.0)

    @cached_property
    def shifted(self) -> np.ndarray:
        """The probabilities (images,), shifted to the prevalence of these images."""
        return shift_prior(self.probability, source=self.prior, target=self.prevalence)

    @cached_property
    def threshold_free(self) -> dict[str, Estimate]:
        """The metrics that depend on no threshold, by name; computed once."""
        names = ("roc_auc", "average_precision", "brier", "calibration_error", "log_loss")
        if self.one_class:
            return dict.fromkeys(names, Estimate(np.nan, np.nan, np.nan))
        truth, p = self.label.astype(float), self.shifted
        clipped = np.clip(p, np.finfo(float).eps, 1 - np.finfo(float).eps)
        loss = -np.where(self.label, np.log(clipped), np.log1p(-clipped))
        of_image = np.zeros((len(p), 3 + BINS))
        of_image[:, 0], of_image[:, 1], of_image[:, 2] = 1, (p - truth) ** 2, loss
        of_image[np.arange(len(p)), 3 + bin_index(p)] = p - truth
        ranked, sums = self.weights.apply(
            ranking_metrics(self.positive_counter()),
            self.weights.summing(self.per_patient(of_image)),
            images=len(p),
        )
        images = sums[:, 0]
        rows = {
            "roc_auc": ranked[:, 0],
            "average_precision": ranked[:, 1],
            "brier": sums[:, 1] / images,
            "calibration_error": np.abs(sums[:, 3:]).sum(axis=1) / images,
            "log_loss": sums[:, 2] / images,
        }
        estimates = {name: self.weights.interval(rows[name]) for name in names}
        for name in ("roc_auc", "average_precision"):
            if estimates[name].value == 1.0:
                estimates[name] = self._perfect_ranking()
        return estimates

    def positive_counter(self, score: np.ndarray | None = None) -> CountPositives:
        """Return `stats.ranking.positive_counter` of these images.

        Parameters
        ----------
        score
            (images,) the scores that rank the images; their probabilities by default.
        """
        return positive_counter(
            self.label, self.probability if score is None else score, self.patient
        )

    def per_patient(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over each patient's images: (images, ...) -> (patients, ...)."""
        result = np.zeros((self.weights.patients, *values.shape[1:]))
        np.add.at(result, self.patient, values)
        return result

    def _perfect_ranking(self) -> Estimate:
        # No draw has a pair in the wrong order, so the bootstrap interval has no width. Pairing
        # each patient of the smaller class with one of the other gives that many independent
        # pairs, all in the right order, hence Wilson's lower limit.
        pairs = min(len(np.unique(self.patient[self.label == side])) for side in (True, False))
        return Estimate(1.0, wilson_interval(pairs, pairs)[0], 1.0)


def prepare_scores(
    label: ArrayLike,
    probability: ArrayLike,
    patient: Iterable[Hashable],
    *,
    n_bootstrap: int = 2000,
    seed: int = 0,
    prior: float = 0.5,
) -> Scores:
    """Check labels, probabilities and patients, and draw the bootstrap over the patients.

    Parameters
    ----------
    label
        (images,) "NORMAL" or "PNEUMONIA", or 0 or 1.
    probability
        (images,) of PNEUMONIA in [0, 1], at the prior `prior`.
    patient
        (images,) any hashable keys; see `patient_codes`.
    n_bootstrap, seed
        The number of bootstrap draws, and their seed.
    prior
        The share of pneumonia at which the probabilities are calibrated.

    Raises
    ------
    XrayError
        Lengths differ, no image is given, a label is neither, or a probability is missing or
        outside [0, 1].
    """
    truth = _as_truth(label)
    p = np.asarray(probability, dtype=float)
    keys = list(patient)
    if not len(truth) == len(p) == len(keys):
        raise XrayError(
            "Every image needs a label, a probability and a patient. "
            f"Received: {len(truth)} labels, {len(p)} probabilities, {len(keys)} patients."
        )
    if len(p) == 0:
        raise XrayError("There is no image to evaluate.")
    bad = ~((p >= 0) & (p <= 1))  # catches NaN too
    if bad.any():
        raise XrayError(
            f"{bad.sum()} of {len(p)} images have no probability between 0 and 1 (the first: image "
            f"{np.flatnonzero(bad)[0] + 1}). Leave these images out, and report their number."
        )
    code = patient_codes(keys)
    return Scores(truth, p, code, prior, PatientWeights(int(code.max()) + 1, n_bootstrap, seed))


def prepare_table(images: pd.DataFrame, *, prior: float = 0.5) -> Scores:
    """Return the scores of a predictions table.

    Parameters
    ----------
    images
        The columns label, probability and patient; see `prepare_scores`, also for what is raised.
    prior
        The share of pneumonia at which the probabilities are calibrated.
    """
    return prepare_scores(
        images["label"].to_numpy(),
        images["probability"].to_numpy(),
        images["patient"].to_numpy(),
        prior=prior,
    )


def patient_codes(patient: Iterable[Hashable]) -> np.ndarray:
    """Number the patients from 0, in the order of their keys as text.

    Space around a key does not count. An image whose key is missing or blank is a patient of its
    own, numbered after all others.

    Returns
    -------
    numpy.ndarray
        (images,) int.
    """
    given = pd.Series(list(patient), dtype=object)
    keys = given.map(str).str.strip().astype(object).mask(given.isna())
    code, names = pd.factorize(keys.where(keys != "").to_numpy(), sort=True)
    code[code < 0] = len(names) + np.arange((code < 0).sum())
    return code


def _as_truth(label: ArrayLike) -> np.ndarray:
    values = np.asarray(label)
    if values.dtype == bool:
        return values
    known = {POSITIVE: True, NEGATIVE: False, 1: True, 0: False}
    unknown = [x for x in values.tolist() if x not in known]
    if unknown:
        raise XrayError(f"A label is NORMAL or PNEUMONIA (or 0 or 1). Received: {unknown[0]!r}.")
    return np.array([known[x] for x in values.tolist()], dtype=bool)
