"""The patient data of a DICOM file reach no page, report, table, log or file.

The server runs under strace, which lists every file that it or a child opens for writing.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from browser_tools import drop, stop, unpacked
from dicom_maker import SECRETS, image_bytes
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

PLANTED = {
    "AccessionNumber": "ACC-0815-Q",
    "StudyDate": "20010229",
    "ReferringPhysicianName": "HOUSE^GREGORY",
}
FILE_NAME = "Zzyzx_Jane_19991231.dcm"
TRACES = [*SECRETS, *PLANTED.values(), "Zzyzx", "1999-12-31", "2001-02-29"]
FOR_WRITING = re.compile(r'open(?:at)?\(.*?"([^"]*)", \S*(?:O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE)')
# Code that TensorFlow generates, the lock of the font list, and the empty file with which Python's
# tempfile tests whether a folder is writable (its other files begin with "tmp").
HARMLESS = re.compile(r"__autograph_generated_file.*|.*\.matplotlib-lock|(?!tmp)[a-z0-9_]{8}")
SLOW = 240_000


@pytest.fixture
def traced(tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """The output file of strace, and the command line before that of the server."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace on this machine (apt-get install strace)")
    trace = tmp_path / "trace.txt"
    command = (strace, "-f", "--seccomp-bpf", "-qq", "-s", "400", "-o", str(trace))
    command += ("-e", "trace=open,openat,creat,memfd_create")
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    return trace, command


def planted_dicom(image) -> bytes:
    """An image of more than 1 MB, beyond which an upload would be spooled to a temporary file."""
    pixels = image(1000, True, 1100, 1100)
    data = image_bytes(pixels, **PLANTED)
    assert len(data) > 1_200_000
    assert all(secret.encode() in data for secret in (*SECRETS, *PLANTED.values()))
    return data


def test_no_patient_data_leaves_the_visit(
    start_server, page, micro_models, image, traced, tmp_path
):
    trace, prefix = traced
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    server = start_server(
        micro_models, prefix, TMPDIR=str(scratch), PYTHONDONTWRITEBYTECODE="1", HOME=str(tmp_path)
    )
    page.goto(server.url)
    drop(page, (FILE_NAME, planted_dicom(image)))
    expect(page.locator(".verdict")).to_be_visible(timeout=SLOW)
    expect(page.locator(".xv[data-state=ready]")).to_be_visible()
    expect(page.get_by_test_id("stFileChip")).to_have_count(0)
    seen = {"page": page.content()}
    with page.expect_download() as download:
        page.get_by_role("button", name="Report (PDF)").click()
    report = Path(download.value.path()).read_bytes()
    seen["report"] = (report + unpacked(report)).decode("latin-1")
    with page.expect_download() as download:
        page.get_by_role("button", name="Result (CSV)").click()
    seen["table"] = Path(download.value.path()).read_text("utf-8-sig")
    seen["names of downloads"] = download.value.suggested_filename
    drop(page, ("Zzyzx_bad.dcm", planted_dicom(image)[:700]))
    expect(page.locator(".verdict")).to_contain_text("Unreadable")
    expect(page.get_by_test_id("stFileChip")).to_have_count(0)
    seen["page of a damaged file"] = page.content()
    stop(server)
    seen["log"] = server.log.read_text(errors="replace")
    seen["trace"] = trace.read_text(errors="replace")

    for place, text in seen.items():
        leaked = [secret for secret in TRACES if secret in text]
        assert not leaked, f"{leaked} in the {place}"
    for name in written(seen["trace"]):
        path = Path(name)
        if HARMLESS.fullmatch(path.name):
            continue
        assert scratch not in (path, *path.parents), f"temporary file {name}"
        assert path.exists(), f"{name} was written and then removed"
        if path.is_file():
            held = path.read_bytes()
            assert not [secret for secret in TRACES if secret.encode() in held]


def written(trace: str) -> list[str]:
    """Return the files that were opened for writing, except devices and kernel tables."""
    names = {match[1] for line in trace.splitlines() if (match := FOR_WRITING.search(line))}
    return sorted(name for name in names if not name.startswith(("/dev/", "/proc/", "/sys/")))


def test_the_trace_is_read_correctly():
    lines = [
        '1 openat(AT_FDCWD, "/a", O_RDONLY|O_CLOEXEC) = 3',
        '1 openat(AT_FDCWD, "/b", O_RDWR|O_CREAT|O_EXCL, 0600) = 4',
        '1 openat(AT_FDCWD, "/tmp", O_RDWR|O_EXCL|O_TMPFILE, 0600) = 5',
        '1 openat(AT_FDCWD, "/dev/null", O_WRONLY) = 6',
    ]
    assert written("\n".join(lines)) == ["/b", "/tmp"]
