"""The networks between two trainings of one architecture: performance here against elsewhere.

    python benchmarks/between_trainings.py --model A --with B --data DIR --masks DIR --external DIR

Each row is a network whose weights lie on the line from A (share 0) to B (share 1). Both started
from the same ImageNet weights, so these networks work, and show how the two trainings differ, where
one gains what the other loses. Both must crop to the lungs alike; the lung network is that of A.

The validation images and two shifted copies of each give AUCs, calibration and limits. "Lungs
hidden" is the AUC of the validation images with the lungs that people drew filled with the blurred
image, not cropped. "Changed" is the share of every second validation image with another result
after a rotation. In the external sets, all images are treated as unlike the training images: a
result is firm outside the limits that the rule for such images would get. There is no input check.
No test image is used.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import images_of_fold, parse_with_external, parser, print_table
from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.dataset.external import read_external
from xray_core.errors import BundleError
from xray_core.labels import LABELS, NORMAL, PNEUMONIA
from xray_core.model.calibration import fit_calibration
from xray_core.model.unlike import fit_unlike_rule
from xray_core.stats.delong import delong
from xray_core.training.data import (
    ImageSet,
    add_shifted_copies,
    load_images,
    model_inputs,
    read_image,
)
from xray_core.training.hidden import HIDDEN
from xray_core.training.masks import find_masks
from xray_core.training.robustness import CHANGES, change_images, hide_parts, read_masks

COPIES = 2
ROTATIONS = ("rotated by +10 degrees", "rotated by -10 degrees")
LUNGS_HIDDEN = "lungs hidden, filled with the blurred image"


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, folds=("validation",))
    options.add_argument("--with", dest="other", metavar="PATH", required=True, help="the bundle B")
    options.add_argument("--masks", metavar="DIR", help="default: $LUNG_MASKS_DIR")
    options.add_argument("--points", type=int, default=5, help="number of networks (default: 5)")
    arguments, external = parse_with_external(options)
    if arguments.points < 2:
        options.error("--points: the two ends of the line at least")
    first = Predictor.load(arguments.model, engine="tensorflow")
    second = Predictor.load(arguments.other, engine="tensorflow")
    recipe = first.bundle.recipe
    ends = [predictor.network.get_weights() for predictor in (first, second)]
    if [w.shape for w in ends[0]] != [w.shape for w in ends[1]] or (
        recipe.lung_margin != second.bundle.recipe.lung_margin
    ):
        raise BundleError("The two models do not have the same architecture and crop.")

    folder, index = images_of_fold(arguments.data, "validation")
    validation = load_images(index, folder).folds["validation"]
    masks = read_masks(find_masks(arguments.masks), validation.table)
    half = ImageSet(
        validation.table.iloc[::2].reset_index(drop=True),
        validation.pixels[::2],
        validation.label[::2],
    )
    table = read_external(external)
    elsewhere = ImageSet(
        table,
        np.stack([read_image(external / name)[1] for name in table["file"]]).astype(np.uint8),
        (table["label"] == PNEUMONIA).to_numpy(np.float32),
    )
    whole = {
        "home": add_shifted_copies(validation, COPIES, seed=first.bundle.config["split_seed"]),
        "elsewhere": elsewhere,
        **{name: change_images(half, CHANGES[name]) for name in ROTATIONS},
    }
    inputs = {name: model_inputs(images, first.lungs, recipe) for name, images in whole.items()}
    inputs["hidden"] = hide_parts(validation, masks.masks, HIDDEN[LUNGS_HIDDEN])

    import keras

    network = first.network
    to_logit = keras.Model(network.inputs, network.get_layer("logit").output)
    rows = []
    for share in np.linspace(0, 1, arguments.points):
        network.set_weights([(1 - share) * a + share * b for a, b in zip(*ends, strict=True)])
        logit = {
            name: to_logit.predict(images.pixels.astype(np.float32), batch_size=32, verbose=0)[:, 0]
            for name, images in inputs.items()
        }
        rows.append({"share of B": f"{share:.2f}", **_row(logit, validation, whole)})
    print_table(first, rows, as_json=arguments.json, note=f"B: {second.model}")


def _row(
    logit: dict[str, np.ndarray], validation: ImageSet, whole: dict[str, ImageSet]
) -> dict[str, object]:
    """The numbers of one network."""
    originals, label = len(validation), whole["home"].label
    calibration = fit_calibration(logit["home"], label, trained_prior=0.5)
    probability = calibration.probability(logit["home"])
    rule = fit_unlike_rule(probability, label, relative_distance=np.zeros(1))
    row: dict[str, object] = {
        "AUC": _auc(label[:originals], logit["home"][:originals]),
        "shifted AUC": _auc(label[originals:], logit["home"][originals:]),
        "lungs hidden: AUC": _auc(label[:originals], logit["hidden"]),
    }
    before = [calibration.verdict(p) for p in probability[:originals:2]]
    for name in ROTATIONS:
        after = [calibration.verdict(p) for p in calibration.probability(logit[name])]
        row[f"changed, {name}"] = float(np.mean(np.array(before) != np.array(after)))
    table = whole["elsewhere"].table
    away = calibration.probability(logit["elsewhere"])
    verdict = np.array([rule.verdict(p, 1.0, calibration) for p in away])
    for name, images in table.groupby("set", sort=False):
        used = images[images["label"].isin(LABELS)]
        if set(used["label"]) == set(LABELS):
            pneumonia = (used["label"] == PNEUMONIA).to_numpy()
            row[f"{name}: AUC"] = _auc(pneumonia, logit["elsewhere"][used.index])
        for group, part in used.groupby("label", sort=False):
            firm = np.isin(verdict[part.index], [NORMAL, PNEUMONIA])
            right = verdict[part.index][firm] == group
            row[f"{name} {str(group).lower()}: firm, right"] = (
                f"{firm.mean():.2f}, {right.mean() if firm.any() else np.nan:.2f}"
            )
    return row


def _auc(label: np.ndarray, logit: np.ndarray) -> float:
    areas, _ = delong(np.asarray(label) == 1, logit, np.arange(len(label)))
    return float(areas[0])


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
