"""Results on images of other hospitals: what share is refused, indeterminate, firm, and right."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from xray_core.evaluation.groups import SMALL_GROUP
from xray_core.evaluation.scores import patient_codes
from xray_core.labels import LABELS, NORMAL, PNEUMONIA, REFUSED, UNCERTAIN, UNREADABLE
from xray_core.model.calibration import Calibration
from xray_core.stats.bootstrap import share_by_patient
from xray_core.stats.delong import auc_interval
from xray_core.stats.intervals import Estimate, wilson_interval

AGE_BANDS = {"under 6": 6, "6 to 17": 18, "18 to 39": 40, "40 to 64": 65, "65 or older": np.inf}
"""Names of the age bands, with the age in years below which each ends."""
UNKNOWN = "unknown"


def summarize_external(predictions: pd.DataFrame, calibration: Calibration) -> list[dict[str, Any]]:
    """Evaluate the results on images of other hospitals, each set apart.

    Parameters
    ----------
    predictions
        The columns set, label ("" where there is no reliable one), patient ("" where unknown: the
        image is a patient of its own), view, sex ("" where unknown), age (years, NaN where
        unknown), logit and verdict.
    calibration
        The model's. An image is indeterminate only because it is unlike the training images where
        its probability by this calibration lies outside the indeterminate band.

    Returns
    -------
    list of dict
        One per set, in the order of the table: set, images, patients, unreadable (images, not
        counted anywhere else), roc_auc, and rows. roc_auc is None unless both classes have an
        analysed image; else value, low, high (DeLong, images of a patient as one cluster) and
        images, the number of labelled images that were analysed. Each row is about the images of
        one class ("" for those without a label): label, by ("" for all, else "view", "sex" or
        "age"), group, images, patients, firm_images, and the shares refused, indeterminate, unlike,
        firm and pneumonia (of all), and right (of those with a firm result), each with value, low
        and high (95%, over patients; under 20 images Wilson's with patients in place of images).
        Images without a label are divided by view only, and right is None.
    """
    return [
        _summarize_set(str(name), images, calibration)
        for name, images in predictions.groupby("set", sort=False)
    ]


def _summarize_set(name: str, images: pd.DataFrame, calibration: Calibration) -> dict[str, Any]:
    readable = (images["verdict"] != UNREADABLE).to_numpy()
    unreadable, images = int((~readable).sum()), images[readable]
    images = images.assign(
        patient=patient_codes(images["patient"]),
        age=_age_bands(images["age"]),
        unlike=[
            verdict == UNCERTAIN
            and calibration.verdict(float(calibration.probability(logit))) != UNCERTAIN
            for verdict, logit in zip(images["verdict"], images["logit"], strict=True)
        ],
    )
    rows = []
    for label in (*LABELS, ""):
        of_class = images[images["label"] == label]
        if of_class.empty:
            continue
        rows.append(_row(label, "", "", of_class))
        for by in ("view", "sex", "age") if label else ("view",):
            groups = of_class[by].replace("", UNKNOWN)
            if set(groups) == {UNKNOWN}:
                continue
            order = [*AGE_BANDS, UNKNOWN] if by == "age" else sorted(set(groups))
            rows += [
                _row(label, by, group, of_class[groups == group])
                for group in order
                if (groups == group).any()
            ]
    return {
        "set": name,
        "images": len(images),
        "patients": int(images["patient"].nunique()),
        "unreadable": unreadable,
        "roc_auc": _roc_auc(images),
        "rows": rows,
    }


def _age_bands(age: pd.Series) -> pd.Series:
    ends = [-np.inf, *AGE_BANDS.values()]
    bands = pd.cut(age.astype(float), ends, right=False, labels=list(AGE_BANDS))
    return bands.astype(object).where(age.notna(), UNKNOWN)


def _row(label: str, by: str, group: str, images: pd.DataFrame) -> dict[str, Any]:
    verdict, patient = images["verdict"], images["patient"].to_numpy()
    firm = verdict.isin(LABELS).to_numpy()
    shares = {
        "refused": verdict == REFUSED,
        "indeterminate": verdict == UNCERTAIN,
        "unlike": images["unlike"],
        "firm": firm,
        "pneumonia": verdict == PNEUMONIA,
    }
    right = _share((verdict == label).to_numpy()[firm], patient[firm]) if label else None
    return {
        "label": label,
        "by": by,
        "group": group,
        "images": len(images),
        "patients": len(np.unique(patient)),
        "firm_images": int(firm.sum()),
        **{name: asdict(_share(np.asarray(hits), patient)) for name, hits in shares.items()},
        "right": None if right is None else asdict(right),
    }


def _share(hits: np.ndarray, patient: np.ndarray) -> Estimate:
    """A share with its interval; a bootstrap of few patients is too narrow."""
    if not 0 < len(hits) < SMALL_GROUP:
        return share_by_patient(hits, patient)
    value, patients = float(hits.mean()), len(np.unique(patient))
    return Estimate(value, *wilson_interval(value * patients, patients))


def _roc_auc(images: pd.DataFrame) -> dict[str, Any] | None:
    scored = images[images["label"].isin(LABELS) & ~images["verdict"].isin([REFUSED])]
    if set(scored["label"]) != {NORMAL, PNEUMONIA}:
        return None
    estimate = auc_interval(
        (scored["label"] == PNEUMONIA).to_numpy(),
        scored["logit"].to_numpy(float),
        scored["patient"].to_numpy(),
    )
    return {**asdict(estimate), "images": len(scored)}
