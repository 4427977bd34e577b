"""Servers, images and the small predictor for the tests of `xray_core.pacs`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from dicom_maker import as_bytes, dicom_image
from pacs_tools import (
    ACCESSION,
    BIRTH_DATE,
    NAME,
    PATIENT_ID,
    Orthanc,
    needs_orthanc,
    running_orthanc,
    settings_of,
)

from xray_core.pacs.settings import Server


@pytest.fixture
def make_orthanc(tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """`make_orthanc(**settings)`: an Orthanc of one test."""
    needs_orthanc()
    servers: list[Orthanc] = []

    def make(**settings: object) -> Orthanc:
        folder = tmp_path / f"orthanc-{len(servers)}"
        folder.mkdir()
        servers.append(Orthanc(folder, **settings))
        return servers[-1].start()

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def shared_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(shared_orthanc: Orthanc) -> Orthanc:
    """An empty Orthanc, shared by the tests of a module."""
    shared_orthanc.empty()
    return shared_orthanc


@pytest.fixture
def server(orthanc: Orthanc) -> Server:
    """The settings of `orthanc`, without permission to store."""
    return settings_of(orthanc)


@pytest.fixture(scope="session")
def make_image(image) -> Callable[..., bytes]:
    """`make_image(study, series, number, seed=0, pneumonia=False, **elements)`: a DICOM file.

    A computed radiograph of a chest with the identity in IDENTITY; `elements` replace or (if None)
    remove elements.
    """

    def make(
        study: str = "1",
        series: str = "1",
        number: int = 1,
        seed: int = 0,
        pneumonia: bool = False,
        syntax: str | None = None,
        pixels: np.ndarray | None = None,
        **elements: object,
    ) -> bytes:
        shown = image(seed, pneumonia) if pixels is None else pixels
        settings: dict[str, object] = {
            "StudyInstanceUID": f"1.2.826.0.1.3680043.8.498.{study}",
            "SeriesInstanceUID": f"1.2.826.0.1.3680043.8.498.{study}.{series}",
            "SOPInstanceUID": f"1.2.826.0.1.3680043.8.498.{study}.{series}.{number}",
            "PatientName": NAME,
            "PatientID": PATIENT_ID,
            "PatientBirthDate": BIRTH_DATE,
            "PatientSex": "F",
            "PatientAge": "004Y",
            "AccessionNumber": ACCESSION,
            "StudyID": "S1",
            "StudyDate": "20261125",
            "StudyTime": "101500",
            "StudyDescription": "CHEST PA",
            "ReferringPhysicianName": "ROE^RICHARD",
            "SeriesNumber": 1,
            "InstanceNumber": number,
            "BodyPartExamined": "CHEST",
            "ViewPosition": "PA",
            "PatientOrientation": ["L", "F"],
            "Laterality": "",
            "Manufacturer": "Tests",
        }
        settings |= elements
        dataset = dicom_image(shown, **{k: v for k, v in settings.items() if v is not None})
        file = as_bytes(dataset) if syntax is None else as_bytes(dataset, syntax)
        return file

    return make


@pytest.fixture
def refuse_results(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`refuse_results(end)`: images whose SOP Instance UID ends so cannot be written as DICOM."""
    from xray_core.pacs import analysis

    write = analysis.dicom_results

    def refuse(end: str) -> None:
        def write_or_fail(prediction, radiograph, source, *arguments, **options):
            if source.instance.endswith(end):
                raise ValueError(f"Patient name {NAME} is invalid.")
            return write(prediction, radiograph, source, *arguments, **options)

        monkeypatch.setattr(analysis, "dicom_results", write_or_fail)

    return refuse


@pytest.fixture(scope="session")
def predictor(micro_bundle):
    from xray_core import Predictor

    return Predictor.load(micro_bundle)
