"""Candidates of the rule for images unlike the training images, on images of other hospitals.

    python benchmarks/unlike_rule.py --data DIR --external DIR

Each row is the rule with another share of the images with pneumonia that reach its lower limit. All
limits are fitted to the validation images and their shifted copies, as `finish` does. The images
pass the whole input check; "firm" is a share of all images of a group, "right" of those with a firm
result. The columns "validation" are about the unaltered validation images. No test image is used.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import images_of_fold, parse_with_external, parser, print_table
from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.dataset.external import read_external
from xray_core.labels import LABELS, PNEUMONIA, UNCERTAIN
from xray_core.model.unlike import SENSITIVITY, fit_unlike_rule
from xray_core.training.data import add_shifted_copies, load_images
from xray_core.training.finish import CALIBRATION_COPIES

CANDIDATES = (0.995, 0.997, 0.9985, 0.9988, 0.999)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, folds=("validation",))
    arguments, external = parse_with_external(options)
    predictor = Predictor.load(arguments.model)
    folder, index = images_of_fold(arguments.data, "validation")
    validation = load_images(index, folder).folds["validation"]
    seed = predictor.bundle.config["split_seed"] + 1
    copies = add_shifted_copies(validation, CALIBRATION_COPIES, seed=seed)
    logit = np.concatenate([predictor._run(batch).logit for batch in _batches(copies.pixels)])
    home = _predict(predictor, [folder / path for path in validation.table["path"]])
    home["label"] = validation.table["label"].to_numpy()
    table = read_external(external)
    away = _predict(predictor, [external / path for path in table["file"]])
    away = away.assign(label=table["label"].to_numpy(), set=table["set"].to_numpy())

    rows = []
    for share in CANDIDATES:
        rule = fit_unlike_rule(
            predictor.calibration.probability(logit),
            copies.label,
            home["distance"].dropna().to_numpy(),
            sensitivity=share,
        )
        groups = {
            f"{name} {label.lower()}": images
            for (name, label), images in away.groupby(["set", "label"], sort=False)
            if label in LABELS
        }
        row = {
            "share": f"{share:.2%}" + (" (used)" if share == SENSITIVITY else ""),
            "limits": f"{rule.low:.3f}, {rule.high:.3f}, beyond {rule.beyond:.2f}",
        }
        for name, images in {**groups, "validation": home}.items():
            row[f"{name}: firm, right"] = _firm_and_right(images, rule, predictor)
        rows.append(row)
    print_table(predictor, rows, as_json=arguments.json)


def _batches(pixels: np.ndarray, size: int = 32) -> list[np.ndarray]:
    return [
        pixels[start : start + size].astype(np.float32) for start in range(0, len(pixels), size)
    ]


def _predict(predictor: Predictor, paths: list[Path]) -> pd.DataFrame:
    """Probability and relative distance of each image, NaN for one that is refused."""
    return pd.DataFrame(
        [
            (p.probability, np.nan if p.probability is None else p.gate_distance)
            for p in predictor.predict_many(paths)
        ],
        columns=["probability", "distance"],
    ).astype(float)


def _firm_and_right(images: pd.DataFrame, rule, predictor: Predictor) -> str:
    analysed = images.dropna(subset="probability")
    verdict = np.array(
        [
            rule.verdict(probability, distance, predictor.calibration)
            for probability, distance in zip(
                analysed["probability"], analysed["distance"], strict=True
            )
        ]
    )
    firm = verdict != UNCERTAIN
    right = (verdict == PNEUMONIA) == (analysed["label"] == PNEUMONIA)
    return f"{firm.sum() / len(images):.2f}, {right[firm].mean() if firm.any() else np.nan:.3f}"


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
