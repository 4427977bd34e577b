"""What OpenVINO changes in the results of TensorFlow, for every model, on validation images.

    python benchmarks/engine_parity.py --data data/chest_xray

Prints for each model the largest difference of a logit and the number of other verdicts. The
validation images are used, so this is no use of the test set.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core import list_bundles
from xray_core.command_line import run_command
from xray_core.dataset.index import build_index, find_dataset
from xray_core.prediction.engines import compare_engines


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, help="default: all of the validation fold")
    arguments = parser.parse_args()

    folder = find_dataset(arguments.data)
    index = build_index(folder)
    index = index[index["fold"] == "validation"]
    if arguments.images is not None:
        index = index.sample(arguments.images, random_state=0)
    paths = [folder / path for path in index["path"]]
    print("model | images | with a logit | largest logit difference | other verdicts")
    for name, problem in list_bundles(arguments.models):
        if problem is not None:
            print(f"{name}: {problem}")
            continue
        result = compare_engines(arguments.models / name, paths)
        print(
            f"{name} | {result.images} | {result.with_logit} | {result.logit_difference:.1e} | "
            f"{result.verdicts_changed}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
