"""A DICOM image's own tables and windows: from stored values to units, and from those to greys."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing

from xray_core.imaging.dicom.header import items, numbers, value

_DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class DisplayView:
    """One way in which the file's maker meant the image to be seen (PS3.3, C.11.2)."""

    name: str
    apply: Callable[[np.ndarray], np.ndarray]  # modality units -> [0, 255]


def display_views(header: Dataset) -> list[DisplayView]:
    """List the VOI lookup tables (0028,3010), then the windows (0028,1050), of a header."""
    views = []
    for number, item in enumerate(items(header, "VOILUTSequence"), start=1):
        table = _lookup_table(item)
        if table is not None:
            views.append(
                DisplayView(_words(item, "LUTExplanation") or f"table {number}", _voi(table))
            )
    centers, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    names = value(header, "WindowCenterWidthExplanation")
    labels = list(names) if isinstance(names, list | MultiValue) else [names]
    function = str(value(header, "VOILUTFunction") or "LINEAR").strip().upper()
    for number, (center, width) in enumerate(zip(centers, widths, strict=False)):
        if np.isfinite(center) and np.isfinite(width) and width > 0:
            label = _plain(labels[number]) if number < len(labels) else ""
            name = label or f"centre {center:g}, width {width:g}"
            views.append(DisplayView(name, _windowing(center, width, function)))
    return views


def modality_units(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Apply the modality's lookup table (0028,3000) or rescaling; PS3.3, C.11.1.

    Unchanged where the header has neither, or one that makes no sense.
    """
    for item in items(header, "ModalityLUTSequence")[:1]:
        table = _lookup_table(item)
        if table is not None and stored.dtype.kind in "iu":
            own = Dataset()
            own.ModalityLUTSequence = [table]
            return apply_modality_lut(stored.astype(np.int32), own).astype(np.int32)
    slope, intercept = numbers(header, "RescaleSlope"), numbers(header, "RescaleIntercept")
    if not (slope or intercept):
        return stored if stored.dtype.kind == "f" else stored.astype(np.int32)
    own = Dataset()
    own.add_new("RescaleSlope", "FD", slope[0] if slope and slope[0] else 1.0)
    own.add_new("RescaleIntercept", "FD", intercept[0] if intercept else 0.0)
    if not (np.isfinite(own.RescaleSlope) and np.isfinite(own.RescaleIntercept)):
        return stored.astype(np.int32)
    return apply_modality_lut(stored, own)


def _windowing(center: float, width: float, function: str) -> Callable[[np.ndarray], np.ndarray]:
    window = Dataset()
    window.PhotometricInterpretation = "MONOCHROME2"
    # pydicom's windows give back the range of these bits: [0, 255].
    window.BitsStored, window.PixelRepresentation = 8, 0
    window.add_new("WindowCenter", "FD", center)
    window.add_new("WindowWidth", "FD", width)
    if function not in ("LINEAR_EXACT", "SIGMOID"):
        function = "LINEAR" if width >= 1 else "LINEAR_EXACT"  # LINEAR has no width below 1
    window.VOILUTFunction = function
    return lambda units: apply_windowing(units, window)


def _voi(table: Dataset) -> Callable[[np.ndarray], np.ndarray]:
    own = Dataset()
    own.VOILUTSequence = [table]
    highest = max(table.LUTData)
    # Some writers declare 16 bits for entries of 12: the entries tell.
    scale = 255 / (2 ** next(depth for depth in _DEPTHS if highest < 2**depth) - 1)
    return lambda units: apply_voi_lut(np.rint(units).astype(np.int32), own) * scale


def _lookup_table(item: Dataset) -> Dataset | None:
    """Rewrite a lookup table (0028,3002), (0028,3006) in the one form that pydicom always reads."""
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


def _words(dataset: Dataset, keyword: str) -> str:
    return _plain(value(dataset, keyword))


def _plain(words: object) -> str:
    return re.sub(r"[^A-Za-z0-9 .,_+-]", "", str(words or "")).strip()[:40]
