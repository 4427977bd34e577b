"""Synthetic DICOM files for tests."""

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from xray_core.imaging.radiograph import Radiograph

SECRETS = ("DOE^JANE", "MRN-4711", "19991231", "ST-VINCENT")


def dicom_image(pixels: np.ndarray, bits: int | None = None, **elements: Any) -> Dataset:
    """Return the data set of a radiograph; `elements` replace or (if None) remove its elements."""
    dataset = Dataset()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality = "CR"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.InstitutionName = (
        SECRETS
    )
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    allocated = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored = allocated, bits or allocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def as_bytes(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return a data set as a DICOM file with preamble and meta information."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if not syntax.is_encapsulated:
        dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
        if syntax == ImplicitVRLittleEndian:
            dataset["PixelData"].VR = "OW"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def image_bytes(pixels: np.ndarray, bits: int | None = None, **elements: Any) -> bytes:
    """Return an image as an uncompressed DICOM file."""
    return as_bytes(dicom_image(pixels, bits, **elements))


def stored(*values: int, dtype: str = "u2") -> np.ndarray:
    """Return stored values of one row."""
    return np.array([values], dtype=dtype)


def assert_levels(read: Radiograph, *expected: float) -> None:
    assert read.pixels.dtype == np.float32
    np.testing.assert_allclose(read.pixels, [expected], atol=0.01)
