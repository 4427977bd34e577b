"""Parts of a chest, abdomens and single lungs: what share gets no firm result.

    python benchmarks/parts_of_chest.py --model models/resnet50 --data DIR --masks DIR

They are cut from images of the validation fold (`--fold train`: of the training fold) by masks that
people drew, and resized to the model input:

- single lung: the box around one lung with a margin of 5%
- abdomen: the image below the lungs, where that is at least 15% of its height
- part of a chest: a random rectangle with 15% to 40% of the area, at most twice as high as wide or
  twice as wide as high

No result is firm where the image is refused or the result indeterminate.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import (
    as_png,
    images_of_fold,
    parser,
    predict,
    print_table,
    share_without_result,
)
from xray_core import Predictor, read_radiograph
from xray_core.command_line import run_command
from xray_core.labels import NORMAL, PNEUMONIA, REFUSED, UNCERTAIN
from xray_core.training.masks import find_masks
from xray_core.training.robustness import read_masks

MARGIN = 0.05
LEAST_LUNG = 0.02  # area of a lung, as a share of the image
LEAST_ABDOMEN = 0.15
AREAS = (0.15, 0.40)
LARGEST_ASPECT = 2.0
Cut = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray | None]


def single_lung(
    image: np.ndarray, lungs: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Cut out the left or the right lung; None where the mask does not have two parts."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(lungs.astype(np.uint8))
    fields = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] > LEAST_LUNG * lungs.size]
    if len(fields) != 2:
        return None
    left, top, width, height, _ = stats[rng.choice(fields)]
    rows, columns = round(MARGIN * height), round(MARGIN * width)
    return image[
        max(0, top - rows) : top + height + rows, max(0, left - columns) : left + width + columns
    ]


def abdomen(image: np.ndarray, lungs: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Cut off what lies below the lungs; None where that is too little."""
    below = image[np.flatnonzero(lungs.any(axis=1))[-1] + 1 :]
    return below if len(below) >= LEAST_ABDOMEN * len(image) else None


def part(image: np.ndarray, lungs: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Cut out a random rectangle."""
    aspect = np.exp(rng.uniform(-np.log(LARGEST_ASPECT), np.log(LARGEST_ASPECT)))
    area = rng.uniform(*AREAS)
    # The longer side is at most sqrt(.4 x 2) = .89 of the image's.
    height = round(image.shape[0] * np.sqrt(area * aspect))
    width = round(image.shape[1] * np.sqrt(area / aspect))
    top = rng.integers(0, image.shape[0] - height + 1)
    left = rng.integers(0, image.shape[1] - width + 1)
    return image[top : top + height, left : left + width]


KINDS: dict[str, Cut] = {"single lung": single_lung, "abdomen": abdomen, "part of a chest": part}


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, folds=("validation", "train"))
    options.add_argument("--masks", metavar="DIR", help="default: $LUNG_MASKS_DIR")
    options.add_argument("--count", type=int, default=200, help="images of each kind, at most")
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    folder, index = images_of_fold(arguments.data, arguments.fold)
    masks = read_masks(find_masks(arguments.masks), index).masks
    index, masks = index[masks.any(axis=(1, 2))], masks[masks.any(axis=(1, 2))]
    predictor = Predictor.load(arguments.model)
    tables = []
    for number, (name, cut) in enumerate(KINDS.items()):
        rng = np.random.default_rng([arguments.seed, number])
        patients, images = [], []
        for row in rng.permutation(len(index)):
            if len(images) == arguments.count:
                break
            image = cut(read_radiograph(folder / index["path"].iloc[row]).pixels, masks[row], rng)
            if image is not None:
                images.append(as_png(image))
                patients.append(index["patient"].iloc[row])
        tables.append(predict(predictor, images).assign(kind=name, patient=patients))
    everything = pd.concat(tables, ignore_index=True)
    rows = [_row(name, table) for name, table in everything.groupby("kind", sort=False)]
    print_table(predictor, [*rows, _row("all", everything)], as_json=arguments.json)


def _row(name: str, table: pd.DataFrame) -> dict:
    verdicts = (("refused", REFUSED), ("indeterminate", UNCERTAIN))
    firm = (("pneumonia suspected", PNEUMONIA), ("no pneumonia detected", NORMAL))
    return {
        "kind": name,
        "number": len(table),
        "refused or indeterminate": share_without_result(table),
        **{word: int((table["verdict"] == verdict).sum()) for word, verdict in (*verdicts, *firm)},
    }


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
