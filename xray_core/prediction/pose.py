"""Films that lie on their side, stand on their head, or have black and white exchanged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xray_core.model.gate import Outcome


@dataclass(frozen=True)
class Suggestion:
    """How to put a film right: turn it clockwise by quarter turns, then invert it if so.

    `images.turned(radiograph, quarter_turns, inverted)` does it.
    """

    quarter_turns: int
    inverted: bool

    @property
    def sentence(self) -> str:
        """What is wrong with the film as it is, as a sentence."""
        lies = {0: "", 1: "lie on its side", 2: "stand on its head", 3: "lie on its side"}
        put_right = {
            0: "",
            1: "turned by 90 degrees to the right",
            2: "turned by 180 degrees",
            3: "turned by 90 degrees to the left",
        }
        wrong = [lies[self.quarter_turns]] if self.quarter_turns else []
        right = [put_right[self.quarter_turns]] if self.quarter_turns else []
        if self.inverted:
            wrong.append("be inverted, with bone dark and air bright")
            right.append("with black and white exchanged")
        return (
            f"This film seems to {' and to '.join(wrong)}: {' and '.join(right)} it looks like the "
            "films that the model knows. Put it right and try again."
        )


ALL = tuple(
    Suggestion(turns, inverted)
    for inverted in (False, True)
    for turns in range(4)
    if turns or inverted
)


def turns_to_try(outcome: Outcome) -> tuple[Suggestion, ...]:
    """Return what may be wrong with a film that the gate gave this outcome.

    A film on its side is so unlike the others that it is always refused; one on its head, or an
    inverted one, may come near enough for a caution only.
    """
    if outcome == "passed":
        return ()
    if outcome == "caution":
        return (Suggestion(2, False), Suggestion(0, True))
    return ALL


def turned_input(film: NDArray[np.float32], turn: Suggestion) -> NDArray[np.float32]:
    """Turn a model input (H, W, 1); equal to turning the film before it was made square."""
    turned = np.rot90(film, -turn.quarter_turns)
    return np.float32(255) - turned if turn.inverted else turned
