"""Bundles with simulated predictions and without a network or images."""

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from xray_core.evaluation.tables import summary
from xray_core.model.bundle_writing import seal, writing
from xray_core.model.calibration import Calibration
from xray_core.model.recipes import RECIPES

CALIBRATION = Calibration(
    temperature=1.4,
    shift=0.0,
    prior=0.5,
    decision_threshold=0.5,
    exclusion_threshold=0.22,
    uncertain=(0.35, 0.65),
)
CARD = """# resnet50

A network that classifies chest X-rays of children as pneumonia or normal.

## Limits

- It was trained only on children aged 1 to 5 from one hospital.

| a table | that is wider | than a phone's | screen, however | its words are | wrapped |
|---|---|---|---|---|---|
| photographed | photographed | photographed | photographed | photographed | photographed |
"""


def predictions(seed: int = 1, separation: float = 2.6) -> pd.DataFrame:
    """Return a predictions table as in a bundle, with as many patients as the real test split."""
    return _predictions(seed, separation).copy()


@lru_cache
def _predictions(seed: int, separation: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    folds = (("validation", "train", 130, 65), ("test", "test", 203, 200))
    for fold, folder, pneumonias, normals in folds:
        for number in range(pneumonias + normals):
            pneumonia = number < pneumonias
            subtype = ("bacteria" if number % 8 < 5 else "virus") if pneumonia else "none"
            label = "PNEUMONIA" if pneumonia else "NORMAL"
            level = (separation if pneumonia else -separation) + rng.normal()
            for image in range(1 + rng.poisson(0.92 if pneumonia else 0.17)):
                name = (
                    f"person{number}_{subtype}_{image}"
                    if pneumonia
                    else f"IM-{number:04d}-{image:04d}"
                )
                logit = (
                    level + rng.normal() - 0.5 * (subtype == "virus")
                ) * CALIBRATION.temperature
                rows.append(
                    {
                        "file": f"{folder}/{label}/{name}.jpeg",
                        "fold": fold,
                        "label": label,
                        "subtype": subtype,
                        "patient": f"{fold}-{subtype}-{number}",
                        "logit": logit,
                        "probability": float(CALIBRATION.probability(logit)),
                        "gate": "caution" if rng.random() < 0.03 else "passed",
                    }
                )
    table = pd.DataFrame(rows)
    table["verdict"] = [CALIBRATION.verdict(p) for p in table["probability"]]
    return table


def history() -> pd.DataFrame:
    """Return a history of eight epochs, of which the sixth is the best."""
    epoch = np.arange(1, 9)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "loss": 0.5 / epoch + 0.12,
            "val_loss": 0.2 + 0.012 * (epoch - 6) ** 2,
            "accuracy": 0.98 - 0.2 / epoch,
            "val_accuracy": 0.96 - 0.004 * (epoch - 6) ** 2,
            "auc": 0.99 - 0.1 / epoch,
            "val_auc": 0.985 - 0.002 * (epoch - 6) ** 2,
            "learning_rate": 4e-4 / epoch,
            "seconds": 150.0,
        }
    )


def write_bundle(models: Path, name: str = "resnet50", **options: float) -> Path:
    """Write a bundle that opens; its weights, gate and neighbours are empty files."""
    table = predictions(**options)
    config = {
        "name": name,
        "version": "2026-11-20 1a2b3c4d",
        "created": "2026-11-20T10:30:00+00:00",
        "recipe": json.loads(json.dumps(asdict(RECIPES["resnet50"]))),
        "labels": ["NORMAL", "PNEUMONIA"],
        "input_size": [224, 224],
        "calibration": CALIBRATION.to_dict(),
        "gate": {"caution": 3000.0, "refuse": 6000.0},
        "cautions": {"map_in_lungs": 0.4},
        "layers": [
            _layer("image", "InputLayer", [None, 224, 224, 1], 0, True),
            _layer("conv1_conv", "Conv2D", [None, 112, 112, 64], 9472, False),
            _layer("conv4_block6_out", "Activation", [None, 14, 14, 1024], 0, True),
            _layer("features", "GlobalAveragePooling2D", [None, 1024], 0, True),
            _layer("logit", "Dense", [None, 1], 1025, True),
        ],
        "dataset": {
            "fingerprint": "c0ffee" * 10,
            "images": 5856,
            "patients": 2790,
            "counts": {"train": {"NORMAL": 1215, "PNEUMONIA": 3495}},
        },
        "libraries": {"python": "3.11.9", "tensorflow": "2.21.0", "keras": "3.15.1"},
        "seed": 0,
        "git_commit": "0123456789abcdef",
        "training": {"epochs": 8, "best_epoch": 6, "seconds": 1200.0},
        "metrics": _metrics(**options),
    }
    models.mkdir(parents=True, exist_ok=True)
    with writing(models / name) as folder:
        for empty in ("model.weights.h5", "gate.npz", "neighbours.npz"):
            (folder / empty).write_bytes(b"")
        table.to_csv(folder / "predictions.csv", index=False)
        history().to_csv(folder / "history.csv", index=False)
        table[["file", "label"]].rename(columns={"file": "path"}).to_csv(
            folder / "dataset.csv", index=False
        )
        (folder / "MODEL_CARD.md").write_text(CARD)
        seal(folder, config)
    return models / name


@lru_cache
def _metrics(seed: int = 1, separation: float = 2.6) -> dict[str, dict]:
    table = predictions(seed, separation)
    return {fold: summary(table, CALIBRATION, fold) for fold in ("validation", "test")}


def _layer(name: str, kind: str, shape: list, parameters: int, trained: bool) -> dict:
    return {
        "name": name,
        "type": kind,
        "shape": shape,
        "parameters": parameters,
        "trained": trained,
    }
