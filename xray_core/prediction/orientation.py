"""Images that are rotated, upside down, inverted, or have a border around them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xray_core.imaging.border import crop_border
from xray_core.imaging.pixels import rotate
from xray_core.imaging.radiograph import Radiograph
from xray_core.model.gate import Gate, Outcome

FloatArray = NDArray[np.float32]
Distances = Callable[[FloatArray], NDArray[np.float64]]
"""Model inputs (N, H, W, 1) -> their squared distances (N,) to the training images."""

MUCH_NEARER = 0.5
"""Of an image that lies wrong, the one put right has at most this share of its distance."""


@dataclass(frozen=True)
class Correction:
    """How to put an image right: trim its frame if so, turn it clockwise, then invert it if so."""

    quarter_turns: int
    inverted: bool
    crop_border: bool = False

    @property
    def turns(self) -> bool:
        """Tell whether the image lies wrong, not only in a frame."""
        return bool(self.quarter_turns) or self.inverted

    @property
    def sentence(self) -> str:
        """What is wrong with the image as it is, and what to do, as sentences."""
        upside_down = "upside down" if self.quarter_turns == 2 else "rotated"
        wrong = [
            *(["to have a border"] if self.crop_border else []),
            *([f"to be {upside_down}"] if self.quarter_turns else []),
            *(["to be inverted, with bone dark and air bright"] if self.inverted else []),
        ]
        steps = [
            *(["crop the border"] if self.crop_border else []),
            *([f"rotate by {_ANGLES[self.quarter_turns]}"] if self.quarter_turns else []),
            *(["invert black and white"] if self.inverted else []),
        ]
        return (
            f"The image appears {_listed(wrong)}. {_listed(steps).capitalize()} to make it look "
            "like the training images, then analyse it again."
        )

    @property
    def done(self) -> str:
        """What was done to an image that was put right this way, as a sentence."""
        steps = [
            *(["cropped to its content"] if self.crop_border else []),
            *([f"rotated by {_ANGLES[self.quarter_turns]}"] if self.quarter_turns else []),
            *(["inverted"] if self.inverted else []),
        ]
        return f"The image was {_listed(steps)} before the analysis."


_ANGLES = {1: "90 degrees clockwise", 2: "180 degrees", 3: "90 degrees counterclockwise"}


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


ALL = tuple(
    Correction(turns, inverted)
    for inverted in (False, True)
    for turns in range(4)
    if turns or inverted
)


def apply_correction(radiograph: Radiograph, correction: Correction) -> Radiograph:
    """Return the image changed as a suggestion has it, with a note of what was done."""
    image = crop_border(radiograph) if correction.crop_border else radiograph
    image = rotate(image, correction.quarter_turns, correction.inverted)
    return replace(image, notes=(*image.notes, correction.done))


def suggest(
    image: FloatArray,
    inner: FloatArray | None,
    distance: float,
    outcome: Outcome,
    gate: Gate,
    distances: Distances,
) -> Correction | None:
    """Return how to put an image right, None where it had best be judged as it is.

    An image without a frame that passes costs nothing here; any other costs a forward pass or two.

    Args:
        image: the model input (H, W, 1).
        inner: the model input of the image without its frame, None where it has none.
        distance: the image's squared distance to the training images.
        outcome: what the gate, or the image's pixels, made of it.
        gate: the model's own.
        distances: asks the network.
    """
    if inner is not None:
        inner_distance = float(distances(inner[np.newaxis])[0])
        inner_outcome = gate.outcome(inner_distance)
        turn = _turn(inner, inner_distance, inner_outcome, gate, distances)
        if turn is not None:
            return replace(turn, crop_border=True)
        if inner_outcome != "refused":
            return Correction(0, False, crop_border=True)
    return _turn(image, distance, outcome, gate, distances)


def _turn(
    image: FloatArray, distance: float, outcome: Outcome, gate: Gate, distances: Distances
) -> Correction | None:
    """Return how to turn the image, if the turned image is far nearer to the training images."""
    turns = turns_to_try(outcome)
    if not turns:
        return None
    found = distances(np.stack([turned_input(image, turn) for turn in turns]))
    best = int(np.argmin(found))
    nearer = found[best] < MUCH_NEARER * distance
    return turns[best] if nearer and gate.outcome(float(found[best])) != "refused" else None


def turns_to_try(outcome: Outcome) -> tuple[Correction, ...]:
    """Return what may be wrong with an image that the gate gave this outcome.

    An image on its side is so unlike the others that it is always refused; one on its head, or an
    inverted one, may come near enough for a caution only.
    """
    if outcome == "passed":
        return ()
    if outcome == "caution":
        return (Correction(2, False), Correction(0, True))
    return ALL


def turned_input(image: FloatArray, turn: Correction) -> FloatArray:
    """Turn a model input (H, W, 1); equal to turning the image before it was made square."""
    turned_image = np.rot90(image, -turn.quarter_turns)
    return np.float32(255) - turned_image if turn.inverted else turned_image
