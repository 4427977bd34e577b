"""Time to measure a dataset's images, compared with decoding them, in as many processes.

Run: python benchmarks/index_speed.py [FOLDER] [--processes 2] [--rounds 5]

Three jobs alternate in one running pool of processes: decoding with Pillow, reading with
`xray_core.imaging.radiograph` (which also checks and converts), and the whole measurement of
`measure_index`. Wall time and processor time of each are printed as the median of the rounds, with
their ratios. On a busy machine, use the ratio of processor times.

The last comparison is the time that a visitor waits: `dataset_table` with an empty cache in a new
process, compared with a new process that only decodes the files, each with its own pool.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xray_core.command_line import run_command
from xray_core.dataset.index import build_index, find_dataset
from xray_core.dataset.properties import measure_files
from xray_core.imaging.radiograph import read_radiograph

ROOT = Path(__file__).resolve().parent.parent
CHUNK = 64

DECODE_COLD = """
import sys
from pathlib import Path
from joblib import Parallel, delayed

def decode(paths):
    import numpy as np
    from PIL import Image
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image)

paths = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.suffix)
chunks = [paths[start : start + 64] for start in range(0, len(paths), 64)]
Parallel(n_jobs=int(sys.argv[2]), batch_size=1)(delayed(decode)(chunk) for chunk in chunks)
"""

INDEX_COLD = """
import sys
from xray_core.dataset.measure import dataset_table

dataset_table(sys.argv[1], processes=int(sys.argv[2]))
"""


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


def cold_seconds(program: str, root: Path, processes: int) -> float:
    """Return the wall time of a Python program in a new process, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"XRAY_CACHE": cache}
        command = [sys.executable, "-c", program, str(root), str(processes)]
        start = time.perf_counter()
        subprocess.run(command, check=True, env=environment, cwd=ROOT)
        return time.perf_counter() - start


def report(kind: str, seconds: dict[str, list[float]]) -> None:
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    for name, took in middle.items():
        print(f"  {kind:9} {name:8} {took:6.2f} s   {took / middle['decode']:.2f} x decoding")


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
    print(f"{len(paths)} images, {options.processes} processes, median of {options.rounds} rounds")
    report("wall", wall)
    report("processor", processor)
    cold: dict[str, list[float]] = {"decode": [], "index": []}
    for _ in range(options.rounds):
        cold["decode"].append(cold_seconds(DECODE_COLD, root, options.processes))
        cold["index"].append(cold_seconds(INDEX_COLD, root, options.processes))
    report("cold", cold)


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
