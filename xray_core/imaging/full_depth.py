"""The values of a DICOM image at their full depth, for a display with an adjustable window."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

HIGHEST = 2**16 - 1


@dataclass(frozen=True)
class Window:
    """A named window in modality units, as in a file with the VOI LUT Function LINEAR.

    Parameters
    ----------
    name : str
    center, width : float
        PS3.3, section C.11.2.1.2.1.
    """

    name: str
    center: float
    width: float


@dataclass(frozen=True, eq=False)
class FullDepth:
    """The values of an image before its window, with the same height and width as its grey levels.

    Parameters
    ----------
    values : ndarray of uint16, shape (H, W)
        Modality units are ``slope * values + intercept``. The lowest value (the highest, if
        `inverted`) is that of padding, which is black.
    slope, intercept : float
    levels : ndarray of uint8, shape (N,)
        The grey level in [0, 255] of each value in the image as analysed.
    window : Window
        The window of the image as analysed. Of a lookup table or a sigmoid, the range of units in
        which the grey levels change.
    inverted : bool
        True if the highest values are black.
    windows : tuple of Window
        All linear windows of the file.
    """

    values: np.ndarray
    slope: float
    intercept: float
    levels: np.ndarray
    window: Window
    inverted: bool = False
    windows: tuple[Window, ...] = ()

    def rotated(self, quarter_turns: int, inverted: bool) -> FullDepth:
        """Return these values rotated clockwise, and with black and white exchanged if asked.

        Parameters
        ----------
        quarter_turns : int
        inverted : bool

        Returns
        -------
        FullDepth
        """
        return replace(
            self,
            values=np.ascontiguousarray(np.rot90(self.values, -quarter_turns)),
            levels=255 - self.levels if inverted else self.levels,
            inverted=self.inverted != inverted,
        )

    def mirrored(self) -> FullDepth:
        """Return these values with left and right exchanged."""
        return replace(self, values=np.ascontiguousarray(self.values[:, ::-1]))

    def cropped(self, rows: slice, columns: slice) -> FullDepth:
        """Return the values of some rows and columns.

        Parameters
        ----------
        rows, columns : slice

        Returns
        -------
        FullDepth
        """
        return replace(self, values=np.ascontiguousarray(self.values[rows, columns]))


@dataclass(frozen=True, eq=False)
class ValueTable:
    """The value of a `FullDepth` for each stored value.

    Parameters
    ----------
    values : ndarray of uint16
        In the order of the stored values that were given.
    slope, intercept : float
    levels : ndarray of uint8, shape (N,)
        As in `FullDepth`.
    """

    values: np.ndarray
    slope: float
    intercept: float
    levels: np.ndarray


def value_table(
    units: np.ndarray, shown: np.ndarray, counts: np.ndarray, padding: np.ndarray, inverted: bool
) -> ValueTable | None:
    """Number the stored values of an image in the order of their modality units.

    Parameters
    ----------
    units : ndarray
        The modality units of each stored value that can occur.
    shown : ndarray of float
        Its grey level in [0, 255] as analysed.
    counts : ndarray of int
        How many pixels have it; 0 for padding.
    padding : ndarray of bool
        Which of them are padding.
    inverted : bool
        True for MONOCHROME1.

    Returns
    -------
    ValueTable or None
        None for an image of padding only. Units that are whole numbers in a range of up to 16 bits
        are kept exactly.
    """
    present = counts > 0
    if not present.any():
        return None
    low, high = float(units[present].min()), float(units[present].max())
    room = HIGHEST - 2  # the lowest and the highest value are left to padding
    whole = bool(np.all(units[present] == np.rint(units[present])))
    exact = whole and high - low <= room
    slope = 1.0 if exact or high == low else (high - low) / room
    values = np.rint(np.clip((units - low) / slope, 0, (high - low) / slope)).astype(np.int64) + 1
    top = int(values[present].max()) + 1
    order = np.argsort(values[present], kind="stable")
    levels = np.interp(np.arange(top + 1), values[present][order], shown[present][order])
    black = top if inverted else 0
    levels[black] = 0
    values[padding] = black
    return ValueTable(
        values.astype(np.uint16), slope, low - slope, np.rint(levels).astype(np.uint8)
    )


def changing_range(units: np.ndarray, levels: np.ndarray) -> Window:
    """Return the range of units in which grey levels change, as a window.

    Parameters
    ----------
    units : ndarray, shape (N,)
        In ascending order.
    levels : ndarray, shape (N,)
        Grey levels in [0, 255].

    Returns
    -------
    Window
    """
    inside = np.flatnonzero((levels > levels.min()) & (levels < levels.max()))
    first, last = (inside[0], inside[-1]) if inside.size else (0, len(units) - 1)
    low, high = float(units[first]), float(units[last])
    return Window("", (low + high) / 2 + 0.5, high - low + 1)
