"""Screening on Ray, with workers that are killed in the middle.

One small cluster serves all tests: a head without cores, and nodes with one core each, so that a
node can be lost. The model is the bundle `micro`.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from xray_core.errors import XrayError
from xray_core.prediction.screen import screen
from xray_core.prediction.screen_tables import MANIFEST
from xray_core.scale.ray_screen import screen_on_ray

ROOT = Path(__file__).resolve().parents[2]
FILES = 60


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two nodes, to which this process is connected."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ |= {
        "RAY_worker_niceness": "0"
    }  # else its workers wait for all others on this computer
    ray = pytest.importorskip("ray", reason="Ray is not installed: requirements-ray.txt")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 10**8},
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=10**8)
    ray.init(
        cluster.address,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, image_png):
    root = tmp_path_factory.mktemp("images")
    for i in range(FILES - 2):
        (root / f"{i:02}.png").write_bytes(image_png(i, i % 2 == 1))
    (root / "empty.png").touch()
    (root / os.fsdecode(b"\xff.png")).write_bytes(image_png(1))
    return root


@pytest.fixture(scope="module")
def expected(folder, micro_bundle, tmp_path_factory):
    """The rows without Ray."""
    from xray_core import Predictor

    out = tmp_path_factory.mktemp("expected") / "t.parquet"
    screen(folder, out, Predictor.load(micro_bundle), progress=False)
    return read(out)


def read(path):
    return pd.read_parquet(path).sort_values("file", ignore_index=True)


def check(path, expected):
    """Compare a table with the rows of a run without Ray."""
    pd.testing.assert_frame_equal(read(path), expected, rtol=0, atol=1e-4)


def run(folder, out, bundle, **options):
    return screen_on_ray(folder, out, bundle, progress=False, rows_per_part=5, **options)


def workers():
    """Return the processes that hold a model."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"MapWorker(MapBatches(PartScreener))" in status.read_bytes():
                found.append(int(status.parent.name))
        except OSError:  # it has ended
            continue
    return found


def parts(out):
    manifest = out / MANIFEST
    return manifest.read_bytes().count(b"\n") - 1 if manifest.exists() else 0


def wait_for(condition):
    deadline = time.monotonic() + 400
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run_and(happen, folder, out, bundle):
    """Run, and let something happen once two of twelve parts are stored."""
    failures = []

    def act():
        try:
            wait_for(lambda: parts(out) >= 2)
            happen()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    summary = run(folder, out, bundle)
    thread.join()
    assert failures == []
    return summary


def test_the_rows_are_those_without_ray(cluster, folder, expected, micro_bundle, tmp_path):
    out = tmp_path / "t.parquet"
    summary = run(folder, out, micro_bundle)
    assert summary.added == FILES
    check(out, expected)
    assert parts(out) == 12
    again = run(folder, out, micro_bundle)
    assert again.added == 0
    assert again.counts == summary.counts


def test_a_table_begun_without_ray_is_finished_on_ray(
    cluster, folder, expected, micro_bundle, tmp_path
):
    from xray_core import Predictor

    out = tmp_path / "t.parquet"
    (tmp_path / "list.txt").write_text("\n".join(f"{i:02}.png" for i in range(7)))
    (tmp_path / "linked").symlink_to(folder)
    listed = tmp_path / "linked" / "list.txt"
    listed.write_text((tmp_path / "list.txt").read_text())
    try:
        screen(listed, out, Predictor.load(micro_bundle), progress=False)
    finally:
        listed.unlink()
    assert run(folder, out, micro_bundle).added == FILES - 7
    check(out, expected)


def test_a_killed_worker_costs_no_file(cluster, folder, expected, micro_bundle, tmp_path):
    out = tmp_path / "t.parquet"
    killed = []

    def kill():
        killed.extend(workers())
        os.kill(killed[0], signal.SIGKILL)

    run_and(kill, folder, out, micro_bundle)
    assert killed
    check(out, expected)
    assert {file.name for file in out.glob("*part*")} == {file.name for file in out.glob("part-*")}


def test_a_lost_node_costs_no_file(cluster, folder, expected, micro_bundle, tmp_path):
    out = tmp_path / "t.parquet"
    node = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    run_and(lambda: cluster.remove_node(node, allow_graceful=False), folder, out, micro_bundle)
    check(out, expected)


DRIVER = """
import sys
from xray_core.scale.ray_screen import screen_on_ray
screen_on_ray(sys.argv[1], sys.argv[2], sys.argv[3], address=sys.argv[4], progress=False,
              rows_per_part=5)
"""


def test_a_killed_driver_leaves_whole_parts_and_resumes(
    cluster, folder, expected, micro_bundle, tmp_path
):
    out = tmp_path / "t.parquet"
    command = [sys.executable, "-c", DRIVER, str(folder), str(out), str(micro_bundle)]
    process = subprocess.Popen([*command, cluster.address], cwd=ROOT)
    try:
        wait_for(lambda: parts(out) >= 2 or process.poll() is not None)
    finally:
        process.kill()
        process.wait()
    before = parts(out)
    assert 2 <= before < 12
    assert run(folder, out, micro_bundle).added == FILES - 5 * before
    check(out, expected)


def test_what_a_worker_cannot_load_is_a_sentence(cluster, folder, tmp_path):
    with pytest.raises(XrayError, match=r"no model|There is no"):
        run(folder, tmp_path / "t.parquet", tmp_path / "absent")
    assert not (tmp_path / "t.parquet").exists()


def test_a_table_of_another_model_is_refused(cluster, folder, micro_bundle, tmp_path):
    out = tmp_path / "t.parquet"
    run(folder, out, micro_bundle)
    manifest = out / MANIFEST
    manifest.write_text(manifest.read_text().replace('"model": "micro', '"model": "other'))
    with pytest.raises(XrayError, match="was started by the model other"):
        run(folder, out, micro_bundle)


def test_archives_and_csv_tables_are_refused(folder, tmp_path):
    (tmp_path / "x.zip").touch()
    with pytest.raises(XrayError, match="Ray does not read archives: unpack"):
        run(tmp_path / "x.zip", tmp_path / "t.parquet", "models/resnet50")
    with pytest.raises(XrayError, match=r"ends in \.parquet"):
        run(folder, tmp_path / "t.csv", "models/resnet50")


def test_an_address_that_does_not_answer_is_a_sentence(folder, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: requirements-ray.txt")
    code = (
        "import sys\n"
        "from xray_core.cli import main\n"
        "sys.exit(main(['screen', sys.argv[1], '--out', sys.argv[2], '--ray', '127.0.0.1:1']))"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "t.parquet")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Ray at 127.0.0.1:1 does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_ray_the_command_names_the_packages(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(XrayError, match=r"python -m pip install -r requirements-ray\.txt"):
        run(folder, tmp_path / "t.parquet", "models/resnet50")
