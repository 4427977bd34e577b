"""Start a local PACS with synthetic studies, and the app with its settings: `make pacs-demo`.

Orthanc is started on localhost with a password that is made for this run. Its studies are made from
the example images of the default model, with invented names. Everything is removed at the end.
"""

import argparse
import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

PLUGINS = [
    Path(folder) / "libOrthancDicomWeb.so"
    for folder in ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")
]
IMAGE = "jodogne/orthanc-plugins:1.12.4"
USER = "demo"
MISSING = (
    "Orthanc with DICOMweb was not found, nor docker or podman. On Debian or Ubuntu: "
    "sudo apt-get install orthanc orthanc-dicomweb. Elsewhere, install Docker or Podman and run "
    "this again, or set XRAY_PACS_URL to another DICOMweb server (docs/pacs.md)."
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make pacs-demo", description=__doc__)
    parser.add_argument("--no-app", action="store_true", help="start the PACS alone")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell may start it with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    from xray_core.errors import XrayError

    try:
        with tempfile.TemporaryDirectory(prefix="pacs-demo-") as folder:
            run(Path(folder), with_app=not options.no_app)
    except XrayError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe PACS was stopped and its studies were removed.")
    return 0


def run(folder: Path, *, with_app: bool) -> None:
    """Run the PACS, and the app if wanted, until interrupted or until one of them ends."""
    from xray_core.pacs.settings import Server

    password, port = secrets.token_urlsafe(12), free_port()
    url = f"http://localhost:{port}/dicom-web"
    server = Server("demo", url, user=USER, password=password, write=True)
    settings = {
        "XRAY_PACS_URL": url,
        "XRAY_PACS_USER": USER,
        "XRAY_PACS_PASSWORD": password,
        "XRAY_PACS_WRITE": "1",
        "XRAY_PACS_SHOW_IDENTITY": "1",
    }
    with orthanc(folder, port, password) as process:
        studies = fill(server, process)
        print(f"A PACS with {len(studies)} studies of today runs at {url}. In another terminal:\n")
        for name, value in settings.items():
            print(f"  export {name}={value}")
        print("  .venv/bin/python -m xray_core pacs search")
        print(f"  .venv/bin/python -m xray_core pacs analyse --study {studies[0]} --store")
        print("  .venv/bin/python -m xray_core pacs watch\n")
        print("Ctrl-C stops the PACS and removes its studies.", flush=True)
        if with_app:
            app = [sys.executable, "-m", "streamlit", "run", "app.py"]
            subprocess.run(app, cwd=REPOSITORY, env=os.environ | settings, check=False)
        else:
            process.wait()


@contextmanager
def orthanc(folder: Path, port: int, password: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Orthanc from a Debian package, or from a container where there is an engine."""
    from xray_core.errors import PacsError

    plugin = next((path for path in PLUGINS if path.exists()), None)
    # Debian installs it where the PATH of an ordinary user does not lead.
    folders = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    program = shutil.which("Orthanc", path=folders) if plugin else None
    engine = shutil.which("docker") or shutil.which("podman")
    settings: dict[str, Any] = {
        "Name": "demo",
        "HttpPort": port,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: password},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "RemoteAccessAllowed": program is None,  # a container is reached from outside it
    }
    file = folder / "orthanc.json"
    if program:
        storage = str(folder / "storage")
        settings |= {"StorageDirectory": storage, "IndexDirectory": storage}
        settings["Plugins"] = [str(plugin)]
        command = [program, str(file)]
    elif engine:
        settings["Plugins"] = ["/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins"]
        volume = f"{file}:/etc/orthanc/orthanc.json:ro"
        published = f"127.0.0.1:{port}:{port}"
        command = [engine, "run", "--rm", "-p", published, "-v", volume, IMAGE]
    else:
        raise PacsError(MISSING)
    file.write_text(json.dumps(settings))
    if program:
        file.chmod(0o600)
    with (folder / "orthanc.log").open("wb") as log:
        # A group of its own, so that Ctrl-C reaches Orthanc after this program.
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def fill(server: Any, process: subprocess.Popen[bytes]) -> list[str]:
    """Store the synthetic studies as soon as the PACS answers, and return their UIDs."""
    from xray_core.pacs.client import PacsClient

    client = PacsClient(server)
    wait_until_ready(client, process)
    examples = REPOSITORY / "models" / "resnet50" / "examples"
    studies = []
    for patient, (name, views) in enumerate(
        (
            ("pneumonia", ["PA"]),
            ("normal", ["PA", "LL"]),
            ("pneumonia", ["AP", "AP"]),
        ),
        start=1,
    ):
        pixels = np.asarray(Image.open(examples / f"{name}.png").convert("L"))
        study, files = make_study(patient, pixels, views)
        client.store(study, files)
        studies.append(study)
    client.close()
    return studies


def wait_until_ready(client: Any, process: subprocess.Popen[bytes]) -> None:
    """Wait until the PACS answers; raises PacsError if Orthanc has ended."""
    from xray_core.errors import PacsError
    from xray_core.pacs.search import StudyQuery

    while True:
        try:
            client.search(StudyQuery(patient_id="nobody"))
            return
        except PacsError as error:
            if process.poll() is not None:
                raise PacsError("Orthanc ended. Another program may use its port.") from error
            time.sleep(0.5)


def make_study(patient: int, pixels: np.ndarray, views: list[str]) -> tuple[str, list[bytes]]:
    """Return the UID and the files of a study with one image per view position.

    Parameters
    ----------
    patient : int
        Number of the invented patient.
    pixels : ndarray of uint8, shape (H, W)
    views : list of str
        "PA" or "AP", and "LL" for an image whose header calls it lateral.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    study, series = generate_uid(prefix=None), generate_uid(prefix=None)
    files = []
    for number, view in enumerate(views, start=1):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = (
            ComputedRadiographyImageStorage,
            generate_uid(prefix=None),
        )
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.StudyDate, image.StudyTime = f"{date.today():%Y%m%d}", "101500"
        image.Modality, image.StudyDescription = "CR", "CHEST"
        image.PatientName, image.PatientID = f"DEMO^PATIENT {patient}", f"DEMO-{patient}"
        image.PatientBirthDate, image.PatientSex, image.PatientAge = "", "O", "004Y"
        image.AccessionNumber, image.StudyID = f"A-{patient}", str(patient)
        image.ReferringPhysicianName, image.Manufacturer = "", "Chest X-ray pneumonia demo"
        image.SeriesNumber, image.InstanceNumber = 1, number
        image.BodyPartExamined, image.ViewPosition = "CHEST", view
        image.PatientOrientation = ["A", "F"] if view == "LL" else ["L", "F"]
        image.Rows, image.Columns = pixels.shape
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 8
        image.HighBit, image.PixelRepresentation = 7, 0
        image.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
        image["PixelData"].VR = "OB"
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = io.BytesIO()
        image.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    return study, files


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
