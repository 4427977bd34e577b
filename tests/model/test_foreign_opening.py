"""Opening an untrusted bundle runs no code and reads nothing outside its folder."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from foreign_bundle import external_link, put, reseal, with_objects

ROOT = Path(__file__).resolve().parents[2]


OPENED = """
import os, sys
from pathlib import Path
sys.path.insert(0, os.environ["REPOSITORY"])
from xray_core.errors import BundleError
from xray_core.model.bundle import open_bundle
from xray_core.prediction.predictor import Predictor

def load_all(folder):
    bundle = open_bundle(folder, kind=None)
    if bundle.kind == "segmentation":
        bundle.load_network(), bundle.segmentation(), bundle.history(), bundle.card()
        return
    predictor = Predictor.load(folder)
    predictor.network  # which the engine may not need
    bundle.predictions(), bundle.dataset(), bundle.history(), bundle.card()
    for path in bundle.examples().values():
        predictor.predict(path)

base, benign, foreign = (os.path.realpath(path) for path in sys.argv[1:])
load_all(benign)  # imports all modules

seen, armed = [], True
RUN = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork",
       "socket.connect", "socket.getaddrinfo", "code.__new__", "ctypes.dlopen")

def watch(event, arguments):
    if not armed:
        return
    if event in RUN:
        seen.append(event)
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(base) and not (path + "/").startswith(foreign + "/"):
            seen.append(event + " " + path)

sys.addaudithook(watch)
try:
    load_all(foreign)
    print("OPENED")
except BundleError as error:
    print("REFUSED", error)
armed = False
print("SEEN", sorted(set(seen)))
"""


def opened_and_run(tmp_path: Path, benign: Path, foreign: Path) -> list[str]:
    """Load all parts of a bundle in a process that records the files it opens and code it runs."""
    (tmp_path / "empty").mkdir()
    completed = subprocess.run(
        [sys.executable, "-c", OPENED, str(tmp_path), str(benign), str(foreign)],
        cwd=tmp_path / "empty",
        env={**os.environ, "REPOSITORY": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert list((tmp_path / "empty").iterdir()) == []
    return completed.stdout.splitlines()[-2:]


def lambda_in_the_weights(folder: Path, outside: Path) -> None:
    """A Lambda layer with code, in the HDF5 attribute that describes the layers of a model."""
    code = {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}}
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "layers": [code]})
        file.attrs["keras_version"] = "2.0"


def linked_examples(folder: Path, outside: Path) -> None:
    shutil.rmtree(folder / "examples")
    (folder / "examples").symlink_to(outside / "examples")


def pickled_gate(folder: Path, outside: Path) -> None:
    with_objects(folder / "gate.npz")


def linked_weights(folder: Path, outside: Path) -> None:
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        external_link(file, outside)


def listed_outside(folder: Path, outside: Path) -> None:
    reseal(folder, put("files", "../../outside/MODEL_CARD.md", value="0" * 64))


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (lambda_in_the_weights, "OPENED"),
        (linked_examples, "REFUSED"),
        (pickled_gate, "REFUSED"),
        (linked_weights, "REFUSED"),
        (listed_outside, "REFUSED"),
    ],
)
def test_opening_runs_no_code_and_reads_nothing_outside(
    copy: Path,
    outside: Path,
    micro_bundle: Path,
    tmp_path: Path,
    change: Callable[[Path, Path], None],
    outcome: str,
) -> None:
    change(copy, outside)
    first, second = opened_and_run(tmp_path, micro_bundle, reseal(copy))
    assert first.startswith(outcome)
    assert second == "SEEN []"


@pytest.mark.parametrize(
    ("change", "outcome"), [(lambda_in_the_weights, "OPENED"), (linked_weights, "REFUSED")]
)
def test_opening_a_segmentation_runs_no_code_and_reads_nothing_outside(
    lungs: Path,
    outside: Path,
    micro_bundle: Path,
    tmp_path: Path,
    change: Callable[[Path, Path], None],
    outcome: str,
) -> None:
    change(lungs, outside)
    first, second = opened_and_run(tmp_path, micro_bundle, reseal(lungs))
    assert first.startswith(outcome)
    assert second == "SEEN []"
