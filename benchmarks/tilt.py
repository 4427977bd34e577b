"""Two measures of the tilt of a chest, and no straightening, compared with the network alone.

    python benchmarks/tilt.py --model models/resnet50 --data DIR --external DIR

Every second validation image is rotated by +10 and -10 degrees. "Error" is the standard deviation
of the difference between measured and true rotation in degrees, "changed" the share of images that
get another result from the network alone, without the input check. The AUC is that of normal images
against opacities in the external set `nih`.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import (
    as_png,
    images_of_fold,
    parse_with_external,
    parser,
    predict,
    print_table,
)
from xray_core import Predictor, read_radiograph
from xray_core.command_line import run_command
from xray_core.evaluation.external import summarize_external
from xray_core.model import lung_crop
from xray_core.model.lungs import Mask, lung_fields
from xray_core.stats.bootstrap import share_by_patient
from xray_core.training.external import predict_external
from xray_core.training.robustness import CHANGES

ROTATIONS = {10: "rotated by +10 degrees", -10: "rotated by -10 degrees"}


def by_centroids(mask: Mask) -> float:
    """The measure in use: the slope of the line between the centroids of the lung fields."""
    return CENTROIDS(mask)


def by_long_axes(mask: Mask) -> float:
    """The mean direction of the long axes of the lung fields, in degrees from the vertical."""
    labels, order = lung_fields(mask)
    directions = []
    for number in order:
        rows, columns = np.nonzero(labels == number)
        _, vectors = np.linalg.eigh(np.cov(rows, columns))
        down, right = vectors[:, -1] * np.sign(vectors[0, -1])
        directions.append(-np.rad2deg(np.arctan2(right, down)))
    return float(np.mean(directions)) if len(directions) == 2 else float("nan")


CENTROIDS = lung_crop.lung_slope
MEASURES: dict[str, Callable[[Mask], float] | None] = {
    "centroids (in use)": by_centroids,
    "long axes": by_long_axes,
    "none": None,
}


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, folds=("validation",))
    arguments, external = parse_with_external(options)
    predictor = Predictor.load(arguments.model)
    folder, index = images_of_fold(arguments.data, arguments.fold)
    index = index[::2]
    pixels = [read_radiograph(folder / path).pixels for path in index["path"]]
    images = {0: [as_png(image) for image in pixels]} | {
        degrees: [as_png(CHANGES[name](image)) for image in pixels]
        for degrees, name in ROTATIONS.items()
    }
    masks = {
        degrees: [p.lung_mask for p in predictor.predict_many(files)]
        for degrees, files in images.items()
    }
    rows = []
    for name, measure in MEASURES.items():
        found = {
            degrees: np.array(
                [np.nan if m is None or measure is None else measure(m) for m in masks[degrees]]
            )
            for degrees in masks
        }
        typical = float(np.nanmedian(found[0])) if measure else 0.0
        with_measure(measure, typical)
        tables = {degrees: predict(predictor, files) for degrees, files in images.items()}
        row: dict = {"measure": name}
        for degrees in ROTATIONS:
            error = found[degrees] - found[0] + degrees
            row[f"error at {degrees:+d}"] = float(np.nanstd(error)) if measure else "-"
        for degrees in ROTATIONS:
            logits = np.stack([tables[0]["logit"], tables[degrees]["logit"]])
            both = np.isfinite(logits).all(axis=0)
            p, q = predictor.calibration.probability(logits[:, both])
            changed = [
                predictor.calibration.verdict(a) != predictor.calibration.verdict(b)
                for a, b in zip(p, q, strict=True)
            ]
            patient = index["patient"].to_numpy()[both]
            row[f"changed at {degrees:+d}"] = share_by_patient(np.array(changed), patient)
        sets = summarize_external(predict_external(predictor, external), predictor.calibration)
        row["AUC, nih"] = next(one["roc_auc"]["value"] for one in sets if one["set"] == "nih")
        rows.append(row)
    print_table(predictor, rows, as_json=arguments.json)


def with_measure(measure: Callable[[Mask], float] | None, typical: float) -> None:
    """Have the crop use a measure whose median is `typical`; without one, nothing is turned."""

    def slope(mask: Mask) -> float:
        tilt = measure(mask) - typical if measure else 0.0
        return lung_crop.TYPICAL_SLOPE + (tilt if np.isfinite(tilt) else 0.0)

    lung_crop.lung_slope = slope


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
