"""What a reader changes in an image before the analysis: crop, mirror, rotate, invert.

An `Adjustment` describes the change; `xray_core.imaging.pixels.adjust` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in an image, as shares of its height and width: [top, bottom) x [left, right)."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def is_valid(self) -> bool:
        """Whether the box has an area and lies in the image; False for NaN."""
        return 0 <= self.top < self.bottom <= 1 and 0 <= self.left < self.right <= 1

    def slices(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Return the rows and columns of the box in an image (H, W), at least one of each."""
        height, width = shape[:2]
        top = min(round(self.top * height), height - 1)
        left = min(round(self.left * width), width - 1)
        bottom = max(round(self.bottom * height), top + 1)
        right = max(round(self.right * width), left + 1)
        return slice(top, bottom), slice(left, right)

    def mirrored(self) -> Box:
        """Return the box after its image was mirrored left to right."""
        return Box(self.top, 1 - self.right, self.bottom, 1 - self.left)

    def rotated(self, quarter_turns: int) -> Box:
        """Return the box after its image was rotated clockwise by quarter turns."""
        box = self
        for _ in range(quarter_turns % 4):
            box = Box(box.left, 1 - box.bottom, box.right, 1 - box.top)
        return box

    def within(self, outer: Box) -> Box:
        """Return this box, a part of the crop `outer`, as a box of the image that was cropped."""
        height, width = outer.bottom - outer.top, outer.right - outer.left
        return Box(
            outer.top + self.top * height,
            outer.left + self.left * width,
            min(outer.bottom, outer.top + self.bottom * height),
            min(outer.right, outer.left + self.right * width),
        )


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Adjustment:
    """A change of an image: crop it, mirror it, rotate it clockwise, invert it, in this order.

    Any sequence of such changes equals one of them; `then` returns it.

    Parameters
    ----------
    quarter_turns : int
        0 to 3, clockwise.
    inverted : bool
        Whether black and white are exchanged.
    mirrored : bool
        Whether left and right are exchanged.
    crop : Box
        The part that is kept, of the image as it was read.

    Raises
    ------
    ValueError
        The number of quarter turns is not 0 to 3, or the box has no area or leaves the image.
    """

    quarter_turns: int = 0
    inverted: bool = False
    mirrored: bool = False
    crop: Box = WHOLE

    def __post_init__(self) -> None:
        if self.quarter_turns not in range(4):
            raise ValueError(f"Expected 0 to 3 quarter turns. Received: {self.quarter_turns}")
        if not self.crop.is_valid:
            raise ValueError(f"Expected a box inside the image. Received: {self.crop}")

    def then(self, following: Adjustment) -> Adjustment:
        """Return the change that equals this one and a following one.

        Parameters
        ----------
        following : Adjustment
            A change of the image that this one gives; its crop is a part of that image.
        """
        # The crop of the changed image, turned back to the image as it was read.
        part = following.crop.rotated(-self.quarter_turns)
        part = part.mirrored() if self.mirrored else part
        # Mirroring an image that was rotated equals mirroring it first and rotating it back.
        turns = -self.quarter_turns if following.mirrored else self.quarter_turns
        return Adjustment(
            quarter_turns=(turns + following.quarter_turns) % 4,
            inverted=self.inverted != following.inverted,
            mirrored=self.mirrored != following.mirrored,
            crop=self.crop if part == WHOLE else part.within(self.crop),
        )

    @property
    def is_cropped(self) -> bool:
        """Whether only a part of the image is kept."""
        return self.crop != WHOLE

    @property
    def is_turned(self) -> bool:
        """Whether the image is mirrored, rotated or inverted, not only cropped."""
        return self.mirrored or self.quarter_turns > 0 or self.inverted

    @property
    def sentence(self) -> str:
        """A sentence on what was done to the image; "" for an image as it was read."""
        if self == UNADJUSTED:
            return ""
        orientation = [
            *(["mirrored left to right"] if self.mirrored else []),
            *([f"rotated by {ANGLES[self.quarter_turns]}"] if self.quarter_turns else []),
            *(["inverted"] if self.inverted else []),
        ]
        steps = join([*([f"cropped ({self._removed()})"] if self.is_cropped else []), *orientation])
        # Inverting commutes with the other steps.
        depends_on_order = self.is_cropped + self.mirrored + bool(self.quarter_turns) > 1
        order = ", in this order," if depends_on_order else ""
        return f"The image was {steps}{order} before the analysis."

    def _removed(self) -> str:
        sides = {
            "at the top": self.crop.top,
            "on the right": 1 - self.crop.right,
            "at the bottom": 1 - self.crop.bottom,
            "on the left": self.crop.left,
        }
        parts = [
            f"{share:.1%}".replace(".0%", "%") + f" {side}"
            for side, share in sides.items()
            if share >= 0.0005
        ]
        return f"{join(parts)} removed" if parts else "less than 0.1% removed"


ANGLES = {1: "90 degrees clockwise", 2: "180 degrees", 3: "90 degrees counterclockwise"}
"""Quarter turns clockwise, in words."""

UNADJUSTED = Adjustment()
"""The adjustment of an image that is analysed as it was read."""


def join(parts: list[str]) -> str:
    """Return the parts of a list as text: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
