"""What the stored values of a DICOM image mean: the steps from them to grey levels, and its facts.

The steps keep the standard's order: modality lookup table, window, inversion of MONOCHROME1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from xray_core.imaging.decode import has_colour
from xray_core.imaging.decoder_logs import quiet
from xray_core.imaging.decoding_memory import Place, assembled, sample_places, strips
from xray_core.imaging.dicom.facts import age_in_years, cautions, code
from xray_core.imaging.dicom.header import StoredImage, items, numbers, read_stored_image
from xray_core.imaging.dicom.views import DisplayView, display_views, modality_units


@dataclass(frozen=True, eq=False)
class DicomImage:
    """An image's display values and its facts; nothing that tells whose it is.

    `pixels` is float32 or (where it was in colour) uint8 (H, W), grey in [0, 255], bone bright.
    `original_size` is (height, width) as stored.
    """

    pixels: np.ndarray
    original_size: tuple[int, int]
    had_colour: bool
    modality: str | None
    view: str | None
    body_part: str | None
    age_years: float | None
    frames: int
    notes: tuple[str, ...]
    windows: tuple[str, ...]


def read_dicom(data: bytes, *, window: int, max_pixels: int, place: Place) -> DicomImage:
    """Read the first frame of a DICOM file as it is meant to be seen.

    `window` chooses among `windows`; one that does not exist counts as the first. A frame of more
    than LARGEST_KEPT pixels comes at half its height and width.
    Raises `UnreadableImage`; damaged content may raise anything else, for the caller to catch.
    """
    with quiet("pydicom"):
        stored = read_stored_image(data, max_pixels, place)
        header = with_functional_groups(stored.header)
        views = display_views(header)
        notes: list[str] = []
        if stored.photometric.startswith("MONOCHROME"):
            chosen = views[window if 0 <= window < len(views) else 0] if views else None
            pixels, had_colour = grey_levels(stored, header, chosen, notes), False
        else:
            views = []
            pixels, had_colour = luminance(stored, header)
        return DicomImage(
            pixels=pixels,
            original_size=(stored.values.shape[0], stored.values.shape[1]),
            had_colour=had_colour,
            modality=code(header, "Modality"),
            view=code(header, "ViewPosition"),
            body_part=code(header, "BodyPartExamined"),
            age_years=age_in_years(header),
            frames=stored.frames,
            notes=(*cautions(header, stored.frames), *notes),
            windows=tuple(view.name for view in views),
        )


def grey_levels(
    stored: StoredImage, header: Dataset, view: DisplayView | None, notes: list[str]
) -> np.ndarray:
    """Turn stored values into grey levels, float32 (H, W) in [0, 255], halved where it is large.

    Without a view, or with one that leaves the image black or white: up to 8 bits are shown as they
    are, deeper values and floats are stretched between their 0.1% and 99.9% quantiles.
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
    if narrow and not stored.compressed:
        possible = within_bits(possible, bits)
    padding = is_padding(possible, header)
    units = modality_units(possible, header)
    seen = np.where(padding, 0, counts)

    levels = view.apply(units) if view else None
    if levels is not None and _saturated(levels, seen):
        notes.append("The file's display window leaves no detail; the full range is shown instead.")
        levels = None
    if levels is None:
        low, high = _shown_range(units, seen, bits if narrow else 32)
        view = DisplayView("", lambda values: stretched(values, low, high))
        if bits > 8 and not notes:
            notes.append("The file names no display window; its full range of greys is shown.")
        levels = view.apply(units)

    inverted = stored.photometric == "MONOCHROME1"

    def shown(levels: np.ndarray, padding: np.ndarray) -> np.ndarray:
        upright = 255 - levels if inverted else levels
        return np.where(padding, 0, np.nan_to_num(upright)).astype(np.float32)

    table = shown(levels, padding) if narrow else None

    def shown_strip(rows: slice) -> np.ndarray:
        if table is not None:
            return table[codes[rows]]
        assert view is not None
        strip = values[rows]
        return shown(view.apply(modality_units(strip, header)), is_padding(strip, header))

    return assembled(shown_strip, values.shape[0], values.shape[1], np.float32)


def luminance(stored: StoredImage, header: Dataset) -> tuple[np.ndarray, bool]:
    """Turn stored colours or palette indices into grey, uint8 (H, W), and tell if it had colour."""
    values = stored.values

    def grey(rows: slice) -> np.ndarray:
        return np.asarray(_rgb_image(values[rows], stored, header).convert("L"))

    down, across = sample_places(values.shape[0]), sample_places(values.shape[1])
    sample = _rgb_image(values[np.ix_(down, across)], stored, header)
    return assembled(grey, values.shape[0], values.shape[1], np.uint8), has_colour(sample)


def _rgb_image(values: np.ndarray, stored: StoredImage, header: Dataset) -> Image.Image:
    """Turn some of the stored colours or palette indices into RGB."""
    if stored.photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

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


def within_bits(stored: np.ndarray, bits: int) -> np.ndarray:
    """Drop what lies above Bits Stored (0028,0101), such as overlays, and extend the sign.

    Takes and gives integers of the same type; unchanged where all bits are in use.
    """
    spare = 8 * stored.dtype.itemsize - bits
    # Shifting up and down again extends the sign of signed types, and clears others.
    return (stored << spare) >> spare if spare > 0 else stored


def is_padding(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Tell which stored values stand for no tissue (0028,0120), (0028,0121); PS3.3, C.7.5.1.1.2."""
    first = numbers(header, "PixelPaddingValue")
    if not first or stored.dtype.kind == "f":
        return np.zeros(stored.shape, dtype=bool)
    limit = numbers(header, "PixelPaddingRangeLimit") or first
    low, high = sorted((int(first[0]), int(limit[0])))
    if stored.dtype.kind == "i" and low == high > np.iinfo(stored.dtype).max:
        low = high = low - 2 ** (8 * stored.dtype.itemsize)  # written as if unsigned
    return (stored >= low) & (stored <= high)


def stretched(units: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map [low, high] to [0, 255], clipping what lies outside."""
    if not high > low:
        return np.zeros(units.shape, dtype=np.float32)
    return np.clip((units - low) * (255 / (high - low)), 0, 255)


def with_functional_groups(header: Dataset) -> Dataset:
    """Lift the first frame's rescaling and window to where single-frame images keep theirs."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items(header, groups)[:1]:
            for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in items(group, name)[:1]:
                    for element in item:
                        if element.tag not in header:
                            header.add(element)
    return header


def _shown_range(units: np.ndarray, seen: np.ndarray, bits: int) -> tuple[float, float]:
    if bits <= 8:
        return float(units.min()), float(units.max())
    present = np.flatnonzero(seen)
    if present.size == 0:
        return 0.0, 0.0
    order = present[np.argsort(units[present], kind="stable")]
    share = np.cumsum(seen[order]) / seen.sum()
    low, high = np.searchsorted(share, [0.001, 0.999])
    return float(units[order[low]]), float(units[order[min(high, order.size - 1)]])


def _saturated(levels: np.ndarray, seen: np.ndarray) -> bool:
    several = np.count_nonzero(seen) > 2
    return bool(several and seen[(levels > 0) & (levels < 255)].sum() < 0.01 * seen.sum())


def _bits_stored(header: Dataset, dtype: np.dtype) -> int:
    bits = numbers(header, "BitsStored")
    whole = 8 * dtype.itemsize
    return int(bits[0]) if bits and 0 < bits[0] <= whole else whole
