"""Results on images at the size at which the dataset is distributed, against reduced copies.

    python benchmarks/original_size.py --model models/resnet50 --original-size DIR --data DIR

`--original-size` (or XRAY_ORIGINAL_SIZE_DIR) holds NORMAL and PNEUMONIA with images of the training
split, under the names that their copies have in `train` of `--data`. The probability is that of the
result; pairs without two probabilities, because an image was refused, do not count there.
"""

import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import parser, predict, print_table
from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.dataset.index import SUFFIXES, find_dataset, patient_key
from xray_core.labels import LABELS
from xray_core.stats.bootstrap import share_by_patient

VARIABLE = "XRAY_ORIGINAL_SIZE_DIR"


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--data", metavar="DIR", help="default: $CHEST_XRAY_DIR")
    options.add_argument("--original-size", metavar="DIR", help=f"default: ${VARIABLE}")
    arguments = options.parse_args()
    named = arguments.original_size or os.environ.get(VARIABLE)
    if not named or not Path(named).is_dir():
        options.error(f"name the folder of the images with --original-size or {VARIABLE}")

    originals = sorted(
        path
        for label in LABELS
        for path in (Path(named) / label).iterdir()
        if path.suffix.lower() in SUFFIXES
    )
    train = find_dataset(arguments.data) / "train"
    copies = [train / path.parent.name / path.name for path in originals]
    predictor = Predictor.load(arguments.model)
    large, small = predict(predictor, originals), predict(predictor, copies)
    patient = np.array([patient_key(path.name) for path in originals])
    label = np.array([path.parent.name for path in originals])
    change = (large["probability"] - small["probability"]).to_numpy()
    threshold = predictor.calibration.decision_threshold
    both = ~np.isnan(change)
    crossed = both & ((large["probability"] > threshold) != (small["probability"] > threshold))
    other = (large["verdict"] != small["verdict"]).to_numpy()
    rows = []
    for name, chosen in (("all", label != ""), *((one, label == one) for one in LABELS)):
        rows.append(
            {
                "pairs": name,
                "number": int(chosen.sum()),
                "with two probabilities": int((chosen & both).sum()),
                "mean absolute change": float(np.abs(change[chosen & both]).mean()),
                "mean change": float(change[chosen & both].mean()),
                "crossed the threshold": int(crossed[chosen].sum()),
                "other results": int(other[chosen].sum()),
                "share of other results": share_by_patient(other[chosen], patient[chosen]),
            }
        )
    print_table(predictor, rows, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
