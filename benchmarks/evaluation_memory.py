"""Memory and time of an evaluation in which every image is a patient of its own.

Run: python benchmarks/evaluation_memory.py [ROWS ...] [--most-mb 500] [--most-seconds 60]

For each number of rows (50,000 and 200,000 unless named) a new process reads a CSV of labels and
probabilities, computes what the Evaluation page shows of it, then what a moved slider and a
comparison of two models compute. After each step it prints the peak memory above that after the
imports, and the seconds. The exit status is 1 where a limit is exceeded.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def peak_mb() -> float:
    """The most memory that this process has held so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_table(path: Path, rows: int) -> None:
    import numpy as np
    from scipy.special import expit

    rng = np.random.default_rng(0)
    pneumonia = np.arange(rows) % 2 == 0
    score = expit(np.where(pneumonia, 1.5, -1.5) + 1.5 * rng.normal(size=rows))
    with path.open("w") as file:
        file.write("label,probability\n")
        file.writelines(f"{int(a)},{b:.6f}\n" for a, b in zip(pneumonia, score, strict=True))


def measure(path: Path, most_mb: float, most_seconds: float) -> bool:
    """Evaluate a table step by step, print the costs, return whether a limit is exceeded."""
    from scipy.special import expit, logit

    from ui.evaluation.data import evaluate_table
    from xray_core.evaluation.comparison import compare
    from xray_core.evaluation.curves import decision_curve
    from xray_core.evaluation.metrics import evaluate, independent_intervals
    from xray_core.evaluation.predictions import read_predictions

    calibration = SimpleNamespace(
        prior=0.5, decision_threshold=0.5, exclusion_threshold=0.2, uncertain=(0.35, 0.65)
    )
    start, began, worked = peak_mb(), time.perf_counter(), time.process_time()

    def log(step: str) -> None:
        took, busy = time.perf_counter() - began, time.process_time() - worked
        print(
            f"{peak_mb() - start:8.0f} MB {took:7.1f} s {busy:7.1f} processor s  {step}", flush=True
        )

    table, notes = read_predictions(path)
    evaluation = evaluate_table("your table", "model", table, tuple(notes), calibration)
    log("the table, and all that depends on no slider")
    metrics = evaluate(evaluation.scores, threshold=0.5, prevalence=0.1)
    independent_intervals(evaluation.scores, metrics)
    log("the metrics at one threshold")
    decision_curve(evaluation.scores, 0.1)
    log("the decision curve")
    exceeded = peak_mb() - start > most_mb or time.perf_counter() - began > most_seconds
    print(f"The limits are {'exceeded' if exceeded else 'kept'}.", flush=True)
    evaluate(evaluation.scores, threshold=0.4, prevalence=0.1)
    log("then: a slider moved")
    other = table.assign(probability=expit(0.9 * logit(table["probability"])))
    compare(table, other, threshold_a=0.5, threshold_b=0.5)
    log("then: a comparison with another model")
    return exceeded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", type=int, default=[50_000, 200_000])
    parser.add_argument("--most-mb", type=float, default=500)
    parser.add_argument("--most-seconds", type=float, default=60)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table:
        sys.exit(measure(options.table, options.most_mb, options.most_seconds))
    exceeded = False
    for rows in options.rows:
        print(f"{rows:,} rows", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            write_table(path, rows)
            done = subprocess.run(
                [
                    *(sys.executable, __file__, "--table", str(path)),
                    *("--most-mb", str(options.most_mb)),
                    *("--most-seconds", str(options.most_seconds)),
                ]
            )
        exceeded |= done.returncode != 0
    sys.exit(exceeded)


if __name__ == "__main__":
    main()
