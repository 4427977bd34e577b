"""How often the gate refuses, by kind of picture, for one bundle and one dataset.

    python benchmarks/gate.py --model models/resnet50 --data data/chest_xray [--pictures DIR]

On images of the validation fold; `--fold test` reports on the test split, which chose nothing.
`--pictures DIR` adds real pictures: each folder in DIR is a kind. Prints a table in Markdown.
"""

import argparse
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.negatives import ALTERED, SEEN, UNSEEN, Kind
from xray_core import Predictor, read_radiograph
from xray_core.dataset.index import build_index, find_dataset
from xray_core.prediction.predictor import Prediction, Source


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models/resnet50")
    parser.add_argument("--data")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--count", type=int, default=50, help="pictures of each drawn kind")
    parser.add_argument("--fold", default="validation", choices=("train", "validation", "test"))
    parser.add_argument("--images", type=int, help="untouched images at most (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    predictor = Predictor.load(arguments.model)
    folder = find_dataset(arguments.data)
    index = build_index(folder)
    index = index[index["fold"] == arguments.fold]
    if arguments.images:
        index = index.sample(min(arguments.images, len(index)), random_state=arguments.seed)
    paths = [folder / path for path in index["path"]]
    print(f"{predictor.model}; {arguments.count} pictures of each drawn kind; in percent\n")
    print("| kind | n | refused | caution | passed | to be put right | to be trimmed |")
    print("|---|---|---|---|---|---|---|")
    _row(f"{arguments.fold} images", predictor.predict_many(paths))
    images = [read_radiograph(path).pixels.astype(np.uint8) for path in paths[:100]]
    for group, kinds in ((" (image)", ALTERED), ("", SEEN), (" (set aside)", UNSEEN)):
        for kind in kinds:
            drawn = _drawn(kind, images, arguments.count, arguments.seed)
            _row(kind.__name__ + group, predictor.predict_many(drawn))
    for pictures in sorted(arguments.pictures.iterdir()) if arguments.pictures else ():
        real = sorted(path for path in pictures.rglob("*") if path.is_file())
        _row(f"{pictures.name} (real)", predictor.predict_many(real))


def _drawn(kind: Kind, images: list[np.ndarray], count: int, seed: int) -> Iterator[Source]:
    random = np.random.default_rng([seed, *kind.__name__.encode()])
    for _ in range(count):
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(kind(random, images))).save(buffer, "PNG")
        yield buffer.getvalue()


def _row(name: str, predictions: Iterable[Prediction]) -> None:
    answers = [p for p in predictions if p.verdict != "UNREADABLE"]
    if not answers:
        return
    outcomes = Counter(p.gate for p in answers)
    offered = [p.correction for p in answers if p.correction is not None]
    framed = sum(correction.crop_border for correction in offered)
    shares = (*(outcomes[o] for o in ("refused", "caution", "passed")), len(offered), framed)
    cells = " | ".join(f"{100 * share / len(answers):.1f}" for share in shares)
    print(f"| {name} | {len(answers)} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
