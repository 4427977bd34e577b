"""Images that are rotated, upside down, inverted, or have a border around them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xray_core.imaging.adjustment import ANGLES, Adjustment, Box, join
from xray_core.model.gate import Gate, Outcome

FloatArray = NDArray[np.float32]
Distances = Callable[[FloatArray], NDArray[np.float64]]
"""Model inputs (N, H, W, 1) -> their squared distances (N,) to the training images; infinite where
no two plausible lung fields were found or the image looks upside down, so that no correction leads
to such an image."""

MUCH_NEARER = 0.5
"""A correction is suggested if it reduces the distance to less than this share."""


UPSIDE_DOWN = Adjustment(2)
"""The correction of an image that is upside down."""

ORIENTATIONS = tuple(
    Adjustment(turns, inverted)
    for inverted in (False, True)
    for turns in range(4)
    if turns or inverted
)


def describe_fault(correction: Adjustment) -> str:
    """Return sentences on what is wrong with an image, and how `correction` corrects it."""
    turns = correction.quarter_turns
    wrong = [
        *(["to have a border"] if correction.is_cropped else []),
        *([f"to be {'upside down' if turns == 2 else 'rotated'}"] if turns else []),
        *(["to be inverted, with bone dark and air bright"] if correction.inverted else []),
    ]
    steps = [
        *(["crop the border"] if correction.is_cropped else []),
        *([f"rotate by {ANGLES[turns]}"] if turns else []),
        *(["invert black and white"] if correction.inverted else []),
    ]
    return (
        f"The image appears {join(wrong)}. {join(steps).capitalize()} to make it look "
        "like the training images, then analyse it again."
    )


def suggest_correction(
    image: FloatArray,
    inner: FloatArray | None,
    content: Box,
    distance: float,
    outcome: Outcome,
    gate: Gate,
    distances: Distances,
    *,
    upside_down: bool = False,
) -> Adjustment | None:
    """Return the correction with which an image resembles the training images, None without one.

    An upright image without a border that passes the input check needs no forward pass here; any
    other needs one or two.

    Parameters
    ----------
    image
        The model input, float32 (H, W, 1) in [0, 255].
    inner
        The model input of the image without its border, None where it has none.
    content
        The part of the image inside its border.
    distance
        The squared distance of the image to the training images.
    outcome
        The outcome of the input check.
    gate
        The input check of the model.
    distances
        Computes squared distances with the network.
    upside_down
        Whether the image looks upside down.
    """
    if inner is not None:
        inner_distance = float(distances(inner[np.newaxis])[0])
        inner_outcome = gate.outcome(inner_distance)
        orientation = _suggest_orientation(inner, inner_distance, inner_outcome, gate, distances)
        if orientation is not None:
            return replace(orientation, crop=content)
        if inner_outcome != "refused":
            return Adjustment(crop=content)
    if upside_down and gate.outcome(_distance(image, UPSIDE_DOWN, distances)) != "refused":
        return UPSIDE_DOWN
    return _suggest_orientation(image, distance, outcome, gate, distances)


def _distance(image: FloatArray, correction: Adjustment, distances: Distances) -> float:
    return float(distances(rotate_input(image, correction)[np.newaxis])[0])


def _suggest_orientation(
    image: FloatArray, distance: float, outcome: Outcome, gate: Gate, distances: Distances
) -> Adjustment | None:
    """Return the orientation in which the image is far nearer to the training images."""
    candidates = orientations_to_try(outcome)
    if not candidates:
        return None
    squared = distances(np.stack([rotate_input(image, candidate) for candidate in candidates]))
    best = int(np.argmin(squared))
    nearer = squared[best] < MUCH_NEARER * distance
    return candidates[best] if nearer and gate.outcome(float(squared[best])) != "refused" else None


def orientations_to_try(outcome: Outcome) -> tuple[Adjustment, ...]:
    """Return the orientations to try for an image with this outcome of the input check.

    An image rotated by 90 degrees is always refused. An image that is upside down, or inverted, may
    be accepted with a caution.
    """
    if outcome == "passed":
        return ()
    if outcome == "caution":
        return (UPSIDE_DOWN, Adjustment(0, True))
    return ORIENTATIONS


def rotate_input(image: FloatArray, correction: Adjustment) -> FloatArray:
    """Rotate and invert a square model input (H, W, 1); equal to doing so before the resize."""
    rotated = np.rot90(image, -correction.quarter_turns)
    return np.float32(255) - rotated if correction.inverted else rotated
