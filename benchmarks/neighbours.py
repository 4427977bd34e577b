"""How often the nearest training images contradict the network, and who is right then.

    python benchmarks/neighbours.py --model models/resnet50 --data data/chest_xray

On the validation fold, which chose nothing about the neighbours; test images with `--fold test`.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from xray_core import Predictor
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
    found = list(predictor.predict_many([folder / path for path in index["path"]]))
    seen = [image.neighbours is not None for image in found]
    report = count_contradictions(
        [image.neighbours for image in found if image.neighbours is not None],
        list(index["label"][seen]),
        [image.verdict for image in found if image.neighbours is not None],
    )
    images, contradicted = report["images"], report["contradicted"]
    right = report["network_right"]
    print(f"{predictor.model}, {arguments.fold} fold, {images} images with a verdict")
    print(f"the 20 nearest contradict the network on {contradicted} ({contradicted / images:.1%})")
    print(f"of these the network is right on {right}, the neighbours on {contradicted - right}")
    agreed = images - contradicted
    print(f"where they agree, both are right on {report['agreed_right']} of {agreed}")


if __name__ == "__main__":
    main()
