"""What the benchmarks of a model share: options, images by predictor, and one table as output."""

import argparse
import io
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from xray_core import Predictor
from xray_core.dataset.external import EXTERNAL_VARIABLE, find_external
from xray_core.dataset.index import build_index, find_dataset
from xray_core.imaging.pixels import to_model_input
from xray_core.labels import REFUSED, UNCERTAIN
from xray_core.stats.bootstrap import share_by_patient
from xray_core.stats.intervals import Estimate, format_estimate


def parser(description: str, *, folds: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return a parser with the options --model and --json; with folds, also --data and --fold."""
    result = argparse.ArgumentParser(description=description.splitlines()[0])
    result.add_argument(
        "--model", default="models/resnet50", metavar="PATH", help="default: models/resnet50"
    )
    result.add_argument("--json", action="store_true", help="print JSON instead of a table")
    if folds:
        result.add_argument("--data", metavar="DIR", help="default: $CHEST_XRAY_DIR")
        result.add_argument(
            "--fold",
            default=folds[0],
            choices=folds,
            help=f"default: {folds[0]}; each use of the test fold is listed in docs/experiments.md",
        )
    return result


def parse_with_external(
    options: argparse.ArgumentParser,
) -> tuple[argparse.Namespace, Path]:
    """Add the option --external and parse; return the arguments and the folder, which is needed."""
    options.add_argument("--external", metavar="DIR", help=f"default: ${EXTERNAL_VARIABLE}")
    arguments = options.parse_args()
    folder = find_external(arguments.external)
    if folder is None:
        options.error(f"name the folder of the images with --external or {EXTERNAL_VARIABLE}")
    return arguments, folder


def images_of_fold(data: str | None, fold: str) -> tuple[Path, pd.DataFrame]:
    """Return the folder of the dataset and the rows of its index in one fold."""
    folder = find_dataset(data)
    index = build_index(folder)
    return folder, index[index["fold"] == fold].reset_index(drop=True)


def as_png(pixels: np.ndarray) -> bytes:
    """Return grey levels (H, W) in [0, 255], resized to the model input, as the bytes of a PNG."""
    buffer = io.BytesIO()
    grey = to_model_input(np.ascontiguousarray(np.clip(pixels, 0, 255), np.float32))
    Image.fromarray(grey[..., 0].astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def predict(predictor: Predictor, sources: Iterable[Any]) -> pd.DataFrame:
    """Return verdict, probability and gate of each image; NaN and None where there is none."""
    return pd.DataFrame(
        [(p.verdict, p.probability, p.gate, p.logit) for p in predictor.predict_many(sources)],
        columns=["verdict", "probability", "gate", "logit"],
    ).astype({"probability": float, "logit": float})


def share_without_result(table: pd.DataFrame) -> Estimate:
    """Return the share of images refused or indeterminate, with its interval over patients."""
    return share_by_patient(table["verdict"].isin([REFUSED, UNCERTAIN]), table["patient"])


def print_table(
    predictor: Predictor, rows: Sequence[dict[str, Any]], *, as_json: bool, note: str = ""
) -> None:
    """Print the command line, the model and a table of rows; an `Estimate` with its interval."""
    command = " ".join(["python", *map(shlex.quote, sys.argv)])
    if as_json:
        plain = [
            {
                key: vars(value) if isinstance(value, Estimate) else value
                for key, value in row.items()
            }
            for row in rows
        ]
        result = {"command": command, "model": predictor.model, "rows": plain, "note": note}
        print(json.dumps(result, indent=2))
        return
    print(f"{command}\n{predictor.model}\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(_cell(key, value) for key, value in row.items()) + " |")
    if note:
        print(f"\n{note}")


def _cell(name: str, value: Any) -> str:
    if isinstance(value, Estimate):
        return format_estimate(value, ".3f" if "AUC" in name else ".1%")
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)
