"""Measuring a dataset's films against just decoding them, in the same number of processes.

Run: python benchmarks/index_speed.py [FOLDER] [--processes 2] [--rounds 5]

Three jobs take turns in one pool of processes that is already running: decoding with Pillow,
reading through `xray_core.images` (which also checks and converts), and all of `measure_index`'s
work on a file. Wall time and processor time of each are printed as the median of the rounds, and
their ratios; on a machine that does other work the processor's ratio is the one to trust.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xray_core.dataset.index import build_index, find_dataset
from xray_core.dataset.measure import measure_files
from xray_core.images import read_radiograph

CHUNK = 64


def decode(root: Path, paths: list[str]) -> None:
    for path in paths:
        with Image.open(root / path) as image:
            np.asarray(image)


def read(root: Path, paths: list[str]) -> None:
    for path in paths:
        read_radiograph(root / path)


def processor_seconds(
    job: Callable[[Path, list[str]], object], root: Path, chunk: list[str]
) -> float:
    start = time.process_time()
    job(root, chunk)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    root = find_dataset(options.folder).resolve()
    paths = list(build_index(root, check=False)["path"])
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    jobs = {"decode": decode, "read": read, "measure": measure_files}
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    processor: dict[str, list[float]] = {name: [] for name in jobs}
    with Parallel(n_jobs=options.processes, batch_size=1) as parallel:
        for turn in range(options.rounds + 1):  # the first starts the processes and warms the disk
            for name, job in jobs.items():
                start = time.perf_counter()
                took = parallel(delayed(processor_seconds)(job, root, chunk) for chunk in chunks)
                if turn:
                    wall[name].append(time.perf_counter() - start)
                    processor[name].append(sum(took))
    print(f"{len(paths)} films, {options.processes} processes, median of {options.rounds} rounds")
    for kind, seconds in {"wall": wall, "processor": processor}.items():
        middle = {name: statistics.median(times) for name, times in seconds.items()}
        for name, took in middle.items():
            ratio = took / middle["decode"]
            print(f"  {kind:9} {name:8} {took:6.2f} s   {ratio:.2f} x decoding")


if __name__ == "__main__":
    main()
