"""A real Orthanc as a server for tests, and the identity of the images stored in it."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from xray_core.pacs.settings import Server

PLUGINS = [
    Path(folder) / "libOrthancDicomWeb.so"
    for folder in ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")
]
# Debian installs it where the PATH of an ordinary user does not lead.
FOLDERS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
ORTHANC = shutil.which("Orthanc", path=FOLDERS)
USER, PASSWORD = "tester", "correct horse"
NAME, PATIENT_ID, BIRTH_DATE, ACCESSION = "DOE^JANE", "MRN-4711", "19991231", "ACC-0815"
IDENTITY = (NAME, "DOE", PATIENT_ID, BIRTH_DATE, ACCESSION)


class Orthanc:
    """An Orthanc with DICOMweb in a folder of its own; `port` stays the same over restarts."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.settings = settings
        self.scheme = "https" if settings.get("SslEnabled") else "http"
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/dicom-web"

    def start(self) -> "Orthanc":
        plugin = next(path for path in PLUGINS if path.exists())
        settings = {
            "Name": "tests",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [str(plugin)],
            "HttpPort": self.port,
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **self.settings,
        }
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(settings))
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen([str(ORTHANC), str(file)], stdout=log, stderr=log)
        self._wait()
        return self

    def _wait(self) -> None:
        """Wait until the port accepts connections."""
        while True:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "orthanc.log").read_text()
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def get(self, path: str, data: bytes | None = None) -> object:
        """Return the answer of Orthanc's own interface, which is independent of DICOMweb."""
        credentials = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=data,
            headers={"Authorization": f"Basic {credentials}"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            body = answer.read()
        return (
            json.loads(body)
            if answer.headers["Content-Type"].startswith("application/json")
            else body
        )

    def upload(self, *files: bytes) -> None:
        for file in files:
            self.get("/instances", file)

    def instances(self, modality: str | None = None) -> list[bytes]:
        """Return the stored files, or those of one modality."""
        files = []
        for one in self.get("/instances"):
            tags = self.get(f"/instances/{one}/simplified-tags")
            if modality in (None, tags.get("Modality")):
                files.append(self.get(f"/instances/{one}/file"))
        return files

    def empty(self) -> None:
        """Remove all studies."""
        for study in self.get("/studies"):
            credentials = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/studies/{study}",
                method="DELETE",
                headers={"Authorization": f"Basic {credentials}"},
            )
            urllib.request.urlopen(request, timeout=120).close()


def needs_orthanc() -> None:
    if ORTHANC is None or not any(path.exists() for path in PLUGINS):
        pytest.skip("Orthanc with DICOMweb is not installed: apt-get install orthanc-dicomweb")


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Run an Orthanc in a folder; the test is skipped where it is not installed."""
    needs_orthanc()
    server = Orthanc(folder).start()
    try:
        yield server
    finally:
        server.stop()


def settings_of(orthanc: Orthanc, **changes: object) -> Server:
    """Return settings for `orthanc`, without permission to store."""
    server = Server("test", orthanc.url, user=USER, password=PASSWORD)
    return replace(server, **changes)
