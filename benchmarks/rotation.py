"""How many results change when the images are rotated by 10 degrees in either direction.

    python benchmarks/rotation.py --model models/resnet50 --data DIR --fold test

"Other result" is what a user sees, with the input check: refused and indeterminate are results. The
columns on the network alone use its log-odds, also of images that the input check refuses.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import as_png, images_of_fold, parser, predict, print_table
from xray_core import Predictor, read_radiograph
from xray_core.command_line import run_command
from xray_core.model.calibration import Calibration
from xray_core.stats.bootstrap import share_by_patient
from xray_core.training.robustness import CHANGES

ROTATIONS = ("rotated by +10 degrees", "rotated by -10 degrees")


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__, folds=("validation", "test")).parse_args()
    predictor = Predictor.load(arguments.model)
    folder, index = images_of_fold(arguments.data, arguments.fold)
    pixels = [read_radiograph(folder / path).pixels for path in index["path"]]
    before = predict(predictor, map(as_png, pixels))
    rows = []
    for name in ROTATIONS:
        after = predict(predictor, (as_png(CHANGES[name](image)) for image in pixels))
        rows.append({"images": name, **compare(before, after, index, predictor.calibration)})
    print_table(predictor, rows, as_json=arguments.json)


def compare(
    before: pd.DataFrame, after: pd.DataFrame, index: pd.DataFrame, calibration: Calibration
) -> dict:
    """Return the shares of changed results, with intervals over patients."""
    patient = index["patient"].to_numpy()
    both = (before["logit"].notna() & after["logit"].notna()).to_numpy()
    p, q = (calibration.probability(table.loc[both, "logit"]) for table in (before, after))
    other = np.array(
        [calibration.verdict(a) != calibration.verdict(b) for a, b in zip(p, q, strict=True)]
    )
    threshold = calibration.decision_threshold
    return {
        "number": len(index),
        "other result": share_by_patient(before["verdict"] != after["verdict"], patient),
        "refused": share_by_patient(after["verdict"] == "REFUSED", patient),
        "network alone: other result": share_by_patient(other, patient[both]),
        "network alone: crossed": share_by_patient(
            (p > threshold) != (q > threshold), patient[both]
        ),
    }


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
