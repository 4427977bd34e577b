"""How often the gate refuses images, by kind of image, for one bundle and one dataset.

    python benchmarks/gate.py --model models/resnet50 --data data/chest_xray [--others DIR]

Uses the validation fold by default, and the test fold with `--fold test`. Synthetic images of
several kinds are added, and with `--others DIR` the files of each folder in DIR as one kind.
Prints a table in Markdown.
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
from xray_core.command_line import run_command
from xray_core.dataset.index import build_index, find_dataset
from xray_core.prediction.inputs import Source
from xray_core.prediction.result import Prediction


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models/resnet50")
    parser.add_argument("--data")
    parser.add_argument("--others", type=Path, help="folder of folders, one per kind")
    parser.add_argument("--count", type=int, default=50, help="images of each synthetic kind")
    parser.add_argument("--fold", default="validation", choices=("train", "validation", "test"))
    parser.add_argument(
        "--images", type=int, help="maximum number of dataset images (default: all)"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    predictor = Predictor.load(arguments.model)
    folder = find_dataset(arguments.data)
    index = build_index(folder)
    index = index[index["fold"] == arguments.fold]
    if arguments.images:
        index = index.sample(min(arguments.images, len(index)), random_state=arguments.seed)
    paths = [folder / path for path in index["path"]]
    print(f"{predictor.model}; {arguments.count} images of each synthetic kind; in percent\n")
    print("| kind | n | refused | caution | passed | correction offered | crop offered |")
    print("|---|---|---|---|---|---|---|")
    _row(f"{arguments.fold} images", predictor.predict_many(paths))
    images = [read_radiograph(path).pixels.astype(np.uint8) for path in paths[:100]]
    for group, kinds in ((" (image)", ALTERED), ("", SEEN), (" (set aside)", UNSEEN)):
        for kind in kinds:
            synthetic = _draw(kind, images, arguments.count, arguments.seed)
            _row(kind.__name__ + group, predictor.predict_many(synthetic))
    for others in sorted(arguments.others.iterdir()) if arguments.others else ():
        files = sorted(path for path in others.rglob("*") if path.is_file())
        _row(f"{others.name} (real)", predictor.predict_many(files))


def _draw(kind: Kind, images: list[np.ndarray], count: int, seed: int) -> Iterator[Source]:
    random = np.random.default_rng([seed, *kind.__name__.encode()])
    for _ in range(count):
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(kind(random, images))).save(buffer, "PNG")
        yield buffer.getvalue()


def _row(name: str, predictions: Iterable[Prediction]) -> None:
    readable = [p for p in predictions if p.verdict != "UNREADABLE"]
    if not readable:
        return
    outcomes = Counter(p.gate for p in readable)
    offered = [p.correction for p in readable if p.correction is not None]
    crops = sum(correction.is_cropped for correction in offered)
    counts = (*(outcomes[o] for o in ("refused", "caution", "passed")), len(offered), crops)
    cells = " | ".join(f"{100 * count / len(readable):.1f}" for count in counts)
    print(f"| {name} | {len(readable)} | {cells} |", flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
