"""Convert the stored values of a DICOM image to grey levels for display.

Grey images pass through these steps, in the order of the grayscale transformation sequence
(PS3.4, section N.2.1):

1. `mask_unused_bits` (Bits Stored) and `padding_mask` (Pixel Padding Value), on stored values;
2. `apply_modality_transform` (Modality LUT or rescale), to modality units;
3. one of `voi_transforms` (VOI LUT or window), to [0, 255];
4. `invert_monochrome1`, on display values, as the file is meant to be displayed. Padding is then
   set to black.

Colour images are converted to their luminance instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing

from xray_core.imaging.decode import bit_depth, has_colour
from xray_core.imaging.decoding_memory import (
    assemble,
    is_halved,
    sample_positions,
    strips,
)
from xray_core.imaging.dicom.decode import StoredImage
from xray_core.imaging.dicom.header import (
    items,
    numbers,
    value,
)
from xray_core.imaging.full_depth import FullDepth, Window, changing_range, value_table


@dataclass(frozen=True)
class VoiTransform:
    """One VOI LUT or window of a file (PS3.3, section C.11.2).

    Parameters
    ----------
    name : str
    apply : callable
        From modality units to display values in [0, 255].
    window : Window or None
        The same as a linear window; None for a lookup table or a sigmoid.
    """

    name: str
    apply: Callable[[np.ndarray], np.ndarray]
    window: Window | None = None


def to_grey_levels(
    stored: StoredImage,
    header: Dataset,
    transform: VoiTransform | None,
    notes: list[str],
    *,
    full_depth: bool = False,
) -> tuple[np.ndarray, FullDepth | None]:
    """Apply all display steps to a MONOCHROME1 or MONOCHROME2 image.

    Parameters
    ----------
    stored : StoredImage
    header : pydicom.Dataset
    transform : VoiTransform or None
        If None, or if it leaves the image black or white: up to 8 bits are shown as stored, deeper
        values and floats are stretched between their 0.1% and 99.9% quantiles.
    notes : list of str
        Receives a sentence if the range had to be stretched.
    full_depth : bool
        Whether to return the values before the window as well.

    Returns
    -------
    levels : ndarray of float32, shape (H, W)
        Grey levels in [0, 255], halved if the image is large.
    depth : FullDepth or None
        The values, without `windows`; None for values of more than 16 bits.

    Notes
    -----
    `merge_functional_groups` must come before.
    """
    values = stored.values
    narrow = values.dtype.kind in "iu" and values.dtype.itemsize <= 2
    if narrow:
        # Every step works value by value, so it is done once for each value that can occur.
        unsigned = np.dtype(f"u{values.dtype.itemsize}")
        codes = np.ascontiguousarray(values).view(unsigned)
        possible = np.arange(2 ** (8 * unsigned.itemsize)).astype(unsigned)
        counts = np.zeros(possible.size, dtype=np.int64)
        for rows in strips(*values.shape):
            counts += np.bincount(codes[rows].ravel(), minlength=counts.size)
        possible = possible.view(values.dtype)
    else:
        step = max(1, int((values.size / 1_000_000) ** 0.5))
        possible = values[::step, ::step].ravel()
        possible = possible[np.isfinite(possible)]
        counts = np.ones(possible.size, dtype=np.int64)
    bits = _bits_stored(header, values.dtype)
    if narrow and stored.whole_cells:
        possible = mask_unused_bits(possible, bits)
    padding = padding_mask(possible, header)
    units = apply_modality_transform(possible, header)
    counts = np.where(padding, 0, counts)

    levels = transform.apply(units) if transform else None
    if levels is not None and _is_saturated(levels, counts):
        notes.append(
            "The window in the file leaves no detail. The full range of grey values is shown."
        )
        levels = None
    if levels is None:
        low, high = _display_range(units, counts, bits if narrow else 32)
        full = Window("", (low + high) / 2 + 0.5, high - low + 1)
        transform = VoiTransform("", lambda values: stretch(values, low, high), full)
        if bits > 8 and not notes:
            notes.append("The file has no window. The full range of grey values is shown.")
        levels = transform.apply(units)

    def finish(levels: np.ndarray, padding: np.ndarray) -> np.ndarray:
        displayed = invert_monochrome1(levels, stored.photometric)
        return np.where(padding, 0, np.nan_to_num(displayed)).astype(np.float32)

    table = finish(levels, padding) if narrow else None

    def display_strip(rows: slice) -> np.ndarray:
        if table is not None:
            return table[codes[rows]]
        assert transform is not None
        strip = values[rows]
        units = apply_modality_transform(strip, header)
        return finish(transform.apply(units), padding_mask(strip, header))

    shown = assemble(display_strip, values.shape[0], values.shape[1], np.float32)
    if not full_depth or table is None:
        return shown, None
    inverted = stored.photometric == "MONOCHROME1"
    numbered = value_table(units, table, counts, padding, inverted)
    if numbered is None:
        return shown, None

    def value_strip(rows: slice) -> np.ndarray:
        return numbered.values[codes[rows]]

    # Only grey levels and floats can be halved.
    kind = np.float32 if is_halved(*values.shape) else np.uint16
    kept = assemble(value_strip, values.shape[0], values.shape[1], kind)
    in_use = transform.window if transform else None
    if in_use is None:
        steps = np.arange(numbered.levels.size) * numbered.slope + numbered.intercept
        in_use = changing_range(steps[1:-1], numbered.levels[1:-1])
    kept = np.rint(kept).astype(np.uint16) if kept.dtype != np.uint16 else kept
    depth = FullDepth(kept, numbered.slope, numbered.intercept, numbered.levels, in_use, inverted)
    return shown, depth


def mask_unused_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Clear the bits above Bits Stored (0028,0101), such as overlays, and extend the sign.

    Parameters
    ----------
    values : ndarray of int
        Stored values.
    bits : int
        Bits Stored.

    Returns
    -------
    ndarray of the same type
        Otherwise unchanged, if all bits are in use.

    Notes
    -----
    For uncompressed and RLE frames only: other decoders return the stored bits alone.
    """
    spare = 8 * values.dtype.itemsize - bits
    # Shifting up and down again extends the sign of signed types, and clears others.
    return (values << spare) >> spare if spare > 0 else values


def padding_mask(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Return which stored values are padding outside the exposed area.

    Parameters
    ----------
    values : ndarray
        Stored values, before the modality transform.
    header : pydicom.Dataset
        Pixel Padding Value (0028,0120) and Pixel Padding Range Limit (0028,0121); PS3.3,
        section C.7.5.1.1.2.

    Returns
    -------
    ndarray of bool
        All False without these elements, and for floats.

    Notes
    -----
    `mask_unused_bits` must come before.
    """
    first = numbers(header, "PixelPaddingValue")
    if not first or values.dtype.kind == "f":
        return np.zeros(values.shape, dtype=bool)
    limit = numbers(header, "PixelPaddingRangeLimit") or first
    low, high = sorted((int(first[0]), int(limit[0])))
    if values.dtype.kind == "i" and low == high > np.iinfo(values.dtype).max:
        low = high = low - 2 ** (8 * values.dtype.itemsize)  # written as unsigned
    return (values >= low) & (values <= high)


def apply_modality_transform(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Convert stored values to modality units by lookup table or rescaling.

    Parameters
    ----------
    values : ndarray
        Stored values.
    header : pydicom.Dataset
        Modality LUT Sequence (0028,3000), or Rescale Slope (0028,1053) and Rescale Intercept
        (0028,1052); PS3.3, section C.11.1.

    Returns
    -------
    ndarray
        Modality units; otherwise unchanged, if the header has neither or they are invalid.

    Notes
    -----
    `mask_unused_bits` must come before.
    """
    for item in items(header, "ModalityLUTSequence")[:1]:
        table = _lookup_table(item)
        if table is not None and values.dtype.kind in "iu":
            own = Dataset()
            own.ModalityLUTSequence = [table]
            return apply_modality_lut(values.astype(np.int32), own).astype(np.int32)
    slope, intercept = numbers(header, "RescaleSlope"), numbers(header, "RescaleIntercept")
    if not (slope or intercept):
        return values if values.dtype.kind == "f" else values.astype(np.int32)
    own = Dataset()
    own.add_new("RescaleSlope", "FD", slope[0] if slope and slope[0] else 1.0)
    own.add_new("RescaleIntercept", "FD", intercept[0] if intercept else 0.0)
    if not (np.isfinite(own.RescaleSlope) and np.isfinite(own.RescaleIntercept)):
        return values.astype(np.int32)
    return apply_modality_lut(values, own)


def voi_transforms(header: Dataset) -> list[VoiTransform]:
    """List the VOI lookup tables of a header, followed by its windows.

    Parameters
    ----------
    header : pydicom.Dataset
        VOI LUT Sequence (0028,3010); Window Center (0028,1050), Window Width (0028,1051), Window
        Center & Width Explanation (0028,1055), VOI LUT Function (0028,1056); PS3.3, section C.11.2.

    Returns
    -------
    list of VoiTransform
        Without invalid ones.

    Notes
    -----
    They apply to modality units: `apply_modality_transform` must come before.
    """
    transforms = []
    for number, item in enumerate(items(header, "VOILUTSequence"), start=1):
        table = _lookup_table(item)
        if table is not None:
            name = _plain(value(item, "LUTExplanation")) or f"table {number}"
            transforms.append(VoiTransform(name, _lookup(table)))
    centers, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    names = value(header, "WindowCenterWidthExplanation")
    labels = list(names) if isinstance(names, list | MultiValue) else [names]
    function = str(value(header, "VOILUTFunction") or "LINEAR").strip().upper()
    for number, (center, width) in enumerate(zip(centers, widths, strict=False)):
        if np.isfinite(center) and np.isfinite(width) and width > 0:
            label = _plain(labels[number]) if number < len(labels) else ""
            name = label or f"centre {center:g}, width {width:g}"
            transforms.append(
                VoiTransform(
                    name,
                    _windowing(center, width, function),
                    _linear(name, center, width, function),
                )
            )
    return transforms


def stretch(units: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map [low, high] linearly to [0, 255] and clip values outside.

    Parameters
    ----------
    units : ndarray
        Modality units.
    low, high : float

    Returns
    -------
    ndarray of float
        All 0 unless `high` exceeds `low`.
    """
    if not high > low:
        return np.zeros(units.shape, dtype=np.float32)
    return np.clip((units - low) * (255 / (high - low)), 0, 255)


def invert_monochrome1(levels: np.ndarray, photometric: str) -> np.ndarray:
    """Invert a MONOCHROME1 image, whose lowest values are displayed white.

    Parameters
    ----------
    levels : ndarray
        Display values in [0, 255].
    photometric : str
        Photometric Interpretation (0028,0004); PS3.3, section C.7.6.3.1.2.

    Returns
    -------
    ndarray
        255 - levels for MONOCHROME1, otherwise unchanged.

    Notes
    -----
    The VOI transform must come before: the standard defines MONOCHROME1 on the values that result
    from it, and windows on values that are not inverted.
    """
    return 255 - levels if photometric == "MONOCHROME1" else levels


def to_luminance(stored: StoredImage, header: Dataset) -> tuple[np.ndarray, bool]:
    """Convert stored colours or palette indices to grey levels.

    Parameters
    ----------
    stored : StoredImage
    header : pydicom.Dataset
        Bits Stored (0028,0101), and for PALETTE COLOR the palette (PS3.3, section C.7.9).

    Returns
    -------
    levels : ndarray of uint8, shape (H, W)
        Halved if the image is large.
    had_colour : bool
    """
    values = stored.values

    def grey(rows: slice) -> np.ndarray:
        return np.asarray(_rgb_image(values[rows], stored, header).convert("L"))

    down, across = sample_positions(values.shape[0]), sample_positions(values.shape[1])
    sample = _rgb_image(values[np.ix_(down, across)], stored, header)
    return assemble(grey, values.shape[0], values.shape[1], np.uint8), has_colour(sample)


def _rgb_image(values: np.ndarray, stored: StoredImage, header: Dataset) -> Image.Image:
    """Convert some of the stored colours or palette indices to RGB."""
    if stored.photometric == "PALETTE COLOR":
        values = apply_color_lut(values, header)[..., :3]
        bits = 8 * values.dtype.itemsize
    else:
        bits = _bits_stored(header, values.dtype)
    if values.dtype != np.uint8 or bits < 8:
        scale = 255 / (2**bits - 1)
        values = np.clip(np.rint(values * np.float32(scale)), 0, 255).astype(np.uint8)
    values = np.ascontiguousarray(values)
    if stored.photometric.startswith("YBR"):
        size = values.shape[1::-1]
        return Image.frombuffer("YCbCr", size, values, "raw", "YCbCr", 0, 1).convert("RGB")
    return Image.fromarray(values)


def _linear(name: str, center: float, width: float, function: str) -> Window | None:
    if function == "SIGMOID":
        return None
    if function == "LINEAR_EXACT" or width < 1:
        return Window(name, center + 0.5, width + 1)
    return Window(name, center, width)


def _windowing(center: float, width: float, function: str) -> Callable[[np.ndarray], np.ndarray]:
    window = Dataset()
    window.PhotometricInterpretation = "MONOCHROME2"
    # pydicom's windows return the range of these bits: [0, 255].
    window.BitsStored, window.PixelRepresentation = 8, 0
    window.add_new("WindowCenter", "FD", center)
    window.add_new("WindowWidth", "FD", width)
    if function not in ("LINEAR_EXACT", "SIGMOID"):
        function = "LINEAR" if width >= 1 else "LINEAR_EXACT"  # LINEAR needs a width of at least 1
    window.VOILUTFunction = function
    return lambda units: apply_windowing(units, window)


def _lookup(table: Dataset) -> Callable[[np.ndarray], np.ndarray]:
    own = Dataset()
    own.VOILUTSequence = [table]
    # Some writers declare 16 bits for entries of 12, so the entries decide.
    scale = 255 / (2 ** bit_depth(max(table.LUTData)) - 1)
    return lambda units: apply_voi_lut(np.rint(units).astype(np.int32), own) * scale


def _lookup_table(item: Dataset) -> Dataset | None:
    """Rewrite LUT Descriptor (0028,3002) and LUT Data (0028,3006) in a form that pydicom reads."""
    descriptor, data = numbers(item, "LUTDescriptor"), value(item, "LUTData")
    if len(descriptor) != 3 or data is None:
        return None
    entries, first = int(descriptor[0]) or 2**16, int(descriptor[1])
    if isinstance(data, bytes):
        order = "<" if item.original_encoding[1] in (True, None) else ">"
        packed = len(data) in (entries, entries + entries % 2) and entries > 1
        data = np.frombuffer(data, "u1" if packed else f"{order}u2").tolist()
    table = [int(entry) & 0xFFFF for entry in data][:entries] if isinstance(data, Sequence) else []
    if len(table) < 2:
        return None
    own = Dataset()
    own.add_new("LUTDescriptor", "SL", [len(table), first, 16])
    own.add_new("LUTData", "US", table)
    return own


def _display_range(units: np.ndarray, counts: np.ndarray, bits: int) -> tuple[float, float]:
    if bits <= 8:
        return float(units.min()), float(units.max())
    present = np.flatnonzero(counts)
    if present.size == 0:
        return 0.0, 0.0
    order = present[np.argsort(units[present], kind="stable")]
    share = np.cumsum(counts[order]) / counts.sum()
    low, high = np.searchsorted(share, [0.001, 0.999])
    return float(units[order[low]]), float(units[order[min(high, order.size - 1)]])


def _is_saturated(levels: np.ndarray, counts: np.ndarray) -> bool:
    several = np.count_nonzero(counts) > 2
    return bool(several and counts[(levels > 0) & (levels < 255)].sum() < 0.01 * counts.sum())


def _bits_stored(header: Dataset, dtype: np.dtype) -> int:
    bits = numbers(header, "BitsStored")
    whole = 8 * dtype.itemsize
    return int(bits[0]) if bits and 0 < bits[0] <= whole else whole


def _plain(text: object) -> str:
    return re.sub(r"[^A-Za-z0-9 .,_+-]", "", str(text or "")).strip()[:40]
