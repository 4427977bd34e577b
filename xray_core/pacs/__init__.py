"""Chest X-rays from a PACS over DICOMweb, and results back to it as DICOM."""
