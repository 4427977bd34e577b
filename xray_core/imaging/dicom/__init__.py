"""DICOM files become display values."""
