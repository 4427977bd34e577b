"""What readings before and after the model's result show about a reader, and about the support.

An unsure assessment is neither right nor wrong. Sensitivity is the share of all images with
pneumonia that are called pneumonia, specificity the share of all images without pneumonia that are
called no pneumonia; an unsure assessment counts in neither, so it lowers both, and the shares of
unsure assessments are given beside them. (Counted as "not pneumonia", unsure assessments would
leave the sensitivity as it is and be added to the specificity.) An indeterminate result of the
model is treated like an unsure call.

Intervals are over patients. Under 20 patients, where a bootstrap is too narrow, a share has
Wilson's interval with patients in place of images. The interval of a change spans the bootstrap's
and Tango's with patients in place of images: where few calls change, a bootstrap is too narrow for
any number of patients. Where there are no images, or too few for an interval, an estimate is None;
none is NaN.

The first and the second assessment are made one after the other, so they show what one reader does
with a result at hand. They do not show what the reader would call with the result from the start,
or what other readers do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import XrayError
from xray_core.evaluation.groups import SMALL_GROUP
from xray_core.evaluation.reading import UNSURE, Reading
from xray_core.evaluation.scores import patient_codes
from xray_core.labels import NORMAL, PNEUMONIA, UNCERTAIN
from xray_core.stats.bootstrap import PatientWeights, share_by_patient
from xray_core.stats.intervals import (
    Estimate,
    format_estimate,
    format_interval,
    paired_interval,
    wilson_interval,
)

NOT_ENOUGH = "not enough cases"
KINDS = (PNEUMONIA, UNSURE, NORMAL)
"""The kinds of calls and of results, in the order of the tables."""


@dataclass(frozen=True)
class Rate:
    """A share of images: `count` of `images`, which are of `patients` patients.

    `estimate` is the share in [0, 1] with its 95% interval; None without images.
    """

    count: int
    images: int
    patients: int
    estimate: Estimate | None

    @property
    def text(self) -> str:
        """The share in words: "3 of 20, 15.0% (5.2% to 36.0%)"."""
        shown = NOT_ENOUGH if self.estimate is None else format_estimate(self.estimate)
        return f"{self.count} of {self.images}, {shown}"


@dataclass(frozen=True)
class Change:
    """The change of a share from the first to the second assessment.

    `gained` and `lost` count images of `images` that are counted in the second or the first
    assessment only. `estimate` is the change in [-1, 1] with its 95% interval; None without images.
    """

    gained: int
    lost: int
    images: int
    patients: int
    estimate: Estimate | None

    @property
    def text(self) -> str:
        """The change in words: "+5.0 percentage points (-3.1 to +13.6)"."""
        if self.estimate is None:
            return NOT_ENOUGH
        value, low, high = (100 * x for x in astuple(self.estimate))
        return f"{value:+.1f} percentage points ({format_interval(low, high, '+.1f')})"


@dataclass(frozen=True)
class Agreement:
    """Agreement of a reader's calls with the results of the model.

    Attributes
    ----------
    agreed
        The share of equal ones; unsure equals indeterminate, and nothing else.
    kappa
        Cohen's kappa of the three kinds, not weighted, with its 95% interval; None under 20
        patients, and where all calls or all results are of one kind.
    table
        Number of images by call (rows) and result (columns), both in the order of KINDS.
    """

    agreed: Rate
    kappa: Estimate | None
    table: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Performance:
    """Sensitivity and specificity of calls or results, and the unsure share of each class."""

    sensitivity: Rate
    specificity: Rate
    unsure_pneumonia: Rate
    unsure_normal: Rate


@dataclass(frozen=True)
class Changes:
    """Second assessments that differ from the first, among images with a reference label.

    `better` counts changes from wrong to correct, `worse` those from correct to wrong. The others
    are changes from or to unsure.
    """

    better: Rate
    worse: Rate
    unsure_to_correct: int
    unsure_to_wrong: int
    correct_to_unsure: int
    wrong_to_unsure: int


@dataclass(frozen=True)
class Reliance:
    """What became of the model's wrong and correct results, indeterminate ones aside.

    An unsure assessment differs from every one of these results.

    Attributes
    ----------
    wrong_followed
        Of all wrong results, those that equal the second assessment.
    wrong_adopted
        Of the wrong results that differ from the first assessment, those that equal the second
        assessment: automation bias.
    correct_rejected
        Of all correct results, those that differ from the second assessment.
    correct_not_adopted
        Of the correct results that differ from the first assessment, those that differ from the
        second call.
    """

    wrong_followed: Rate
    wrong_adopted: Rate
    correct_rejected: Rate
    correct_not_adopted: Rate


@dataclass(frozen=True)
class ReaderStudy:
    """The evaluation of complete readings.

    Attributes
    ----------
    readings, patients
        Complete readings and their patients. A reading without a patient counts as one of its own.
    incomplete
        Readings without a second assessment, which are left out.
    without_result
        Readings that the model refused or could not read; they count for the reader, and not where
        results are compared.
    without_reference
        Readings without a reference label; they count for the agreement only.
    without_patient
        Readings without a patient; intervals are too narrow if some of them share one.
    agreement_before, agreement_after
        Of the first and of the second assessments with the model.
    before, after, model
        The reader's performance by the first and by the second assessments, and the model's on the
        same images, without those that it refused or could not read.
    sensitivity_change, specificity_change
        From `before` to `after`.
    changes, reliance
        What the reader changed, and what became of wrong and correct results.
    """

    readings: int
    patients: int
    incomplete: int
    without_result: int
    without_reference: int
    without_patient: int
    agreement_before: Agreement
    agreement_after: Agreement
    before: Performance
    after: Performance
    model: Performance
    sensitivity_change: Change
    specificity_change: Change
    changes: Changes
    reliance: Reliance


def evaluate_readings(readings: Sequence[Reading]) -> ReaderStudy:
    """Evaluate the readings of one reader.

    Parameters
    ----------
    readings
        Any number, also none.

    Raises
    ------
    XrayError
        An image has more than one reading.
    """
    numbers = Counter(reading.image for reading in readings)
    if repeated := [image for image, count in numbers.items() if count > 1]:
        raise XrayError(f"An image has one reading. Image {repeated[0]} has more.")
    complete = [reading for reading in readings if reading.is_complete]
    patient = patient_codes([r.patient for r in complete]) if complete else np.zeros(0, int)
    before, after, reference = (
        np.array([getattr(r, name) for r in complete], object)
        for name in ("call_before", "call_after", "reference")
    )
    result = np.array([_kind_of_result(r) for r in complete], object)
    sick, healthy = reference == PNEUMONIA, reference == NORMAL
    known, with_result = sick | healthy, np.isin(result, KINDS)
    return ReaderStudy(
        readings=len(complete),
        patients=len(np.unique(patient)),
        incomplete=len(readings) - len(complete),
        without_result=int((~with_result).sum()),
        without_reference=int((~known).sum()),
        without_patient=sum(not (r.patient or "").strip() for r in complete),
        agreement_before=_agreement(before[with_result], result[with_result], patient[with_result]),
        agreement_after=_agreement(after[with_result], result[with_result], patient[with_result]),
        before=_performance(before, sick, healthy, patient),
        after=_performance(after, sick, healthy, patient),
        model=_performance(result, sick & with_result, healthy & with_result, patient),
        sensitivity_change=_change(before == PNEUMONIA, after == PNEUMONIA, sick, patient),
        specificity_change=_change(before == NORMAL, after == NORMAL, healthy, patient),
        changes=_changes(before, after, reference, known, patient),
        reliance=_reliance(before, after, result, reference, known, patient),
    )


def _kind_of_result(reading: Reading) -> str | None:
    """The result as one of KINDS, None where the model gave none."""
    verdict = reading.result.verdict if reading.result else None
    if verdict == UNCERTAIN:
        return UNSURE
    return verdict if verdict in (PNEUMONIA, NORMAL) else None


def _rate(hits: NDArray, among: NDArray, patient: NDArray) -> Rate:
    """The share of `hits` (images,) among the images of `among`, both bool."""
    hits, patient = np.asarray(hits[among], bool), patient[among]
    count, images, patients = int(hits.sum()), len(hits), len(np.unique(patient))
    if not images:
        return Rate(0, 0, 0, None)
    if patients < SMALL_GROUP:
        share = count / images
        estimate = Estimate(share, *wilson_interval(share * patients, patients))
    else:
        estimate = share_by_patient(hits, patient)
    return Rate(count, images, patients, estimate)


def _performance(calls: NDArray, sick: NDArray, healthy: NDArray, patient: NDArray) -> Performance:
    return Performance(
        sensitivity=_rate(calls == PNEUMONIA, sick, patient),
        specificity=_rate(calls == NORMAL, healthy, patient),
        unsure_pneumonia=_rate(calls == UNSURE, sick, patient),
        unsure_normal=_rate(calls == UNSURE, healthy, patient),
    )


def _change(before: NDArray, after: NDArray, among: NDArray, patient: NDArray) -> Change:
    """The change of a share from `before` to `after`, both bool (images,)."""
    gain = after[among].astype(float) - before[among].astype(float)
    gained, lost, images = int((gain > 0).sum()), int((gain < 0).sum()), len(gain)
    if not images:
        return Change(0, 0, 0, 0, None)
    names, code = np.unique(patient[among], return_inverse=True)
    patients, value = len(names), (gained - lost) / images
    effective = patients / images
    low, high = paired_interval(gained * effective, lost * effective, patients)
    if patients >= SMALL_GROUP:
        per_patient = np.zeros((patients, 2))
        np.add.at(per_patient, code, np.stack([gain, np.ones(images)], axis=1))
        weights = PatientWeights(patients)
        sums = weights.sums(per_patient)  # (rows, 2)
        drawn = weights.interval(sums[:, 0] / sums[:, 1])
        low, high = min(low, drawn.low), max(high, drawn.high)
    return Change(gained, lost, images, patients, Estimate(value, low, high))


def _agreement(calls: NDArray, results: NDArray, patient: NDArray) -> Agreement:
    everywhere = np.ones(len(calls), bool)
    agreed = _rate(calls == results, everywhere, patient)
    rows, columns = (
        np.array([KINDS.index(kind) for kind in kinds], int) for kinds in (calls, results)
    )
    table = np.zeros((3, 3), int)
    np.add.at(table, (rows, columns), 1)
    counts = tuple((int(a), int(b), int(c)) for a, b, c in table)
    one_kind = len(np.unique(rows)) < 2 or len(np.unique(columns)) < 2
    if agreed.patients < SMALL_GROUP or one_kind:
        return Agreement(agreed, None, counts)
    names, code = np.unique(patient, return_inverse=True)
    per_patient = np.zeros((len(names), 3, 3))
    np.add.at(per_patient, (code, rows, columns), 1)
    weights = PatientWeights(len(names))
    drawn = weights.interval(_kappa(weights.sums(per_patient)))
    return Agreement(agreed, _widened(drawn, table, len(names)), counts)


def _kappa(tables: NDArray) -> NDArray:
    """Cohen's kappa of tables (rows, 3, 3); NaN where all calls and results are of one kind.

    Cohen, Educational and Psychological Measurement 20 (1960) 37.
    """
    observed, expected = _observed_and_expected(tables)
    with np.errstate(invalid="ignore"):
        return (observed - expected) / (1 - expected)


def _observed_and_expected(tables: NDArray) -> tuple[NDArray, NDArray]:
    """The agreement of tables (rows, 3, 3), and that of independent calls with their margins."""
    total = tables.sum(axis=(1, 2))
    observed = np.trace(tables, axis1=1, axis2=2) / total
    return observed, (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1) / total**2


def _widened(kappa: Estimate, table: NDArray, patients: int) -> Estimate | None:
    """Kappa with an interval that also spans Wilson's of the agreement at the table's margins.

    Where nearly all calls agree, the bootstrap alone has no width, or too little.
    """
    if any(math.isnan(x) for x in (kappa.value, kappa.low, kappa.high)):
        return None
    observed, expected = (float(x[0]) for x in _observed_and_expected(table[np.newaxis]))
    low, high = wilson_interval(observed * patients, patients)
    low, high = ((end - expected) / (1 - expected) for end in (low, high))
    return Estimate(kappa.value, max(-1.0, min(kappa.low, low)), min(1.0, max(kappa.high, high)))


def _changes(
    before: NDArray, after: NDArray, reference: NDArray, known: NDArray, patient: NDArray
) -> Changes:
    def state(calls: NDArray, name: str) -> NDArray:
        if name == "unsure":
            return known & (calls == UNSURE)
        return known & (calls != UNSURE) & ((calls == reference) == (name == "correct"))

    def count(first: str, second: str) -> int:
        return int((state(before, first) & state(after, second)).sum())

    return Changes(
        better=_rate(state(before, "wrong") & state(after, "correct"), known, patient),
        worse=_rate(state(before, "correct") & state(after, "wrong"), known, patient),
        unsure_to_correct=count("unsure", "correct"),
        unsure_to_wrong=count("unsure", "wrong"),
        correct_to_unsure=count("correct", "unsure"),
        wrong_to_unsure=count("wrong", "unsure"),
    )


def _reliance(
    before: NDArray,
    after: NDArray,
    result: NDArray,
    reference: NDArray,
    known: NDArray,
    patient: NDArray,
) -> Reliance:
    firm = known & ((result == PNEUMONIA) | (result == NORMAL))
    wrong, correct = firm & (result != reference), firm & (result == reference)
    differed = before != result
    return Reliance(
        wrong_followed=_rate(after == result, wrong, patient),
        wrong_adopted=_rate(after == result, wrong & differed, patient),
        correct_rejected=_rate(after != result, correct, patient),
        correct_not_adopted=_rate(after != result, correct & differed, patient),
    )
