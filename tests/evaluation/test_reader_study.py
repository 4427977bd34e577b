"""What readings show about a reader, against numbers worked out by hand."""

import math
import random
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

from xray_core.errors import XrayError
from xray_core.evaluation.reader_study import Rate, evaluate_readings
from xray_core.evaluation.reader_study_text import (
    compare_calls,
    describe_automation_bias,
    describe_readings,
)
from xray_core.evaluation.reading import CALLS, Reading, ShownResult
from xray_core.labels import SHOWN_AS, VERDICTS
from xray_core.stats.bootstrap import PatientWeights
from xray_core.stats.intervals import Estimate, paired_interval

CODES = {"P": "PNEUMONIA", "N": "NORMAL", "U": "UNSURE", "?": "UNCERTAIN", "R": "REFUSED"}


def reading(image: int, code: str, patient: str | None = None) -> Reading:
    """A complete reading: reference label ("-" without), first assessment, result, second
    assessment."""
    reference, before, verdict, after = code
    shown = ShownResult(CODES[verdict], SHOWN_AS[CODES[verdict]], None, "micro 1")  # type: ignore[arg-type]
    first = Reading(
        image,
        CODES[before],  # type: ignore[arg-type]
        3,
        reference=None if reference == "-" else CODES[reference],
        patient=patient,
    )
    return first.reveal(shown).conclude(CODES[after], 3)  # type: ignore[arg-type]


def readings(*codes: str, images_per_patient: int = 1) -> list[Reading]:
    return [reading(i, code, f"p{i // images_per_patient}") for i, code in enumerate(codes)]


def counts(rate: Rate) -> tuple[int, int]:
    return rate.count, rate.images


def numbers(value: Any) -> Iterator[float]:
    """Every number inside nested dataclasses and tuples."""
    if is_dataclass(value):
        for field in fields(value):
            yield from numbers(getattr(value, field.name))
    elif isinstance(value, tuple):
        for part in value:
            yield from numbers(part)
    elif value is not None:
        yield value


TWELVE = (
    "PPPP",  # right throughout
    "PNPP",  # the result corrects the reader
    "PNPN",  # a correct result is rejected
    "PUNN",  # a wrong result decides an unsure assessment
    "PPNN",  # a wrong result is followed against a correct call
    "PPNP",  # a wrong result is rejected
    "NNPN",
    "NPPP",  # both are wrong from the start
    "NUNN",
    "NN?U",
    "NNRN",  # no result
    "-PPN",  # no reference label
)


def test_the_counts_of_twelve_readings() -> None:
    unfinished = Reading(99, "NORMAL", 1, reference="NORMAL")
    study = evaluate_readings([*readings(*TWELVE), unfinished])
    assert (study.readings, study.patients, study.incomplete) == (12, 12, 1)
    assert (study.without_result, study.without_reference, study.without_patient) == (1, 1, 0)

    assert counts(study.agreement_before.agreed) == (3, 11)
    assert study.agreement_before.table == ((3, 0, 2), (0, 0, 2), (3, 1, 0))
    assert counts(study.agreement_after.agreed) == (7, 11)

    assert counts(study.before.sensitivity) == (3, 6)
    assert counts(study.before.specificity) == (3, 5)
    assert counts(study.after.sensitivity) == (3, 6)
    assert counts(study.after.specificity) == (3, 5)
    assert counts(study.before.unsure_pneumonia) == (1, 6)
    assert counts(study.before.unsure_normal) == (1, 5)
    assert counts(study.after.unsure_pneumonia) == (0, 6)
    assert counts(study.after.unsure_normal) == (1, 5)
    assert counts(study.model.sensitivity) == (3, 6)
    assert counts(study.model.specificity) == (1, 4)
    assert counts(study.model.unsure_normal) == (1, 4)

    for change, images in ((study.sensitivity_change, 6), (study.specificity_change, 5)):
        assert (change.gained, change.lost, change.images) == (1, 1, images)
        assert change.estimate is not None
        assert change.estimate.value == 0.0

    changes = study.changes
    assert (counts(changes.better), counts(changes.worse)) == ((1, 11), (1, 11))
    assert (changes.unsure_to_correct, changes.unsure_to_wrong) == (1, 1)
    assert (changes.correct_to_unsure, changes.wrong_to_unsure) == (1, 0)

    assert counts(study.reliance.wrong_followed) == (3, 5)
    assert counts(study.reliance.wrong_adopted) == (2, 4)
    assert counts(study.reliance.correct_rejected) == (1, 4)
    assert counts(study.reliance.correct_not_adopted) == (1, 3)


def test_few_patients_have_wide_intervals_and_no_kappa() -> None:
    study = evaluate_readings(readings("PPPP"))
    # Wilson: 1 / (1 + 1.96^2) = 0.2065
    assert study.before.sensitivity.text == "1 of 1, 100.0% (20.7% to 100.0%)"
    assert study.before.specificity.text == "0 of 0, not enough cases"
    assert study.before.specificity.estimate is None
    assert study.agreement_before.kappa is None
    assert compare_calls(study)[-1]["First assessment"] == "not enough cases"
    # Tango, without a change: 1.96^2 / (1 + 1.96^2) = 0.7935
    assert study.sensitivity_change.text == "+0.0 percentage points (-79.3 to +79.3)"
    assert study.specificity_change.text == "not enough cases"


def test_images_of_one_patient_count_as_one() -> None:
    codes = ("PPPP", "PNPN") * 8
    by_image, by_patient = (
        evaluate_readings(readings(*codes, images_per_patient=each)) for each in (1, 8)
    )
    assert by_patient.patients == 2
    assert counts(by_image.before.sensitivity) == counts(by_patient.before.sensitivity) == (8, 16)
    # Wilson with 2 in place of 16: 0.5 +- 0.5 * sqrt(1 - 2 / (2 + 1.96^2)), by hand.
    assert by_patient.before.sensitivity.text == "8 of 16, 50.0% (9.5% to 90.5%)"
    assert by_image.before.sensitivity.text == "8 of 16, 50.0% (28.0% to 72.0%)"
    (of_image, of_patient) = (x.sensitivity_change.estimate for x in (by_image, by_patient))
    assert of_image is not None
    assert of_patient is not None
    assert of_patient.high > 2 * of_image.high


def test_a_patient_that_is_not_known_is_one_of_its_own() -> None:
    study = evaluate_readings([reading(i, "PPPP", key) for i, key in enumerate([None, "", "a"])])
    assert (study.patients, study.without_patient) == (3, 2)
    assert "2 without a known patient" in describe_readings(study)[0]


def test_kappa_of_a_published_table() -> None:
    """20 both positive, 15 both negative, 5 and 10 not: kappa (0.7 - 0.5) / (1 - 0.5) = 0.4."""
    codes = ["-PPP"] * 20 + ["-PNP"] * 5 + ["-NPN"] * 10 + ["-NNN"] * 15
    agreement = evaluate_readings(readings(*codes)).agreement_before
    assert counts(agreement.agreed) == (35, 50)
    assert agreement.kappa is not None
    assert agreement.kappa.value == pytest.approx(0.4)
    # The asymptotic interval of the table is 0.15 to 0.65.
    assert agreement.kappa.low == pytest.approx(0.15, abs=0.05)
    assert agreement.kappa.high == pytest.approx(0.65, abs=0.05)


def test_perfect_agreement_has_an_interval() -> None:
    agreement = evaluate_readings(readings(*["-PPP", "-NNN"] * 15)).agreement_before
    # Wilson's lower limit of 30 of 30 is 30 / (30 + 1.96^2) = 0.8865; (0.8865 - 0.5) / 0.5
    assert agreement.kappa is not None
    assert (agreement.kappa.value, agreement.kappa.high) == (1.0, 1.0)
    assert agreement.kappa.low == pytest.approx(0.773, abs=5e-4)


@pytest.mark.parametrize("codes", [["-PPP"] * 30, ["-PPP", "-NPP"] * 15, ["-PPP", "-PNP"] * 15])
def test_kappa_needs_two_kinds_of_calls_and_of_results(codes: list[str]) -> None:
    study = evaluate_readings(readings(*codes))
    assert study.agreement_before.kappa is None
    assert any("Kappa needs 20 patients" in sentence for sentence in describe_readings(study))


def test_unsure_agrees_with_indeterminate_and_with_nothing_else() -> None:
    study = evaluate_readings(readings("-U?U", "-UPP", "-P?U", "-UNN"))
    assert counts(study.agreement_before.agreed) == (1, 4)
    assert counts(study.agreement_after.agreed) == (4, 4)


def test_the_interval_of_a_change_is_not_narrower_than_either_method() -> None:
    """One call of 40 changes: a bootstrap alone would exclude every gain of sensitivity."""
    study = evaluate_readings(readings("PPNN", *["PPPP"] * 39))
    change = study.sensitivity_change.estimate
    assert change is not None
    assert change.value == pytest.approx(-0.025)
    assert change.low < -0.1
    assert change.high > 0.05


def test_the_interval_of_a_change_covers_it_where_a_bootstrap_alone_does_not() -> None:
    """20 images, each gains a right call with 5% and loses one with 2%: all outcomes, weighted."""
    gain, loss, images = 0.05, 0.02, 20
    weights = PatientWeights(images)
    total = covered = covered_by_bootstrap = 0.0
    for gained in range(8):
        for lost in range(6):
            same = images - gained - lost
            ways = math.factorial(images) / math.prod(map(math.factorial, (gained, lost, same)))
            probability = ways * gain**gained * loss**lost * (1 - gain - loss) ** same
            codes = ["PNPP"] * gained + ["PPNN"] * lost + ["PPPP"] * same
            change = evaluate_readings(readings(*codes)).sensitivity_change.estimate
            assert change is not None
            differences = np.array([1.0] * gained + [-1.0] * lost + [0.0] * same)
            drawn = weights.interval(weights.sums(differences) / images)
            total += probability
            covered += probability * (change.low <= gain - loss <= change.high)
            covered_by_bootstrap += probability * (drawn.low <= gain - loss <= drawn.high)
    assert total > 0.999
    assert covered > 0.95
    assert covered_by_bootstrap < 0.7


def test_many_patients_that_change_have_an_interval_without_zero() -> None:
    study = evaluate_readings(readings(*["PNPP"] * 20, *["PPPP"] * 40))
    change = study.sensitivity_change.estimate
    assert change is not None
    assert change.value == pytest.approx(1 / 3)
    assert 0.2 < change.low < 0.25
    assert 0.43 < change.high < 0.5


EVERY_KIND = ["".join(code) for code in product("PN-", "PNU", ("P", "N", "?", "R"), "PNU")]


@pytest.mark.parametrize("size", [1, 2, 3, 19, 20, 21, 60])
def test_no_sample_raises_or_gives_nan(size: int) -> None:
    draw = random.Random(size)
    samples = (
        [[code] for code in EVERY_KIND]
        if size == 1
        else [[draw.choice(EVERY_KIND)] * size for _ in range(4)]
        + [draw.choices(EVERY_KIND, k=size) for _ in range(4)]
        + [draw.choices(draw.choices(EVERY_KIND, k=2), k=size) for _ in range(4)]
    )
    for codes in samples:
        for each in (1, 2):
            study = evaluate_readings(readings(*codes, images_per_patient=each))
            assert not any(math.isnan(x) for x in numbers(study)), codes
            rows = compare_calls(study)
            text = " ".join([*describe_readings(study), *(x for row in rows for x in row.values())])
            assert "nan" not in text.split()
            assert "no interval" not in text
            assert "not defined" not in text


def test_an_estimate_lies_in_its_interval() -> None:
    draw = random.Random(7)
    for _ in range(10):
        study = evaluate_readings(readings(*draw.choices(EVERY_KIND, k=40)))
        found = [
            value
            for part in (study.before, study.after, study.changes, study.reliance)
            for field in fields(part)
            if isinstance(rate := getattr(part, field.name), Rate)
            and (value := rate.estimate) is not None
        ]
        found += [study.sensitivity_change.estimate, study.specificity_change.estimate]
        for estimate in found:
            assert isinstance(estimate, Estimate)
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.high - estimate.low > 0.01


def test_no_readings_are_described() -> None:
    assert describe_readings(evaluate_readings([])) == ("0 complete readings of 0 patients.",)


def test_an_image_that_was_read_twice_is_refused() -> None:
    with pytest.raises(XrayError, match="Image 4 has more"):
        evaluate_readings([reading(4, "PPPP"), reading(4, "PNPP")])


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["PPPP"], "No result was wrong, so it cannot be measured."),
        (["NPPP"], "The first assessment agreed with all of them, so it cannot be measured."),
        (
            ["PPNN", "NPPP"],
            "Where the first assessment differed: 1 of 1, 100.0% (20.7% to 100.0%); this is the "
            "automation bias.",
        ),
    ],
)
def test_the_sentence_on_automation_bias(codes: list[str], expected: str) -> None:
    study = evaluate_readings(readings(*codes))
    text = describe_automation_bias(study.reliance)
    assert text.startswith("Automation bias is the tendency to follow a wrong result")
    assert text.endswith(expected)
    assert text in describe_readings(study)


def test_the_sentences_say_how_unsure_counts_and_for_whom_they_hold() -> None:
    study = evaluate_readings(readings(*TWELVE))
    text = " ".join(describe_readings(study))
    assert "An unsure assessment counts as neither pneumonia nor no pneumonia." in text
    assert "do not apply to other readers" in text
    assert "Changed for the better, from wrong to correct: 1 of 11, 9.1% (" in text
    assert "12 complete readings of 12 patients; 1 without a result of the model" in text


def test_every_call_and_verdict_can_be_evaluated() -> None:
    study = evaluate_readings(
        [
            Reading(i, call, 1, reference="NORMAL")  # type: ignore[arg-type]
            .reveal(ShownResult(verdict, SHOWN_AS[verdict], None, ""))
            .conclude(call, 1)  # type: ignore[arg-type]
            for i, (call, verdict) in enumerate(product(CALLS, VERDICTS))
        ]
    )
    assert (study.readings, study.without_result) == (15, 6)


def test_the_table_compares_both_calls_and_the_model() -> None:
    rows = {row.pop(""): row for row in compare_calls(evaluate_readings(readings(*TWELVE)))}
    # Wilson's interval of 3 of 6 is 18.8% to 81.2%, and of 1 of 4 4.6% to 69.9%.
    assert rows["Sensitivity"]["First assessment"] == "3 of 6, 50.0% (18.8% to 81.2%)"
    assert rows["Sensitivity"]["Change"].startswith("+0.0 percentage points (")
    assert rows["Specificity"]["Model alone"] == "1 of 4, 25.0% (4.6% to 69.9%)"
    assert rows["Agreement with the model"]["Second assessment"].startswith("7 of 11, ")
    assert rows["Kappa with the model"]["First assessment"] == "not enough cases"
    assert {tuple(row) for row in rows.values()} == {
        ("First assessment", "Second assessment", "Change", "Model alone")
    }


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [(3, 6, 0.187616, 0.812384), (8, 16, 0.279996, 0.720004), (17, 19, 0.686059, 0.970641)],
)
def test_the_interval_of_few_calls_is_that_of_statsmodels(
    right: int, images: int, low: float, high: float
) -> None:
    """statsmodels 0.15, `proportion_confint(right, images, method="wilson")`."""
    study = evaluate_readings(readings(*["PPPP"] * right, *["PNNN"] * (images - right)))
    found = study.before.sensitivity.estimate
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(
    ("right", "images", "low", "high"), [(45, 60, 0.6333, 0.85), (13, 40, 0.2, 0.475)]
)
def test_the_interval_of_more_calls_is_that_of_scipy(
    right: int, images: int, low: float, high: float
) -> None:
    """scipy 1.17, `bootstrap(calls, mean, n_resamples=200_000, method="BCa")`."""
    study = evaluate_readings(readings(*["PPPP"] * right, *["PNNN"] * (images - right)))
    found = study.before.sensitivity.estimate
    assert found is not None
    one_image = 1 / images
    assert (found.low, found.high) == pytest.approx((low, high), abs=one_image + 1e-4)


def test_kappa_of_three_kinds_is_that_of_statsmodels() -> None:
    """statsmodels 0.15, `cohens_kappa`: 0.660414, asymptotically 0.537147 to 0.783681."""
    counts_by_kind = {"P": (30, 4, 2), "U": (3, 8, 5), "N": (1, 6, 41)}
    codes = [
        f"-{call}{result}{call}"
        for call, row in counts_by_kind.items()
        for result, count in zip("P?N", row, strict=True)
        for _ in range(count)
    ]
    kappa = evaluate_readings(readings(*codes)).agreement_before.kappa
    assert kappa is not None
    assert kappa.value == pytest.approx(0.660414, abs=1e-6)
    assert (kappa.low, kappa.high) == pytest.approx((0.537147, 0.783681), abs=0.03)


@pytest.mark.parametrize(
    ("gained", "lost", "statistic"),
    [
        (10, 3, 3.7692),
        (9, 2, 4.4545),
        (12, 3, 5.4000),
        (14, 5, 4.2632),
        (13, 5, 3.5556),
        (3, 0, 3.0000),
    ],
)
def test_the_interval_of_a_change_agrees_with_mcnemar(
    gained: int, lost: int, statistic: float
) -> None:
    """statsmodels 0.15, `mcnemar(exact=False, correction=False)`; the limit of 5% is 3.8415.

    Tango's interval holds no change exactly where McNemar's test does not reject it. The interval
    of a study spans Tango's, so it holds no change wherever the test does not reject it.
    """
    assert (gained - lost) ** 2 / (gained + lost) == pytest.approx(statistic, abs=1e-4)
    low, high = paired_interval(gained, lost, 60)
    assert (low <= 0 <= high) == (statistic < 3.8415)
    codes = ["PNPP"] * gained + ["PPNN"] * lost + ["PPPP"] * (60 - gained - lost)
    change = evaluate_readings(readings(*codes)).sensitivity_change.estimate
    assert change is not None
    assert change.low <= low < high <= change.high
