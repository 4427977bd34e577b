"""What `screen` costs beside the engine, its memory over many files, and kills in the middle.

    python benchmarks/screening.py rate       # screen against predict_many on the same files
    python benchmarks/screening.py memory     # 20,000 files; --simulated for all but the network
    python benchmarks/screening.py ray        # Ray on this computer against screen
    python benchmarks/screening.py kills --kills 20            # kill -9, resume, compare
    python benchmarks/screening.py kills --kills 10 --ray      # the same on Ray
    python benchmarks/screening.py kills --simulated           # for all but the network

`rate` and `ray` alternate between the two of each pair, so that other load on the machine affects
both, and give ratios. The files are the validation images of `--data`, each under many names (hard
links). `memory` may be stopped and started again with the same
`--folder`; it then adds to the same table. Every second kill on Ray ends a worker, which the run
survives, and the others end the whole run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.dataset.index import build_index, find_dataset
from xray_core.prediction.result import Prediction
from xray_core.prediction.screen import COLUMNS, screen

ROOT = Path(__file__).resolve().parents[1]
FILES_PER_FOLDER = 1_000
AFTER = 2_000
LARGEST_GROWTH = 1.1
RAY_ROWS_PER_PART = 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["rate", "memory", "ray", "kills"])
    parser.add_argument("--model", default="models/resnet50")
    parser.add_argument("--data")
    parser.add_argument("--files", type=int, help="number of files (default: 256, memory 20,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--simulated", action="store_true", help="memory, kills: no network")
    parser.add_argument("--folder", type=Path, help="where the files and the table are kept")
    parser.add_argument("--seconds", type=float, help="memory: stop after this time")
    options = parser.parse_args()
    files = options.files or (20_000 if options.what == "memory" else 256)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        archive = make_archive(folder / "archive", files, options.data)
        {"rate": rate, "memory": memory, "ray": ray, "kills": kills}[options.what](
            options, archive, folder
        )


def make_archive(folder: Path, count: int, data: str | None) -> Path:
    """Give the validation images `count` names, 1,000 in each folder."""
    dataset = find_dataset(data)
    index = build_index(dataset)
    originals = [dataset / path for path in index.loc[index["fold"] == "validation", "path"]]
    copies = folder.parent / "originals"
    copies.mkdir(parents=True, exist_ok=True)
    kept = []
    for i, original in enumerate(originals):
        kept.append(copies / f"{i}.jpeg")
        if not kept[-1].exists():
            kept[-1].write_bytes(original.read_bytes())
    for i in range(count):
        target = folder / f"{i // FILES_PER_FOLDER:05}" / f"{i % FILES_PER_FOLDER:03}.jpeg"
        if i % FILES_PER_FOLDER == 0:
            target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(kept[i % len(kept)], target)
    return folder


def rate(options: argparse.Namespace, archive: Path, folder: Path) -> None:
    """Compare the throughput of `screen` with that of the predictor.

    The ratio of the processor times, which include the readers, depends less on other load.
    """
    predictor = Predictor.load(options.model)
    paths = sorted(archive.rglob("*.jpeg"))
    list(predictor.predict_many(paths[:32]))
    bare, whole = [], []
    for number in range(options.rounds):
        out = folder / f"rate-{number}.csv"
        bare.append(timed(lambda: list(predictor.predict_many(paths))))
        whole.append(timed(lambda out=out: screen(archive, out, predictor, progress=False)))
        print(f"round {number + 1}: screen / predict_many = {bare[-1][0] / whole[-1][0]:.2f}")
    for name, times in (("predict_many", bare), ("screen", whole)):
        wall, processor = (min(column) / len(paths) for column in zip(*times, strict=True))
        print(f"{name}: {1 / wall:.1f} images/s, {processor * 1e3:.1f} ms of processor per image")
    wall, processor = (
        min(a) / min(b)
        for a, b in zip(zip(*bare, strict=True), zip(*whole, strict=True), strict=True)
    )
    print(f"{len(paths)} files, {predictor.model}: ratio {wall:.2f}, of processor {processor:.2f}")


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a call, with those of its processes."""
    before, begin = os.times(), time.perf_counter()
    call()
    wall, after = time.perf_counter() - begin, os.times()
    return wall, sum(after[:4]) - sum(before[:4])


def simulated_predictor() -> Any:
    """Return a predictor without a network: the probability is the mean of the model input."""

    def predict_many(inputs: Iterable[Any], batch_size: int) -> Iterator[Prediction]:
        for prepared in inputs:
            probability = float(prepared.image.mean() / 255)
            reasons = ("A caution.",)
            yield Prediction(probability, "UNCERTAIN", reasons, model="simulated 1", gate="passed")

    return SimpleNamespace(model="simulated 1", predict_many=predict_many)


def load_simulated(bundle: str, engine: str | None, cores: int) -> Any:
    """Return `simulated_predictor`, as `screen_on_ray` loads a model."""
    return simulated_predictor()


class _Stopped(Exception):
    pass


def memory(options: argparse.Namespace, archive: Path, folder: Path) -> None:
    """Print the memory of this process and its readers over a long run."""
    predictor = simulated_predictor() if options.simulated else Predictor.load(options.model)
    predict_many = predictor.predict_many
    begin = time.monotonic()
    seen: dict[int, float] = {}

    done = 0

    def watched(*arguments: Any, **named: Any) -> Iterator[Prediction]:
        nonlocal done
        for prediction in predict_many(*arguments, **named):
            yield prediction
            done += 1
            if done == AFTER or done % 10_000 == 0:
                seen[done] = resident_megabytes()
                print(f"after {done:,}: {seen[done]:.0f} MB", flush=True)
        if options.seconds and time.monotonic() - begin > options.seconds:
            raise _Stopped

    predictor.predict_many = watched
    try:
        summary = screen(archive, folder / "memory.parquet", predictor, progress=False)
    except _Stopped:
        print("stopped; the same command continues")
        return
    end = resident_megabytes()
    print(summary.sentence)
    if AFTER in seen:
        growth = end / seen[AFTER]
        print(f"memory at the end {end:.0f} MB, {growth:.3f} of that after {AFTER:,} files")
        if growth > LARGEST_GROWTH:
            sys.exit("More than allowed.")


def resident_megabytes() -> float:
    """Return the resident memory of this process and of its children (Linux)."""
    total = 0.0
    for process in [os.getpid(), *children(os.getpid())]:
        status = Path(f"/proc/{process}/status").read_text()
        total += int(status.split("VmRSS:")[1].split()[0]) / 1024
    return total


def children(process: int) -> list[int]:
    """Return the processes that a process started (Linux)."""
    listed = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in listed for child in file.read_text().split()]


def ray(options: argparse.Namespace, archive: Path, folder: Path) -> None:
    """Compare Ray on this computer with `screen`, both without the start."""
    from xray_core.scale.ray_screen import screen_on_ray

    predictor = Predictor.load(options.model)
    paths = sorted(archive.rglob("*.jpeg"))
    list(predictor.predict_many(paths[:64]))
    plain, on_ray = [], []
    for number in range(options.rounds):
        begin = time.perf_counter()
        screen(archive, folder / f"plain-{number}.parquet", predictor, progress=False)
        plain.append(len(paths) / (time.perf_counter() - begin))
        out = folder / f"ray-{number}.parquet"
        screen_on_ray(archive, out, options.model, progress=False, rows_per_part=RAY_ROWS_PER_PART)
        times = sorted(part.stat().st_mtime for part in out.glob("part-*"))
        on_ray.append((len(paths) - RAY_ROWS_PER_PART) / (times[-1] - times[0]))
        print(f"round {number + 1}: Ray / screen = {on_ray[-1] / plain[-1]:.2f}", flush=True)
    print(
        f"{len(paths)} files: screen {max(plain):.1f} images/s, Ray {max(on_ray):.1f} images/s; "
        f"ratio of the best {max(on_ray) / max(plain):.2f}"
    )


# Small parts, so that a kill comes between two of them.
RAY_RUN = """
import sys
from xray_core.scale.ray_screen import screen_on_ray
screen_on_ray(sys.argv[1], sys.argv[2], sys.argv[3], progress=False, rows_per_part=16)
"""
RAY_SIMULATED_RUN = """
import sys
sys.path.insert(0, "benchmarks")
import ray
import screening
from xray_core.scale.ray_screen import screen_on_ray
ray.cloudpickle.register_pickle_by_value(screening)  # the workers do not have this file
screen_on_ray(sys.argv[1], sys.argv[2], sys.argv[3], progress=False, rows_per_part=16,
              load=screening.load_simulated)
"""
SIMULATED_RUN = """
import sys
sys.path.insert(0, "benchmarks")
from screening import screen, simulated_predictor
screen(sys.argv[1], sys.argv[2], simulated_predictor(), progress=False)
"""


def kills(options: argparse.Namespace, archive: Path, folder: Path) -> None:
    """Kill runs at random moments, resume each, and compare with an uninterrupted run."""
    chance = random.Random(options.seed)
    model = Path(options.model)

    def command(out: Path) -> list[str]:
        if options.ray:
            program = RAY_SIMULATED_RUN if options.simulated else RAY_RUN
            return [sys.executable, "-c", program, str(archive), str(out), options.model]
        if options.simulated:
            return [sys.executable, "-c", SIMULATED_RUN, str(archive), str(out)]
        start = [sys.executable, "-m", "xray_core", "screen", str(archive), "--out", str(out)]
        return [*start, "--models", str(model.parent), "--model", model.name]

    ending = "parquet" if options.ray else "csv"
    whole = folder / "whole.csv"
    if not whole.exists():
        predictor = simulated_predictor() if options.simulated else Predictor.load(model)
        screen(archive, whole, predictor, progress=False)
    expected = read(whole)
    different = 0
    for number in range(options.kills):
        out = folder / f"kill-{options.seed}-{number}.{ending}"
        process = run(command(out))
        is_worker = options.ray and number % 2 == 1
        before = kill_once(process, out, len(expected), chance, worker=is_worker)
        if process.wait() and run(command(out)).wait():
            sys.exit(f"kill {number + 1}: the run did not resume")
        problem = difference(read(out), expected)
        different += bool(problem)
        what = "a worker" if is_worker else "the run"
        print(f"{what} killed after {before} rows: {problem or 'equal'}", flush=True)
    print(f"{options.kills} kills, {different} tables that differ")
    if different:
        sys.exit(1)


def run(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a command."""
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_once(
    process: subprocess.Popen[bytes], out: Path, rows: int, chance: random.Random, *, worker: bool
) -> int:
    """Kill a run, or a worker of it, a random time after a random part; return the rows then."""
    limit = chance.randrange(rows * 3 // 4)
    while process.poll() is None and stored(out) < limit:
        time.sleep(0.02)
    time.sleep(chance.random())
    before = stored(out)
    if worker:
        for pid in workers(process.pid):
            os.kill(pid, signal.SIGKILL)
            break
    else:
        process.kill()
    return before


def workers(process: int) -> list[int]:
    """Return those Ray workers below a process that hold a model (Linux)."""
    found = []
    for child in children(process):
        with contextlib.suppress(OSError):  # it has ended
            if b"PartScreener" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
            found += workers(child)
    return found


def stored(out: Path) -> int:
    """Return how many rows a table has."""
    if out.suffix == ".csv":
        return max(0, out.read_bytes().count(b"\n") - 1) if out.exists() else 0
    return sum(len(pd.read_parquet(part)) for part in out.glob("part-*.parquet"))


def read(table: Path) -> pd.DataFrame:
    """Return the rows in the order of the names, all but numbers as texts."""
    if table.suffix == ".csv":
        numbers = {"probability": float, "map_in_lungs": float}
        rows = pd.read_csv(table, dtype={**dict.fromkeys(COLUMNS, str), **numbers})
        texts = [column for column in COLUMNS if column not in numbers]
        rows[texts] = rows[texts].fillna("")
    else:
        rows = pd.read_parquet(table)
    return rows.sort_values("file", ignore_index=True)


def difference(found: pd.DataFrame, expected: pd.DataFrame) -> str:
    """Return how two tables differ, "" if every cell is the same.

    The last digits of a probability may depend on the other images of its batch.
    """
    if list(found["file"]) != list(expected["file"]):
        return f"{len(found)} rows of other files"
    numbers = ["probability", "map_in_lungs"]
    largest = float((found[numbers] - expected[numbers]).abs().max(axis=None))
    if largest > 1e-4 or found[numbers].isna().ne(expected[numbers].isna()).any(axis=None):
        return f"numbers differ by {largest:g}"
    texts = [column for column in found.columns if column not in numbers]
    changed = int(found[texts].ne(expected[texts]).any(axis=1).sum())
    return f"{changed} rows with other texts" if changed else ""


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
