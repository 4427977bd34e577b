"""Three-way results by class, with intervals over patients."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from xray_core.evaluation.verdicts import natural_frequencies, verdict_rates

PNEUMONIA, NORMAL, UNCERTAIN = "PNEUMONIA", "NORMAL", "UNCERTAIN"


def table(rows):
    """(label, verdict, patient, gate) of test images."""
    frame = pd.DataFrame(rows, columns=["label", "verdict", "patient", "gate"])
    return frame.assign(fold="test")


def test_images_are_counted_by_class_and_verdict():
    rows = [
        *((PNEUMONIA, PNEUMONIA, f"s{i}", "passed") for i in range(7)),
        *((PNEUMONIA, UNCERTAIN, f"u{i}", "passed") for i in range(2)),
        (PNEUMONIA, NORMAL, "missed", "passed"),
        *((NORMAL, NORMAL, f"w{i}", "passed") for i in range(4)),
    ]
    rates = verdict_rates(table(rows))
    assert [rate.images for rate in rates[PNEUMONIA].values()] == [7, 2, 1]
    assert [rate.value for rate in rates[PNEUMONIA].values()] == pytest.approx([0.7, 0.2, 0.1])
    assert list(rates[NORMAL]) == [PNEUMONIA, UNCERTAIN, NORMAL]
    assert rates[NORMAL][NORMAL].images == 4


def test_images_with_a_caution_or_refused_or_of_another_fold_do_not_count():
    rows = [
        (PNEUMONIA, PNEUMONIA, "a", "passed"),
        (PNEUMONIA, NORMAL, "b", "caution"),
        (PNEUMONIA, "REFUSED", "c", "refused"),
    ]
    other = table([(PNEUMONIA, NORMAL, "d", "passed"), (NORMAL, NORMAL, "e", "passed")])
    both = pd.concat([table(rows), other.assign(fold="validation")], ignore_index=True)
    rates = verdict_rates(both)
    assert list(rates) == [PNEUMONIA]
    assert rates[PNEUMONIA][PNEUMONIA].images == 1
    assert sum(rate.images for rate in rates[PNEUMONIA].values()) == 1


def test_images_of_one_patient_widen_the_interval():
    def missed(patients):
        rows = [
            (PNEUMONIA, NORMAL if i < 40 else PNEUMONIA, patients[i], "passed") for i in range(200)
        ]
        rate = verdict_rates(table(rows))[PNEUMONIA][NORMAL]
        assert rate.value == pytest.approx(0.2)
        assert rate.low < 0.2 < rate.high
        return rate.high - rate.low

    alone = missed([f"p{i}" for i in range(200)])
    in_fours = missed([f"p{i // 4}" for i in range(200)])
    # Four images that always agree weigh as one: the interval is about twice as wide.
    assert in_fours == pytest.approx(2 * alone, rel=0.25)


def test_no_error_at_all_has_an_upper_limit():
    rows = [(NORMAL, NORMAL, f"p{i}", "passed") for i in range(30)]
    flagged = verdict_rates(table(rows))[NORMAL][PNEUMONIA]
    # Wilson's upper limit of 0 in 30: z^2 / (30 + z^2) with z = 1.96.
    assert (flagged.value, flagged.low) == (0.0, 0.0)
    assert flagged.high == pytest.approx(1.96**2 / (30 + 1.96**2), rel=1e-3)


def test_no_images_give_no_rates():
    assert verdict_rates(table([]).astype({"label": object})) == {}
    assert np.isfinite(
        verdict_rates(table([(PNEUMONIA, PNEUMONIA, "a", "passed")]))[PNEUMONIA][PNEUMONIA].value
    )


RESULTS = pd.DataFrame(
    [
        (PNEUMONIA, PNEUMONIA),
        (PNEUMONIA, UNCERTAIN),
        (PNEUMONIA, NORMAL),
        (PNEUMONIA, "REFUSED"),
        (NORMAL, NORMAL),
        (NORMAL, UNCERTAIN),
        (NORMAL, PNEUMONIA),
    ],
    columns=["label", "verdict"],
).assign(fold="test")


def test_natural_frequencies_count_verdicts_of_100():
    of_100 = natural_frequencies(RESULTS)

    assert of_100.pneumonia_images == 4
    assert (of_100.detected, of_100.uncertain, of_100.missed, of_100.refused) == (25, 25, 25, 25)
    assert of_100.normal_images == 3
    normal = (of_100.correctly_negative, of_100.normal_uncertain, of_100.wrongly_flagged)
    assert sorted(normal) == [33, 33, 34]


def test_natural_frequencies_of_a_fold_without_images_are_zero():
    assert not any(asdict(natural_frequencies(RESULTS, fold="validation")).values())
