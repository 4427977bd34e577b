"""Results on images of other hospitals: firm results that are right, shares that are firm, AUC.

    python benchmarks/external.py --model models/resnet50 --external DIR [--against models/OTHER]

The images and their table are those of `xray_core.dataset.external`, predicted as the app does.
Shares of refused and firm results are of all images of a class. With `--against`, the ROC AUC of a
set with both classes is compared with that of a second bundle by DeLong's test for paired areas, on
the images that both bundles analyse.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.reporting import parse_with_external, parser, print_table
from xray_core import Predictor
from xray_core.command_line import run_command
from xray_core.evaluation.external import summarize_external
from xray_core.evaluation.scores import patient_codes
from xray_core.evaluation.tables import estimate_from_json
from xray_core.labels import LABELS, PNEUMONIA, REFUSED, UNREADABLE
from xray_core.stats.delong import delong, difference_p_value
from xray_core.training.external import predict_external


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--against", metavar="PATH", help="a second bundle, for the AUC")
    arguments, folder = parse_with_external(options)
    predictor = Predictor.load(arguments.model)
    predictions = predict_external(predictor, folder)
    sets = summarize_external(predictions, predictor.calibration)
    rows = [
        {
            "set": one["set"],
            "label": row["label"],
            "images": row["images"],
            "refused": estimate_from_json(row["refused"]),
            "firm": estimate_from_json(row["firm"]),
            "right among firm": estimate_from_json(row["right"]),
        }
        for one in sets
        for row in one["rows"]
        if row["label"] and not row["by"]
    ]
    note = [_describe_auc(one) for one in sets if one["roc_auc"]]
    if arguments.against:
        other = Predictor.load(arguments.against)
        others = predict_external(other, folder)
        note += [
            f"{name}: {_compare(images, others.loc[images.index], other.model)}"
            for name, images in predictions.groupby("set", sort=False)
            if set(LABELS) <= set(images["label"])
        ]
    print_table(predictor, rows, as_json=arguments.json, note="\n".join(note))


def _describe_auc(one: dict) -> str:
    auc = one["roc_auc"]
    return (
        f"{one['set']}: ROC AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}) on the "
        f"{auc['images']} labelled images that were analysed"
    )


def _compare(a: pd.DataFrame, b: pd.DataFrame, other: str) -> str:
    """Compare the areas of two models on the labelled images that both analyse."""
    used = a["label"].isin(LABELS).to_numpy()
    for table in (a, b):
        used = used & ~table["verdict"].isin([REFUSED, UNREADABLE]).to_numpy()
    label = (a.loc[used, "label"] == PNEUMONIA).to_numpy()
    scores = np.stack([a.loc[used, "logit"], b.loc[used, "logit"]])
    areas, covariance = delong(label, scores, patient_codes(a.loc[used, "patient"]))
    return (
        f"on the {used.sum()} images that both analyse, ROC AUC {areas[0]:.3f}, against "
        f"{areas[1]:.3f} of {other}; difference {areas[0] - areas[1]:+.3f}, "
        f"p = {difference_p_value(areas, covariance):.3f} (DeLong, paired, by patient)"
    )


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Nothing is kept."))
