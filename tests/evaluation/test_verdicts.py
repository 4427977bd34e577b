"""Three-way results by class, with intervals over patients."""

import numpy as np
import pandas as pd
import pytest

from xray_core.evaluation.verdicts import verdict_rates

SICK, WELL, UNSURE = "PNEUMONIA", "NORMAL", "UNCERTAIN"


def table(rows):
    """(label, verdict, patient, gate) of test images."""
    frame = pd.DataFrame(rows, columns=["label", "verdict", "patient", "gate"])
    return frame.assign(fold="test")


def test_images_are_counted_by_class_and_verdict():
    rows = [
        *((SICK, SICK, f"s{i}", "passed") for i in range(7)),
        *((SICK, UNSURE, f"u{i}", "passed") for i in range(2)),
        (SICK, WELL, "missed", "passed"),
        *((WELL, WELL, f"w{i}", "passed") for i in range(4)),
    ]
    found = verdict_rates(table(rows))
    assert [rate.images for rate in found[SICK].values()] == [7, 2, 1]
    assert [rate.value for rate in found[SICK].values()] == pytest.approx([0.7, 0.2, 0.1])
    assert list(found[WELL]) == [SICK, UNSURE, WELL]
    assert found[WELL][WELL].images == 4


def test_images_with_a_caution_or_refused_or_of_another_fold_do_not_count():
    rows = [
        (SICK, SICK, "a", "passed"),
        (SICK, WELL, "b", "caution"),
        (SICK, "REFUSED", "c", "refused"),
    ]
    other = table([(SICK, WELL, "d", "passed"), (WELL, WELL, "e", "passed")])
    both = pd.concat([table(rows), other.assign(fold="validation")], ignore_index=True)
    found = verdict_rates(both)
    assert list(found) == [SICK]
    assert found[SICK][SICK].images == 1
    assert sum(rate.images for rate in found[SICK].values()) == 1


def test_images_of_one_patient_widen_the_interval():
    def missed(patients):
        rows = [(SICK, WELL if i < 40 else SICK, patients[i], "passed") for i in range(200)]
        rate = verdict_rates(table(rows))[SICK][WELL]
        assert rate.value == pytest.approx(0.2)
        assert rate.low < 0.2 < rate.high
        return rate.high - rate.low

    alone = missed([f"p{i}" for i in range(200)])
    in_fours = missed([f"p{i // 4}" for i in range(200)])
    # Four images that always agree weigh as one: the interval is about twice as wide.
    assert in_fours == pytest.approx(2 * alone, rel=0.25)


def test_no_error_at_all_has_an_upper_limit():
    rows = [(WELL, WELL, f"p{i}", "passed") for i in range(30)]
    flagged = verdict_rates(table(rows))[WELL][SICK]
    # Wilson's upper limit of 0 in 30: z^2 / (30 + z^2) with z = 1.96.
    assert (flagged.value, flagged.low) == (0.0, 0.0)
    assert flagged.high == pytest.approx(1.96**2 / (30 + 1.96**2), rel=1e-3)


def test_no_images_give_no_rates():
    assert verdict_rates(table([]).astype({"label": object})) == {}
    assert np.isfinite(verdict_rates(table([(SICK, SICK, "a", "passed")]))[SICK][SICK].value)
