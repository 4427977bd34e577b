"""`make pacs-demo`: a PACS on this computer with synthetic studies, removed at the end."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pacs_tools import needs_orthanc

from xray_core.errors import PacsError
from xray_core.pacs.analysis import analyse_image
from xray_core.pacs.client import PacsClient
from xray_core.pacs.search import StudyQuery
from xray_core.pacs.settings import read_servers

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path):
    """`start()`: the demo without the app, with its folder in `tmp_path`."""
    started = []

    def run():
        process = subprocess.Popen(
            [sys.executable, REPOSITORY / "scripts" / "pacs_demo.py", "--no-app"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate()


def test_the_demo_serves_studies_that_can_be_analysed(start, tmp_path, predictor):
    needs_orthanc()
    process = start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ctrl-C"):
            break
    environment = dict(re.findall(r"export (\w+)=(\S+)", "".join(lines)))
    server = read_servers(environment)["environment"]
    client = PacsClient(server)
    studies, _ = client.search(StudyQuery())
    assert [study.images for study in studies].count(2) == 2
    assert {study.identity.patient_name.split(" ")[0] for study in studies} == {"DEMO^PATIENT"}
    outcomes = [
        analyse_image(client.fetch(image), predictor, image, make_files=False)
        for study in studies
        for image in client.content(study.uid).images
    ]
    assert sum(bool(outcome.skipped) for outcome in outcomes) == 1
    assert sum(outcome.prediction is not None for outcome in outcomes) == 4
    assert "UNREADABLE" not in {one.prediction.verdict for one in outcomes if one.prediction}

    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert "its studies were removed" in output
    assert (process.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PacsError, match=r"cannot be reached|ended the connection"):
        PacsClient(server).search(StudyQuery())


def test_without_orthanc_the_demo_says_what_is_needed(tmp_path):
    """No plug-in is found, and an empty PATH hides the engines of containers."""
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(REPOSITORY / 'scripts')!r})\n"
        "import pacs_demo\n"
        "pacs_demo.PLUGINS = []\n"
        "sys.argv = ['pacs_demo.py', '--no-app']\n"
        "sys.exit(pacs_demo.main())"
    )
    environment = os.environ | {"PATH": "", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "sudo apt-get install orthanc orthanc-dicomweb" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
