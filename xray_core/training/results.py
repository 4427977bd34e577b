"""The last step of a bundle: metrics, figures, card and `config.json`, from what was predicted.

It needs neither the network nor the dataset, and runs without TensorFlow. So a bundle's numbers and
texts are made anew from its own files when the way of measuring or the wording changes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xray_core.dataset.index import fingerprint
from xray_core.errors import BundleError
from xray_core.evaluation.figures import write_figures
from xray_core.evaluation.tables import finite, summary
from xray_core.model import bundle as bundles
from xray_core.model.bundle import Bundle, open_bundle
from xray_core.model.calibration import Calibration
from xray_core.training.card import model_card


def write_results(
    folder: Path, config: dict[str, Any], predictions: pd.DataFrame, history: pd.DataFrame
) -> None:
    """Write figures, card and `config.json` into a bundle's folder that holds all else.

    Args:
        config: all but the metrics of validation and test, which are computed here.
        predictions: rows of `predictions.csv`.
        history: one row an epoch.
    """
    calibration = Calibration.from_dict(config["calibration"])
    metrics = {
        "validation": summary(predictions, calibration, "validation"),
        "shifted_validation": config["metrics"]["shifted_validation"],
        "test": summary(predictions, calibration, "test"),
    }
    config = finite({**config, "metrics": metrics})
    write_figures(folder, predictions, calibration, history, config["training"]["best_epoch"])
    (folder / bundles.CARD).write_text(model_card(config), encoding="utf-8")
    bundles.seal(folder, config)


def finish_stored(bundle: Bundle) -> Bundle:
    """Rebuild metrics, figures and card of a bundle from its own files.

    All other files are copied byte for byte. What only the network can give (calibration, input
    check, robustness, metrics of the shifted validation images, effect of storage) stays as it is
    stored. No image is predicted, so this is no further use of the test set.

    Raises:
        BundleError: the bundle's `config.json` lacks what the card needs.
    """
    config = {k: v for k, v in bundle.config.items() if k not in ("format", "files")}
    try:
        unreadable = config["dataset"].get("unreadable", [])
        config["dataset"] = dataset_facts(bundle.dataset(), unreadable)
        with bundles.writing(bundle.folder) as partial:
            for name in bundle.config["files"]:
                if not _is_made_here(name):
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(bundle.folder / name, partial / name)
            write_results(partial, config, bundle.predictions(), bundle.history())
    except KeyError as error:
        raise BundleError(
            f"The model {bundle.name} does not hold {error}, which its card needs: rebuild it from "
            f"the dataset with `python -m xray_core finish {bundle.name}`."
        ) from error
    return open_bundle(bundle.folder)


def dataset_facts(index: pd.DataFrame, unreadable: Sequence[str]) -> dict[str, Any]:
    """What `config.json` tells of the images that a model was made from, and of those left out.

    Args:
        index: with what `measure_index` measured, as `dataset.csv` holds it.
    """
    counts = index.value_counts(["fold", "label", "subtype"]).rename("images").sort_index()
    return {
        "fingerprint": fingerprint(index),
        "images": len(index),
        "patients": int(index["patient"].nunique()),
        "counts": counts.reset_index().to_dict("records"),
        "unreadable": list(unreadable),
    }


def _is_made_here(name: str) -> bool:
    """Whether a file of a bundle is the card or a figure; examples lie in their own folder."""
    return name == bundles.CARD or ("/" not in name and name.endswith(".png"))
