"""Screening on Ray, with workers that are killed in the middle.

One small cluster serves all tests: a head without cores, and nodes with one core each, so that a
node can be lost. Only one test runs a network; the others have a predictor without one, which
starts at once.
"""

import contextlib
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


def simulated(barrier=None):
    """Return a function that loads a predictor without a network.

    After two parts each worker waits for the file `barrier`, so that something can happen in the
    middle. The function is nested, so that Ray sends its code to the workers, which do not have the
    tests.
    """

    def load(bundle, engine, cores):
        import time
        from types import SimpleNamespace

        from xray_core.prediction.result import Prediction

        done = 0

        def predict_many(inputs, batch_size):
            nonlocal done
            for prepared in inputs:
                while done >= 10 and not (barrier is None or barrier.exists()):
                    time.sleep(0.02)
                done += 1
                probability = float(prepared.image.mean() / 255)
                yield Prediction(probability, "UNCERTAIN", ("A caution.",), model="simulated 1")

        return SimpleNamespace(model="simulated 1", predict_many=predict_many)

    return load


@pytest.fixture(scope="module")
def expected(folder, tmp_path_factory):
    """The rows without Ray."""
    out = tmp_path_factory.mktemp("expected") / "t.parquet"
    screen(folder, out, simulated()("", None, 1), progress=False)
    return read(out)


def read(path):
    return pd.read_parquet(path).sort_values("file", ignore_index=True)


def check(path, expected):
    """Compare a table with the rows of a run without Ray."""
    pd.testing.assert_frame_equal(read(path), expected, rtol=0, atol=1e-6)


def run(folder, out, barrier=None):
    return screen_on_ray(
        folder, out, "simulated", progress=False, rows_per_part=5, load=simulated(barrier)
    )


def workers(process):
    """Return those descendants of a process that hold a model."""
    found = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended
            for child in map(int, file.read_text().split()):
                if b"MapWorker(MapBatches(PartScreener))" in command_line(child):
                    found.append(child)
                found += workers(child)
    return found


def command_line(process):
    return Path(f"/proc/{process}/cmdline").read_bytes()


def parts(out):
    manifest = out / MANIFEST
    return manifest.read_bytes().count(b"\n") - 1 if manifest.exists() else 0


def wait_for(condition):
    deadline = time.monotonic() + 400
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run_and(happen, folder, out):
    """Run, and let something happen once two of twelve parts are stored."""
    failures = []
    barrier = out.with_name("barrier")

    def act():
        try:
            wait_for(lambda: parts(out) >= 2)
            happen()
        except BaseException as error:
            failures.append(error)
        barrier.touch()

    thread = threading.Thread(target=act)
    thread.start()
    summary = run(folder, out, barrier)
    thread.join()
    assert failures == []
    return summary


def test_the_rows_are_those_without_ray(cluster, folder, expected, tmp_path):
    out = tmp_path / "t.parquet"
    summary = run(folder, out)
    assert summary.added == FILES
    check(out, expected)
    assert parts(out) == 12
    again = run(folder, out)
    assert again.added == 0
    assert again.counts == summary.counts


def test_a_worker_runs_the_network_and_stores_overlays(cluster, folder, micro_bundle, tmp_path):
    from xray_core import Predictor

    predictor = Predictor.load(micro_bundle)
    names = [f"{i:02}.png" for i in range(6)]
    for name in names:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "list.txt").write_text("\n".join(names))
    out, maps = tmp_path / "t.parquet", tmp_path / "maps"
    screen_on_ray(tmp_path / "list.txt", out, micro_bundle, progress=False, maps=maps)
    found = read(out).set_index("file")
    for name in names:
        alone = predictor.predict(folder / name)
        assert found["probability"][name] == pytest.approx(alone.probability, abs=1e-4)
        assert found["verdict"][name] == alone.verdict
        sha256 = found["sha256"][name]
        assert (maps / sha256[:2] / f"{sha256}.jpg").exists()


def test_a_table_begun_without_ray_is_finished_on_ray(cluster, folder, expected, tmp_path):
    out, part = tmp_path / "t.parquet", tmp_path / "part"
    part.mkdir()
    for i in range(7):
        (part / f"{i:02}.png").symlink_to(folder / f"{i:02}.png")
    screen(part, out, simulated()("", None, 1), progress=False)
    assert run(folder, out).added == FILES - 7
    check(out, expected)


def test_a_killed_worker_costs_no_file(cluster, folder, expected, tmp_path):
    out = tmp_path / "t.parquet"
    killed = []

    def kill():
        for worker in workers(os.getpid()):
            with contextlib.suppress(ProcessLookupError):  # one of an earlier test
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)

    run_and(kill, folder, out)
    assert killed
    check(out, expected)
    assert {file.name for file in out.glob("*part*")} == {file.name for file in out.glob("part-*")}


def test_a_lost_node_costs_no_file(cluster, folder, expected, tmp_path):
    out = tmp_path / "t.parquet"
    node = cluster.add_node(num_cpus=1, object_store_memory=10**8)
    run_and(lambda: cluster.remove_node(node, allow_graceful=False), folder, out)
    check(out, expected)


DRIVER = """
import pickle, sys
from pathlib import Path
from xray_core.scale.ray_screen import screen_on_ray
screen_on_ray(sys.argv[1], sys.argv[2], "simulated", address=sys.argv[4], progress=False,
              rows_per_part=5, load=pickle.loads(Path(sys.argv[3]).read_bytes()))
"""


def test_a_killed_driver_leaves_whole_parts_and_resumes(cluster, folder, expected, tmp_path):
    import ray

    out = tmp_path / "t.parquet"
    load = tmp_path / "load.pickle"
    load.write_bytes(ray.cloudpickle.dumps(simulated(tmp_path / "barrier")))
    command = [sys.executable, "-c", DRIVER, str(folder), str(out), str(load), cluster.address]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_for(lambda: parts(out) >= 2 or process.poll() is not None)
    finally:
        process.kill()
        process.wait()
    before = parts(out)
    assert 2 <= before < 12
    assert run(folder, out).added == FILES - 5 * before
    check(out, expected)


def test_what_a_worker_cannot_load_is_a_sentence(cluster, folder, tmp_path):
    with pytest.raises(XrayError, match=r"no model|There is no"):
        screen_on_ray(folder, tmp_path / "t.parquet", tmp_path / "absent", progress=False)
    assert not (tmp_path / "t.parquet").exists()


def test_a_table_of_another_model_is_refused(cluster, folder, tmp_path):
    out = tmp_path / "t.parquet"
    run(folder, out)
    manifest = out / MANIFEST
    manifest.write_text(manifest.read_text().replace('"model": "simulated', '"model": "other'))
    with pytest.raises(XrayError, match="was started by the model other"):
        run(folder, out)


def test_archives_and_csv_tables_are_refused(folder, tmp_path):
    (tmp_path / "x.zip").touch()
    with pytest.raises(XrayError, match="Ray does not read archives: unpack"):
        run(tmp_path / "x.zip", tmp_path / "t.parquet")
    with pytest.raises(XrayError, match=r"ends in \.parquet"):
        run(folder, tmp_path / "t.csv")


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
        run(folder, tmp_path / "t.parquet")
