"""Images ready to be evaluated: checked, their patients drawn, and what no threshold moves."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from xray_core.errors import XrayError
from xray_core.evaluation.calibration import BINS, bin_of, shift_prior
from xray_core.evaluation.ranking import Counter, areas, cumulative_counts
from xray_core.labels import NORMAL, PNEUMONIA
from xray_core.stats.bootstrap import Estimate, PatientWeights, draw_patients, wilson


@dataclass(frozen=True)
class Scores:
    """Images ready to be evaluated: checked, and with the bootstrap over their patients drawn.

    `label` (images,) is True for PNEUMONIA; `probability` (images,) is stated at `prior`;
    `patient` (images,) indexes the columns of `weights`.
    """

    label: np.ndarray
    probability: np.ndarray
    patient: np.ndarray
    prior: float
    weights: PatientWeights

    @property
    def prevalence(self) -> float:
        return float(self.label.mean())

    @cached_property
    def shifted(self) -> np.ndarray:
        """The probabilities at the prevalence of these images."""
        return shift_prior(self.probability, source=self.prior, target=self.prevalence)

    @cached_property
    def threshold_free(self) -> dict[str, Estimate]:
        """The metrics that no threshold moves; worked out once."""
        names = ("roc_auc", "average_precision", "brier", "calibration_error", "log_loss")
        if self.prevalence in (0.0, 1.0):  # nothing to rank or to calibrate against
            return dict.fromkeys(names, Estimate(np.nan, np.nan, np.nan))
        truth, p = self.label.astype(float), self.shifted
        clipped = np.clip(p, np.finfo(float).eps, 1 - np.finfo(float).eps)
        loss = -np.where(self.label, np.log(clipped), np.log1p(-clipped))
        of_image = np.zeros((len(p), 3 + BINS))
        of_image[:, 0], of_image[:, 1], of_image[:, 2] = 1, (p - truth) ** 2, loss
        of_image[np.arange(len(p)), 3 + bin_of(p)] = p - truth
        ranked, sums = self.weights.each(
            areas(self.ranked()), self.weights.summing(self.per_patient(of_image)), images=len(p)
        )
        images = sums[:, 0]
        rows = {
            "roc_auc": ranked[:, 0],
            "average_precision": ranked[:, 1],
            "brier": sums[:, 1] / images,
            "calibration_error": np.abs(sums[:, 3:]).sum(axis=1) / images,
            "log_loss": sums[:, 2] / images,
        }
        found = {name: self.weights.interval(rows[name]) for name in names}
        for name in ("roc_auc", "average_precision"):
            if found[name].value == 1.0:
                found[name] = self._perfect_ranking()
        return found

    def ranked(self, score: np.ndarray | None = None) -> Counter:
        """`cumulative_counts` of these images, by `score` (images,) or else by their probability."""
        return cumulative_counts(
            self.label, self.probability if score is None else score, self.patient
        )

    def _perfect_ranking(self) -> Estimate:
        """No pair in the wrong order: the bootstrap sees no variation, but the smaller class does.

        Pairing each patient of the smaller class with one of the other gives that many independent
        pairs, all in the right order, hence Wilson's lower limit.
        """
        pairs = min(len(np.unique(self.patient[self.label == side])) for side in (True, False))
        return Estimate(1.0, wilson(pairs, pairs)[0], 1.0)

    def per_patient(self, values: np.ndarray) -> np.ndarray:
        """Sums over each patient's images: (images, ...) -> (patients, ...)."""
        result = np.zeros((self.weights.patients, *values.shape[1:]))
        np.add.at(result, self.patient, values)
        return result


def prepare(
    label: ArrayLike,
    probability: ArrayLike,
    patient: Iterable[Hashable],
    *,
    n_bootstrap: int = 2000,
    seed: int = 0,
    prior: float = 0.5,
) -> Scores:
    """Check the images and draw the bootstrap over their patients.

    `label` (images,) holds "NORMAL"/"PNEUMONIA" or 0/1; `probability` (images,) of PNEUMONIA in
    [0, 1], stated at `prior`; `patient` (images,) any hashable key, see `patient_codes`. Raises
    XrayError where lengths differ, no image is given, a label is neither, or a probability is
    missing or outside [0, 1].
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
            f"{np.flatnonzero(bad)[0] + 1}). Leave these images out, and say how many they were."
        )
    code = patient_codes(keys)
    weights = draw_patients(int(code.max()) + 1, n_bootstrap=n_bootstrap, seed=seed)
    return Scores(truth, p, code, prior, weights)


def patient_codes(patient: Iterable[Hashable]) -> np.ndarray:
    """Number the patients from 0, in the order of their keys as text: int (images,).

    Space around a key does not count. An image whose key is missing or blank is a patient of its own,
    numbered after all others.
    """
    given = pd.Series(list(patient), dtype=object)
    keys = given.map(str).str.strip().astype(object).mask(given.isna())
    code, names = pd.factorize(keys.where(keys != "").to_numpy(), sort=True)
    code[code < 0] = len(names) + np.arange((code < 0).sum())
    return code


def _as_truth(label: ArrayLike) -> np.ndarray:
    """True for PNEUMONIA, from "NORMAL"/"PNEUMONIA" or 0/1."""
    values = np.asarray(label)
    if values.dtype == bool:
        return values
    known = {PNEUMONIA: True, NORMAL: False, 1: True, 0: False}
    strange = [x for x in values.tolist() if x not in known]
    if strange:
        raise XrayError(f"A label is NORMAL or PNEUMONIA (or 0 or 1). Received: {strange[0]!r}.")
    return np.array([known[x] for x in values.tolist()], dtype=bool)
