"""Draws and intervals equal those stored before the replicates were drawn in blocks."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from simulated_tables import TABLES, all_intervals, simulated

from xray_core.stats.bootstrap import PatientWeights

STORED = json.loads(Path(__file__).with_name("stored_intervals.json").read_text())


@pytest.mark.parametrize("name", TABLES)
def test_every_interval_is_the_stored_one(name):
    assert_equal(all_intervals(simulated(*TABLES[name])), STORED[name], name)


def assert_equal(result, stored, where):
    if isinstance(stored, dict):
        assert set(result) == set(stored), where
        for key in stored:
            assert_equal(result[key], stored[key], f"{where}, {key}")
    else:
        assert result == pytest.approx(stored, rel=1e-12, abs=1e-12, nan_ok=True), where


@pytest.mark.parametrize("rows_at_once", [1, 7, 600])
def test_the_draws_are_the_stored_ones_however_many_come_at_once(rows_at_once):
    weights = PatientWeights(700, bootstrap=100, seed=5)

    for _ in range(2):  # drawn, then kept
        table = np.concatenate(list(weights.blocks(rows_at_once)))
        assert table.shape == (weights.rows, 700)
        assert hashlib.sha256(table.astype("uint8").tobytes()).hexdigest() == (
            "4817d1851624c9b26f2d1effa795689fcf91d1ba16207db9da2e97bdc5b5921a"
        )
