"""Boxes in images, and the description of an adjustment."""

import math

import pytest

from xray_core.imaging.adjustment import WHOLE, Adjustment, Box


@pytest.mark.parametrize(
    ("adjustment", "sentence"),
    [
        (Adjustment(), ""),
        (Adjustment(1), "The image was rotated by 90 degrees clockwise before the analysis."),
        (Adjustment(2), "The image was rotated by 180 degrees before the analysis."),
        (
            Adjustment(3),
            "The image was rotated by 90 degrees counterclockwise before the analysis.",
        ),
        (Adjustment(inverted=True), "The image was inverted before the analysis."),
        (Adjustment(mirrored=True), "The image was mirrored left to right before the analysis."),
        (
            Adjustment(2, inverted=True),
            "The image was rotated by 180 degrees and inverted before the analysis.",
        ),
        (
            Adjustment(crop=Box(0.125, 0.0, 0.9, 0.96)),
            "The image was cropped (12.5% at the top, 4% on the right and 10% at the bottom "
            "removed) before the analysis.",
        ),
        (
            Adjustment(crop=Box(0.0001, 0.0, 1.0, 1.0)),
            "The image was cropped (less than 0.1% removed) before the analysis.",
        ),
        (
            Adjustment(1, True, True, Box(0.0, 0.5, 1.0, 1.0)),
            "The image was cropped (50% on the left removed), mirrored left to right, rotated by "
            "90 degrees clockwise and inverted, in this order, before the analysis.",
        ),
    ],
)
def test_the_sentence_states_each_step(adjustment: Adjustment, sentence: str) -> None:
    assert adjustment.sentence == sentence


def test_a_box_moves_with_its_image() -> None:
    box = Box(0.0, 0.25, 0.5, 1.0)
    assert box.mirrored() == Box(0.0, 0.0, 0.5, 0.75)
    assert box.rotated(1) == Box(0.25, 0.5, 1.0, 1.0)  # its upper edge becomes the right one
    assert box.rotated(2) == Box(0.5, 0.0, 1.0, 0.75)
    assert box.rotated(-1) == box.rotated(3) == Box(0.0, 0.0, 0.75, 0.5)
    assert box.rotated(4) == box


def test_a_part_of_a_crop_is_a_part_of_the_whole() -> None:
    outer = Box(0.5, 0.0, 1.0, 0.5)
    assert Box(0.5, 0.0, 1.0, 0.5).within(outer) == Box(0.75, 0.0, 1.0, 0.25)
    assert WHOLE.within(outer) == outer


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_crops_of_crops_stay_inside_the_image(steps: int) -> None:
    adjustment = Adjustment()
    for _ in range(steps):
        adjustment = adjustment.then(Adjustment(1, crop=Box(0.1, 0.3, 1.0, 1.0)))
    assert adjustment.crop.is_valid
    rows, columns = adjustment.crop.slices((50, 60))
    assert 0 <= rows.start < rows.stop <= 50
    assert 0 <= columns.start < columns.stop <= 60


@pytest.mark.parametrize(
    "box",
    [
        Box(0.5, 0.0, 0.5, 1.0),
        Box(0.0, 0.6, 1.0, 0.4),
        Box(-0.1, 0.0, 1.0, 1.0),
        Box(0.0, 0.0, 1.0, 1.1),
        Box(math.nan, 0.0, 1.0, 1.0),
    ],
)
def test_a_box_without_area_or_outside_the_image_is_refused(box: Box) -> None:
    assert not box.is_valid
    with pytest.raises(ValueError, match="inside the image"):
        Adjustment(crop=box)


@pytest.mark.parametrize("turns", [-1, 4, 5])
def test_other_numbers_of_turns_are_refused(turns: int) -> None:
    with pytest.raises(ValueError, match="quarter turns"):
        Adjustment(turns)
