"""What share of the Grad-CAM map of pneumonia images lies inside the lungs.

    python benchmarks/map_in_lungs.py --model models/resnet50 --data DIR --masks DIR --fold test

The share is that of the map's sum inside masks that people drew, of images with the label pneumonia
that the input check does not refuse. An image without a mask or with an empty map does not count.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import images_of_fold, parser, print_table
from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.labels import PNEUMONIA
from xray_core.training.masks import find_masks
from xray_core.training.robustness import read_masks


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, folds=("validation", "test"))
    options.add_argument("--masks", metavar="DIR", help="default: $LUNG_MASKS_DIR")
    arguments = options.parse_args()
    folder, index = images_of_fold(arguments.data, arguments.fold)
    index = index[index["label"] == PNEUMONIA].reset_index(drop=True)
    masks = read_masks(find_masks(arguments.masks), index).masks
    predictor = Predictor.load(arguments.model)
    paths = [folder / path for path in index["path"]]
    row = {"fold": arguments.fold, **measure(predictor, paths, masks)}
    print_table(predictor, [row], as_json=arguments.json)


def measure(predictor: Predictor, paths: Sequence[Path], masks: np.ndarray) -> dict[str, Any]:
    """Return the quartiles of the share of the map in the lungs, and how many images counted."""
    shares, of_lungs, refused, not_counted = [], [], 0, 0
    for path, mask in zip(paths, masks, strict=True):
        heatmap = predictor.predict(path, explain="gradcam").heatmap
        if heatmap is None:
            refused += 1
        elif not (mask.any() and heatmap.any()):
            not_counted += 1
        else:
            shares.append(share_inside(heatmap, mask))
            of_lungs.append(mask.mean())
    if not shares:
        sys.exit("No image with pneumonia has both a mask and a map that is not empty.")
    low, median, high = (float(value) for value in np.quantile(shares, (0.25, 0.5, 0.75)))
    return {
        "images": len(shares),
        "refused": refused,
        "no mask or empty map": not_counted,
        "median share of the map in the lungs": median,
        "lower quartile": low,
        "upper quartile": high,
        "median area of the lungs": float(np.median(of_lungs)),
    }


def share_inside(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of the sum of a map (H, W) inside a mask (h, w) of the same image."""
    height, width = heatmap.shape
    lungs = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    return float(heatmap[lungs].sum(dtype=np.float64) / heatmap.sum(dtype=np.float64))


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
