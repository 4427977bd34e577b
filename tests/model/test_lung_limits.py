"""Overlap of masks, and the limits between which lung fields are plausible."""

import numpy as np
import pytest

from xray_core.model.lungs import LungFields, LungLimits, overlap

TYPICAL = LungFields(0.16, 0.14, 0.42, 0.02, 0.0, 0.62, 0.74)


def test_the_overlap_of_two_masks_by_hand() -> None:
    # 4 and 3 pixels, 2 in common: Dice 4 / 7, IoU 2 / 5.
    mask = np.array([[1, 1, 1], [1, 0, 0]], bool)
    reference = np.array([[1, 1, 0], [0, 0, 1]], bool)
    assert overlap(mask, reference) == pytest.approx((4 / 7, 2 / 5))
    assert overlap(mask, mask) == (1.0, 1.0)
    assert overlap(mask, ~mask) == (0.0, 0.0)


def test_the_overlap_with_an_empty_mask() -> None:
    empty, lit = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert overlap(empty, lit) == (0.0, 0.0)
    assert overlap(empty, empty) == (1.0, 1.0)


def test_limits_lie_beyond_the_quantiles_on_the_sides_that_matter() -> None:
    # Areas of the smaller field from 0.10 to 0.20 in steps of 0.001.
    fields = [TYPICAL._replace(larger=0.2, smaller=0.1 + 0.001 * n) for n in range(101)]
    limits = LungLimits.fit(fields, quantile=0.1)
    assert limits.smaller == pytest.approx((0.9 * 0.11, 1.0))
    assert limits.area == pytest.approx((0.9 * 0.31, 1.1 * 0.39))
    assert limits.ratio == pytest.approx((0.9 * 0.55, 1.0))
    assert limits.offset == pytest.approx((0.0, 1.1 * 0.02))
    assert limits.cut == (0.0, 0.0)
    assert limits.height == pytest.approx((0.9 * 0.62, 1.0))


def test_no_upper_limit_exceeds_the_image() -> None:
    fields = [TYPICAL._replace(larger=0.6, smaller=0.38, cut=0.99)]
    limits = LungLimits.fit(fields)
    assert limits.area[1] == 1.0
    assert limits.cut[1] == 1.0


def test_fitted_limits_accept_typical_fields_and_refuse_others() -> None:
    rng = np.random.default_rng(0)
    fields = [LungFields(*(value * rng.uniform(0.9, 1.1) for value in TYPICAL)) for _ in range(200)]
    limits = LungLimits.fit(fields)
    assert limits.are_plausible(TYPICAL)
    assert not limits.are_plausible(TYPICAL._replace(smaller=0.0))  # a single lung
    assert not limits.are_plausible(TYPICAL._replace(distance=0.1))  # one above the other
    assert not limits.are_plausible(TYPICAL._replace(offset=0.3))
    assert not limits.are_plausible(TYPICAL._replace(cut=0.4))  # part of a chest
    assert not limits.are_plausible(LungFields(*[0.0] * 7))
    assert limits.are_plausible(TYPICAL._replace(height=1.0, width=1.0))


def test_limits_are_read_back() -> None:
    limits = LungLimits.fit([TYPICAL])
    assert LungLimits.from_dict(limits.to_dict()) == limits
