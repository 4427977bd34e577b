"""Layers, recipe and provenance of a bundle as tables."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

_OPERATIONS = {
    "Conv2D": "convolution",
    "BatchNormalization": "batch normalisation",
    "FixedBatchNormalization": "batch normalisation, fixed statistics",
    "Concatenate": "concatenation of channels",
    "Rescaling": "scale and offset",
    "Dense": "fully connected",
    "GlobalAveragePooling2D": "global average pooling",
    "MaxPooling2D": "max pooling",
    "InputLayer": "input",
    "Add": "addition",
    "Activation": "activation",
    "ZeroPadding2D": "zero padding",
    "Dropout": "dropout",
}


def layer_table(layers: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per layer."""
    return pd.DataFrame(
        [
            {
                "Layer": layer["name"],
                "Operation": _OPERATIONS.get(str(layer["type"]), str(layer["type"])),
                "Output": _shape(layer.get("shape")),
                "Parameters": int(layer.get("parameters") or 0),
                "Trained": _trained(layer),
            }
            for layer in layers
        ]
    )


def stage_table(layers: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per stage: layers whose names begin alike (conv1, conv2, ...) together."""
    table = layer_table(layers)
    stage = [
        name.split("_")[0] if re.match(r"(conv|pool|block)\d*_", name) else name
        for name in table["Layer"].astype(str)
    ]
    rows = []
    for name, part in table.groupby(stage, sort=False):
        trained = part.loc[part["Parameters"] > 0, "Trained"].unique()
        rows.append(
            {
                "Part": name,
                "Layers": len(part),
                "Output": part["Output"].iloc[-1],
                "Parameters": int(part["Parameters"].sum()),
                "Trained": " and ".join(sorted(trained)),
            }
        )
    return pd.DataFrame(rows)


def recipe_table(recipe: dict[str, Any]) -> pd.DataFrame:
    """Return one row per setting, the augmentation's settings included."""
    rows = []
    for key, value in recipe.items():
        if key == "augmentation" and isinstance(value, dict):
            rows += [(f"augmentation: {_title(k)}", _text(v)) for k, v in value.items()]
        elif key != "summary":
            rows.append((_title(key), _text(value)))
    return pd.DataFrame(rows, columns=["Setting", "Value"])


def provenance_table(config: dict[str, Any]) -> pd.DataFrame:
    """Return version, date, commit, seeds, dataset and libraries of a bundle."""
    data = config.get("dataset") or {}
    rows = [
        ("Version", config.get("version")),
        ("Training date", str(config.get("created") or "").replace("T", " ")[:19]),
        ("Git commit", config.get("git_commit")),
        ("Seed", config.get("seed")),
        ("Split seed", config.get("split_seed")),
        ("Dataset: fingerprint (SHA-256)", data.get("fingerprint")),
        ("Dataset: images", data.get("images")),
        ("Dataset: patients", data.get("patients")),
        ("Dataset: unreadable images left out", _left_out(data.get("unreadable"))),
        *(
            (f"Library: {name}", version)
            for name, version in (config.get("libraries") or {}).items()
        ),
    ]
    return pd.DataFrame(
        [(name, "not recorded" if value in (None, "") else str(value)) for name, value in rows],
        columns=["Item", "Value"],
    )


def _left_out(paths: list[str] | None) -> str | None:
    if paths is None:
        return None
    return f"{len(paths)}: {', '.join(map(str, paths))}" if paths else "none"


def _trained(layer: dict[str, Any]) -> str:
    if not layer.get("parameters"):
        return ""
    return "trained" if layer.get("trained") else "frozen"


def _shape(shape: Any) -> str:
    if not isinstance(shape, list | tuple):
        return str(shape or "")
    return " x ".join(str(n) for n in shape if n is not None)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " to ".join(str(v) for v in value) if len(value) == 2 else ", ".join(map(str, value))
    return "none" if value is None else str(value)
