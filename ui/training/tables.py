"""What the Training page shows of a bundle, as tables and charts; from its files only."""

from __future__ import annotations

import re
from typing import Any

import altair as alt
import pandas as pd

from ui.evaluation.charts import BLUE, GREY, VERMILION

_KINDS = {
    "Conv2D": "convolution",
    "BatchNormalization": "batch normalisation",
    "FixedBatchNormalization": "batch normalisation, statistics fixed",
    "Concatenate": "channels beside each other",
    "Rescaling": "scale and offset",
    "Dense": "fully connected",
    "GlobalAveragePooling2D": "average over positions",
    "MaxPooling2D": "maximum of neighbours",
    "InputLayer": "input",
    "Add": "sum",
    "Activation": "activation",
    "ZeroPadding2D": "zero border",
    "Dropout": "dropout",
}


def curve(history: pd.DataFrame, name: str, best_epoch: int | None) -> Any:
    """Training and validation values of `name` ("accuracy", "loss", "auc") by epoch."""
    columns = {name: "training", f"val_{name}": "validation"}
    here = [column for column in columns if column in history]
    long = history.melt("epoch", here, "fold", "value").replace({"fold": columns})
    names = list(columns.values())
    lines = (
        alt.Chart(long)
        .mark_line(point=True)
        .encode(
            x=alt.X(
                "epoch:Q",
                title="Epoch",
                axis=alt.Axis(tickMinStep=1, format="d"),
                scale=alt.Scale(zero=False, nice=False),
            ),
            y=alt.Y("value:Q", title=name.capitalize(), scale=alt.Scale(zero=False)),
            color=alt.Color(
                "fold:N",
                scale=alt.Scale(domain=names, range=[BLUE, VERMILION]),
                legend=alt.Legend(title=None, orient="top", symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "fold:N", scale=alt.Scale(domain=names, range=[[1, 0], [6, 3]]), legend=None
            ),
            tooltip=[
                alt.Tooltip("fold:N", title="Images"),
                alt.Tooltip("epoch:Q", title="Epoch"),
                alt.Tooltip("value:Q", title=name.capitalize(), format=".4f"),
            ],
        )
    )
    if best_epoch is None:
        return lines.properties(height=280)
    rule = (
        alt.Chart(pd.DataFrame({"epoch": [best_epoch]}))
        .mark_rule(color=GREY, strokeDash=[4, 3], size=2)
        .encode(x="epoch:Q", tooltip=[alt.Tooltip("epoch:Q", title="Best epoch")])
    )
    return alt.layer(rule, lines).properties(height=280)


def layer_table(layers: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a layer: name, what it does, output shape, parameters, trained or frozen."""
    return pd.DataFrame(
        [
            {
                "Layer": layer["name"],
                "Does": _KINDS.get(str(layer["type"]), str(layer["type"])),
                "Output": _shape(layer.get("shape")),
                "Parameters": int(layer.get("parameters") or 0),
                "Trained": _trained(layer),
            }
            for layer in layers
        ]
    )


def stage_table(layers: list[dict[str, Any]]) -> pd.DataFrame:
    """The network in a few rows: layers whose names begin alike (conv1, conv2, ...) together."""
    table = layer_table(layers)
    stage = [
        name.split("_")[0] if re.match(r"(conv|pool|block)\d*_", name) else name
        for name in table["Layer"].astype(str)
    ]
    rows = []
    for name, part in table.groupby(stage, sort=False):
        weighted = part[part["Parameters"] > 0]["Trained"].unique()
        rows.append(
            {
                "Part": name,
                "Layers": len(part),
                "Output": part["Output"].iloc[-1],
                "Parameters": int(part["Parameters"].sum()),
                "Trained": "" if not len(weighted) else " and ".join(sorted(weighted)),
            }
        )
    return pd.DataFrame(rows)


def recipe_table(recipe: dict[str, Any]) -> pd.DataFrame:
    """A recipe as rows of setting and value; the augmentation's settings under their own names."""
    rows = []
    for key, value in recipe.items():
        if key == "augmentation" and isinstance(value, dict):
            rows += [(f"augmentation: {_words(k)}", _value(v)) for k, v in value.items()]
        elif key != "summary":
            rows.append((_words(key), _value(value)))
    return pd.DataFrame(rows, columns=["Setting", "Value"])


def provenance_table(config: dict[str, Any]) -> pd.DataFrame:
    """Where the model comes from: data fingerprint, seed, versions, commit, date."""
    data = config.get("dataset") or {}
    rows = [
        ("Version", config.get("version")),
        ("Trained", str(config.get("created") or "").replace("T", " ")[:19]),
        ("Git commit", config.get("git_commit")),
        ("Seed", config.get("seed")),
        ("Data: fingerprint (SHA-256)", data.get("fingerprint")),
        ("Data: images", data.get("images")),
        ("Data: patients", data.get("patients")),
        *(
            (f"Library: {name}", version)
            for name, version in (config.get("libraries") or {}).items()
        ),
    ]
    return pd.DataFrame(
        [(name, "not recorded" if value in (None, "") else str(value)) for name, value in rows],
        columns=["What", "Value"],
    )


_LIMITS = re.compile(
    r"^##+ ([^\n]*\b(?:limit|must not)[^\n]*)\n(.*?)(?=^##? |\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


def card_body(card: str) -> str:
    """A model card without what the page shows elsewhere: title, front matter, first limits.

    Its headings go down a level, since they stand below a heading of the page.
    """
    text = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL).lstrip()
    text = _LIMITS.sub("", re.sub(r"\A# .*\n+", "", text), count=1)
    return re.sub(r"^#{2,5} ", r"#\g<0>", text, flags=re.MULTILINE)


def limits(card: str) -> tuple[str, str]:
    """Heading and text of a card's section on limits or forbidden uses; ("", "") if it has none."""
    found = _LIMITS.search(card)
    return (found.group(1).strip(), found.group(2).strip()) if found else ("", "")


def _trained(layer: dict[str, Any]) -> str:
    if not layer.get("parameters"):
        return ""
    return "trained" if layer.get("trained") else "frozen"


def _shape(shape: Any) -> str:
    if not isinstance(shape, list | tuple):
        return str(shape or "")
    return " x ".join(str(n) for n in shape if n is not None)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " to ".join(str(v) for v in value) if len(value) == 2 else ", ".join(map(str, value))
    return "none" if value is None else str(value)
