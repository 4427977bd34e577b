"""The lung network by itself: where its masks differ from people's, and which images it refuses.

    python benchmarks/lung_fields.py --model models/lungs --data DIR --masks DIR --external DIR

The first table gives the Dice coefficient over the validation images, of the whole masks, and of
what lies above the higher of the two lower edges in each column. The second gives the share of
images without two plausible lung fields: images of the validation fold, shifted copies of them,
what `parts_of_chest.py` cuts from them, and the sets of a table of external images.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.parts_of_chest import KINDS
from benchmarks.reporting import images_of_fold
from xray_core.command_line import run_command
from xray_core.dataset.external import read_external
from xray_core.imaging.pixels import to_model_input
from xray_core.model.bundle import open_bundle
from xray_core.model.engine import trace
from xray_core.model.lungs import LungSegmenter, overlap
from xray_core.training.data import ImageSet, add_lung_masks, add_shifted_copies, read_image
from xray_core.training.masks import find_masks
from xray_core.training.robustness import read_masks


def above_lower_edge(mask: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both masks without what lies below the higher of their lower edges, by column."""
    rows = np.arange(len(mask))[:, np.newaxis]
    edges = [
        np.where(one.any(axis=0), (rows * one).max(axis=0), len(mask)) for one in (mask, reference)
    ]
    inside = rows <= np.minimum(*edges)
    return mask & inside, reference & inside


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models/lungs", metavar="PATH")
    parser.add_argument("--data", metavar="DIR", help="default: $CHEST_XRAY_DIR")
    parser.add_argument("--masks", metavar="DIR", help="default: $LUNG_MASKS_DIR")
    parser.add_argument("--external", metavar="DIR", help="a table of external images")
    parser.add_argument("--count", type=int, default=200, help="parts of each kind, at most")
    arguments = parser.parse_args()

    bundle = open_bundle(arguments.model, kind="segmentation")
    segmenter = LungSegmenter(trace(bundle.load_network()), bundle.lung_limits)
    folder, index = images_of_fold(arguments.data, "validation")
    references = read_masks(find_masks(arguments.masks), index).masks
    pixels = np.stack([read_image(folder / path)[1] for path in index["path"]]).astype(np.uint8)
    found = _masks(pixels, segmenter)

    print(f"python {' '.join(sys.argv)}\n{bundle.name} {bundle.version}\n")
    print("| Dice, validation | images | mean | 5th percentile |\n|---|---|---|---|")
    pairs = [pair for pair in zip(found, references, strict=True) if pair[1].any()]
    for name, both in (
        ("whole masks", pairs),
        ("above the lower edge", [above_lower_edge(*pair) for pair in pairs]),
    ):
        dice = [overlap(*pair)[0] for pair in both]
        print(f"| {name} | {len(dice)} | {np.mean(dice):.3f} | {np.quantile(dice, 0.05):.3f} |")

    print("\n| images | number | without two plausible lung fields |\n|---|---|---|")
    _print_refused("validation", found, segmenter)
    images = ImageSet(index, pixels, np.zeros(len(index), np.float32))
    shifted = add_shifted_copies(images, 2, seed=0).pixels[len(index) :]
    _print_refused("shifted copies", _masks(shifted, segmenter), segmenter)
    for number, (name, cut) in enumerate(KINDS.items()):
        rng = np.random.default_rng([0, number])
        parts: list[np.ndarray] = []
        for row in rng.permutation(np.flatnonzero(references.any(axis=(1, 2)))):
            part = cut(pixels[row, ..., 0].astype(np.float32), references[row], rng)
            if part is not None and len(parts) < arguments.count:
                parts.append(to_model_input(part).astype(np.uint8))
        _print_refused(name, _masks(np.stack(parts), segmenter), segmenter)
    if arguments.external:
        table, root = read_external(Path(arguments.external)), Path(arguments.external)
        for name, rows in table.groupby("set", sort=False):
            inputs = np.stack([read_image(root / file)[1] for file in rows["file"]])
            masks = _masks(inputs.astype(np.uint8), segmenter)
            _print_refused(f"external: {name}", masks, segmenter)


def _masks(pixels: np.ndarray, segmenter: LungSegmenter) -> np.ndarray:
    """The lungs in model inputs (N, H, W, 1): bool (N, H, W)."""
    images = ImageSet(None, pixels, np.zeros(len(pixels), np.float32))  # type: ignore[arg-type]
    return np.asarray(add_lung_masks(images, segmenter).masks)[..., 0]


def _print_refused(name: str, masks: np.ndarray, segmenter: LungSegmenter) -> None:
    refused = [not segmenter.has_plausible_lungs(mask) for mask in masks]
    print(f"| {name} | {len(refused)} | {np.mean(refused):.1%} |", flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
