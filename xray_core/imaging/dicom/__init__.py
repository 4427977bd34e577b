"""DICOM files: header, pixel data, display values."""
