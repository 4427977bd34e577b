"""Encrypted connections: a private certificate authority, and client certificates.

Orthanc is behind a proxy that ends the encryption, as in most installations: Debian's Orthanc 1.10
itself ends at the first encrypted connection.
"""

import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pacs_tools import Orthanc, settings_of

from xray_core.errors import PacsError
from xray_core.pacs.client import PacsClient
from xray_core.pacs.search import StudyQuery


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """A folder with certificates of authorities, of a server (with its key) and of a client.

    `ca.pem` has signed `server.pem` and `client.pem`. `old.pem` is a certificate of the same
    authority without the extension "key usage".
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for authority in ("ca", "other"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", f"{authority}.key", "-out", f"{authority}.pem"),
            *("-subj", f"/CN=Test authority {authority}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
    openssl(
        *("req", "-x509", "-key", "ca.key", "-days", "2", "-out", "old.pem"),
        *("-subj", "/CN=Test authority ca"),
    )
    identifiers = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    for name, extension in (("server", "subjectAltName=DNS:localhost\n"), ("client", "")):
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        (folder / "extensions").write_text(extension + identifiers)
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "2", "-out", f"{name}.pem", "-extfile", "extensions"),
        )
    with (folder / "server.pem").open("a") as file:
        file.write((folder / "server.key").read_text())
    return folder


@pytest.fixture
def encrypted(orthanc: Orthanc, certificates: Path) -> Iterator[Callable[..., str]]:
    """`encrypted(client_ca=None)`: the address of `orthanc` behind a proxy with a certificate."""
    listeners: list[socket.socket] = []

    def start(client_ca: str | None = None) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.pem")
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates / client_ca)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, context), daemon=True).start()
        return f"https://localhost:{listener.getsockname()[1]}/dicom-web"

    def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:  # closed at the end of the test
                return
            threading.Thread(target=forward, args=(plain, context), daemon=True).start()

    def forward(plain: socket.socket, context: ssl.SSLContext) -> None:
        """Pass one request and its answer on, and close the connection."""
        try:
            with context.wrap_socket(plain, server_side=True) as client:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += client.recv(2**16)
                request = request.replace(b"Connection: keep-alive", b"Connection: close")
                with socket.create_connection(("127.0.0.1", orthanc.port)) as server:
                    server.sendall(request)
                    while chunk := server.recv(2**16):
                        client.sendall(chunk)
        except OSError:  # a client that does not trust this proxy, or is not trusted by it
            plain.close()

    yield start
    for listener in listeners:
        listener.close()


def test_a_private_authority_has_to_be_named(encrypted, orthanc, certificates, make_image):
    orthanc.upload(make_image())
    url = encrypted()
    server = settings_of(orthanc, url=url, ca=str(certificates / "ca.pem"))
    studies, _ = PacsClient(server).search(StudyQuery())
    assert len(studies) == 1
    for ca in (None, str(certificates / "other.pem")):
        with pytest.raises(PacsError, match="certificate of the PACS test could not be verified"):
            PacsClient(settings_of(orthanc, url=url, ca=ca)).search(StudyQuery())


def test_an_authority_without_key_usage_is_refused_where_python_requires_it(
    encrypted, orthanc, certificates
):
    server = settings_of(orthanc, url=encrypted(), ca=str(certificates / "old.pem"))
    if sys.version_info < (3, 13):
        PacsClient(server).search(StudyQuery())
    else:
        with pytest.raises(PacsError, match=r"lacks an extension that Python 3\.13"):
            PacsClient(server).search(StudyQuery())


def test_a_certificate_of_another_host_is_refused(encrypted, orthanc, certificates):
    url = encrypted().replace("localhost", "127.0.0.1")
    server = settings_of(orthanc, url=url, ca=str(certificates / "ca.pem"))
    with pytest.raises(PacsError, match="could not be verified"):
        PacsClient(server).search(StudyQuery())


def test_a_variable_of_the_account_does_not_replace_the_authority(
    encrypted, orthanc, certificates, monkeypatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "ca.pem"))
    server = settings_of(orthanc, url=encrypted(), ca=str(certificates / "other.pem"))
    with pytest.raises(PacsError, match="could not be verified"):
        PacsClient(server).search(StudyQuery())


def test_a_client_certificate_is_presented(encrypted, orthanc, certificates):
    url = encrypted(client_ca="ca.pem")
    known = settings_of(
        orthanc,
        url=url,
        ca=str(certificates / "ca.pem"),
        client_certificate=str(certificates / "client.pem"),
        client_key=str(certificates / "client.key"),
    )
    assert PacsClient(known).search(StudyQuery()) == ([], False)
    unknown = settings_of(orthanc, url=url, ca=str(certificates / "ca.pem"))
    with pytest.raises(PacsError, match=r"may ask for a client certificate|ended the connection"):
        PacsClient(unknown).search(StudyQuery())
