"""How often the nearest training films contradict the network, and who is right then.

    python benchmarks/neighbours.py --model models/resnet50 --data data/chest_xray

On the validation fold, which chose nothing about the neighbours; test films with `--fold test`.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core import Predictor
from xray_core.dataset.index import build_index, find_dataset


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
    answers = zip(
        index["label"],
        predictor.predict_many([folder / path for path in index["path"]]),
        strict=True,
    )
    judged = [
        (label, "PNEUMONIA" if found.probability > predictor.calibration.main else "NORMAL", found)
        for label, found in answers
        if found.probability is not None and found.neighbours is not None
    ]
    apart = [(label, said) for label, said, found in judged if found.neighbours.vote != said]
    right = sum(label == said for label, said in apart)
    print(f"{predictor.model}, {arguments.fold} fold, {len(judged)} films answered")
    print(f"the 20 nearest contradict the network on {len(apart)} ({len(apart) / len(judged):.1%})")
    print(f"of these the network is right on {right}, the neighbours on {len(apart) - right}")


if __name__ == "__main__":
    main()
