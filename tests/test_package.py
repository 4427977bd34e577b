"""The package: what wheel and sdist hold, and the app in an empty environment."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PATIENCE = 300.0
WITH_INSTALLATION = pytest.mark.timeout(3600)  # of all dependencies, on a busy machine


def pins(file: str) -> dict[str, list[Requirement]]:
    """Return the pinned requirements of a file, by normalised name."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            one = Requirement(text)
            found.setdefault(normalised(one.name), []).append(one)
    return found


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("file", "ranges"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-pacs.txt", EXTRAS["pacs"]),
        ("requirements-dev.txt", [text for text in EXTRAS["dev"] if "chest-xray" not in text]),
    ],
)
def test_every_range_has_a_pin_within_it(file: str, ranges: list[str]) -> None:
    pinned = pins(file)
    for requirement in map(Requirement, ranges):
        versions = pinned.get(normalised(requirement.name), [])
        assert versions, f"{file} does not pin {requirement.name}: run `make lock`"
        for pin in versions:
            (exact,) = pin.specifier
            assert exact.operator == "=="
            assert exact.version in requirement.specifier, f"{pin} is outside {requirement}"


def test_pins_hold_exact_versions_only() -> None:
    for versions in pins("requirements.txt").values():
        assert all([one.operator for one in pin.specifier] == ["=="] for pin in versions)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built from the files that Git tracks."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("package")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder / "dist")],
        cwd=folder / "source",
        check=True,
    )
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_holds_the_app_and_the_default_model(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    app = {name.removeprefix("xray_core/_app/") for name in names if "/_app/" in name}
    assert {
        "app.py",
        "pages/prediction.py",
        "ui/viewer/viewer.js",
        ".streamlit/config.toml",
        "models/resnet50/model.weights.h5",
        "models/lungs/config.json",
    } <= app
    tops = {name.split("/")[0] for name in names}
    assert tops == {"xray_core", next(name for name in tops if name.endswith(".dist-info"))}


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    (wheel,) = built.glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=source,
        check=True,
    )
    (again,) = tmp_path.glob("*.whl")
    content = [
        {one.filename: one.CRC for one in zipfile.ZipFile(path).infolist()}
        for path in (wheel, again)
    ]
    assert content[0] == content[1]


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds the wheel and its dependencies alone."""
    folder = tmp_path_factory.mktemp("environment")
    (wheel,) = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run(
        [
            str(folder / "bin" / "python"),
            *("-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "requirements.txt")),
            str(wheel),
        ],
        check=True,
    )
    return folder / "bin"


def outside(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a person who has no checkout."""
    kept = ("PATH", "LANG", "HOME", "SSL_CERT_FILE")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(tmp_path),
    }


@WITH_INSTALLATION
@pytest.mark.slow
def test_commands_work_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(installed / "chest-xray"), *arguments],
            cwd=tmp_path,
            env=outside(tmp_path),
            capture_output=True,
            text=True,
        )

    commands = run("--help")
    assert commands.returncode == 0
    for name in ("app", "train", "screen", "evaluate", "finish", "download", "pacs"):
        assert re.search(rf"^    {name} ", commands.stdout, re.MULTILINE), name
    assert "resnet50" in run("evaluate").stdout
    assert "recipes:" in run("train", "--help").stdout
    # The example images are shipped, too.
    examples = next(
        installed.parent.glob("lib/*/site-packages/xray_core/_app/models/resnet50/examples")
    )
    screened = run("screen", str(examples), "--out", "table.csv")
    assert screened.returncode == 0, screened.stderr
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 3
    assert "cuda" not in screened.stderr


@WITH_INSTALLATION
@pytest.mark.slow
def test_the_app_starts_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(installed / "chest-xray"), "app", "--port", str(port)],
            cwd=tmp_path,
            env={**outside(tmp_path), "STREAMLIT_SERVER_HEADLESS": "true"},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        assert wait_for(f"http://localhost:{port}/ready", process) == b"ready", log.read_text()
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=60) as answer:
            assert answer.headers["X-Frame-Options"] == "DENY"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) is not None
    assert "Traceback" not in log.read_text()
    assert "cuda" not in log.read_text()


def wait_for(address: str, process: subprocess.Popen) -> bytes:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.read()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return b""
