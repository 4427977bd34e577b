"""Read a DICOM image as it is meant to be displayed, with what its header says about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from xray_core.imaging.decoder_logs import suppress_logs
from xray_core.imaging.decoding_memory import (
    Reservation,
    is_halved,
    kept_shape,
)
from xray_core.imaging.dicom.decode import decode_first_frame
from xray_core.imaging.dicom.display import (
    VoiTransform,
    to_grey_levels,
    to_luminance,
    voi_transforms,
)
from xray_core.imaging.dicom.header import (
    age_in_years,
    code_string,
    items,
    numbers,
    read_header,
    type_cautions,
)
from xray_core.imaging.full_depth import FullDepth

_DEPTH_BYTES = 6
"""Bytes per pixel that `FullDepth` needs at most, while its values are rounded."""


@dataclass(frozen=True, eq=False)
class DicomImage:
    """The display values of a DICOM image and what its header says about it, without identity.

    Parameters
    ----------
    levels : ndarray of float32 or (from colour) uint8, shape (H, W)
        Grey levels in [0, 255], as the file is meant to be displayed.
    original_size : tuple of int
        (height, width) as stored.
    had_colour : bool
    modality, view, body_part : str or None
    age_years : float or None
    frames : int
    notes : tuple of str
    windows : tuple of str
        Names of the VOI LUTs and windows.
    pixel_spacing : tuple of float or None
        Distance between the rows and between the columns of `levels`, in mm.
    spacing_at_detector : bool
        True if that distance is measured at the detector, where the chest is magnified.
    full_depth : FullDepth or None
        The values before the window, if they were requested and are grey values of at most 16 bits.
    """

    levels: np.ndarray
    original_size: tuple[int, int]
    had_colour: bool
    modality: str | None
    view: str | None
    body_part: str | None
    age_years: float | None
    frames: int
    notes: tuple[str, ...]
    windows: tuple[str, ...]
    pixel_spacing: tuple[float, float] | None
    spacing_at_detector: bool
    full_depth: FullDepth | None


def read_dicom(
    data: bytes,
    *,
    window: int,
    max_pixels: int,
    reservation: Reservation,
    full_depth: bool = False,
) -> DicomImage:
    """Read the first frame of a DICOM file as it is meant to be displayed.

    Parameters
    ----------
    data : bytes
        The whole file.
    window : int
        Index into `windows` of the result. An index out of range selects the first.
    max_pixels : int
        Larger images are refused before decoding.
    reservation : Reservation
        Acquires the estimated peak before decoding.
    full_depth : bool
        Whether to keep the values before the window as well.

    Returns
    -------
    DicomImage
        Halved if the frame has more than `LARGEST_KEPT` pixels.

    Raises
    ------
    UnreadableImage
        If the file is refused. Damaged content may raise any exception, which the caller catches.
    """
    with suppress_logs("pydicom"):
        file = read_header(data, max_pixels, reservation)
        kept = kept_shape(file.options["rows"], file.options["columns"])
        stored = decode_first_frame(
            file, reservation, beside=_DEPTH_BYTES * math.prod(kept) if full_depth else 0
        )
        header = merge_functional_groups(file.header)
        frames = file.options["number_of_frames"]
        notes: list[str] = []
        transforms: list[VoiTransform] = []
        depth = None
        if stored.photometric.startswith("MONOCHROME"):
            transforms = voi_transforms(header)
            index = window if 0 <= window < len(transforms) else 0
            selected = transforms[index] if transforms else None
            levels, depth = to_grey_levels(stored, header, selected, notes, full_depth=full_depth)
            had_colour = False
        else:
            levels, had_colour = to_luminance(stored, header)
        if depth is not None:
            windows = tuple(transform.window for transform in transforms if transform.window)
            depth = replace(depth, windows=windows)
        spacing, at_detector = pixel_spacing(header)
        if spacing is not None and is_halved(*stored.values.shape[:2]):
            spacing = 2 * spacing[0], 2 * spacing[1]
        return DicomImage(
            levels=levels,
            original_size=(stored.values.shape[0], stored.values.shape[1]),
            had_colour=had_colour,
            modality=code_string(header, "Modality"),
            view=code_string(header, "ViewPosition"),
            body_part=code_string(header, "BodyPartExamined"),
            age_years=age_in_years(header),
            frames=frames,
            notes=(*type_cautions(header, frames), *notes),
            windows=tuple(transform.name for transform in transforms),
            pixel_spacing=spacing,
            spacing_at_detector=at_detector,
            full_depth=depth,
        )


def pixel_spacing(header: Dataset) -> tuple[tuple[float, float] | None, bool]:
    """Return the distance between rows and between columns in mm, and where it is measured.

    Parameters
    ----------
    header : pydicom.Dataset
        Pixel Spacing (0028,0030) and Imager Pixel Spacing (0018,1164); PS3.3, section 10.7.1.3.

    Returns
    -------
    spacing : tuple of float or None
        None if the header has neither.
    at_detector : bool
        True if the distance is that of Imager Pixel Spacing: it is not corrected for the
        magnification of the chest.
    """
    found = []
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = numbers(header, keyword)
        valid = len(values) == 2 and all(np.isfinite(values)) and min(values) > 0
        found.append((values[0], values[1]) if valid else None)
    calibrated, detector = found
    return calibrated or detector, detector is not None and calibrated in (None, detector)


def merge_functional_groups(header: Dataset) -> Dataset:
    """Copy the first frame's rescale and window to where single-frame images store them.

    Parameters
    ----------
    header : pydicom.Dataset
        Shared (5200,9229) and Per-Frame (5200,9230) Functional Groups Sequence; PS3.3,
        sections C.7.6.16.2.9 and C.7.6.16.2.10.

    Returns
    -------
    pydicom.Dataset
        `header`, changed in place; otherwise unchanged. Existing elements are not replaced.
    """
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items(header, groups)[:1]:
            for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in items(group, name)[:1]:
                    for element in item:
                        if element.tag not in header:
                            header.add(element)
    return header
