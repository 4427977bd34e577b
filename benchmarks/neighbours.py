"""How often the nearest training images contradict the network, and which of the two is right.

    python benchmarks/neighbours.py --model models/resnet50 --data data/chest_xray

Uses the validation fold by default, and the test fold with `--fold test`.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.dataset.index import build_index, find_dataset
from xray_core.model.neighbours import count_contradictions


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models/resnet50")
    parser.add_argument("--data")
    parser.add_argument("--fold", default="validation", choices=("validation", "test"))
    arguments = parser.parse_args()

    predictor = Predictor.load(arguments.model)
    folder = find_dataset(arguments.data)
    index = build_index(folder)
    index = index[index["fold"] == arguments.fold]
    predictions = predictor.predict_many([folder / path for path in index["path"]])
    analysed = [
        (prediction.neighbours, label, prediction.verdict)
        for prediction, label in zip(predictions, index["label"], strict=True)
        if prediction.neighbours is not None
    ]
    report = count_contradictions(*zip(*analysed, strict=True))
    images, contradicted = report["images"], report["contradicted"]
    right = report["network_right"]
    print(f"{predictor.model}, {arguments.fold} fold, {images} images with a verdict")
    share = contradicted / images
    print(f"the 20 nearest images contradict the network on {contradicted} ({share:.1%})")
    print(f"of these the network is right on {right}, the nearest on {contradicted - right}")
    agreed = images - contradicted
    print(f"where they agree, both are right on {report['agreed_right']} of {agreed}")


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
