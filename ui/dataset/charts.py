"""Interactive charts of the Dataset page: Altair specifications from computed tables.

Blue is normal, vermilion pneumonia (bacteria) and amber pneumonia (virus): told apart by all
readers and on both themes; position, pattern and words say the same.
"""

import altair as alt
import numpy as np
import pandas as pd

from xray_core.dataset.statistics import PROPERTIES

COLOURS = {"NORMAL": "#2f86d1", "PNEUMONIA": "#dd6027"}
SUBTYPES = {"normal": "#2f86d1", "bacteria": "#dd6027", "virus": "#e3a32b"}
_GREY = "#8a929c"
_SPLITS = ["train", "val", "test"]


def counts(images: pd.DataFrame) -> alt.Chart:
    """Images of each split by class and subtype, as shares of the split with counts to point at."""
    data = images.assign(kind=images["subtype"].replace("none", "normal"))
    data["share"] = data["images"] / data.groupby("split")["images"].transform("sum")
    data["order"] = data["kind"].map({name: place for place, name in enumerate(SUBTYPES)})
    return (
        alt.Chart(data)
        .mark_bar()
        .encode(
            y=alt.Y(
                "split:N",
                sort=_SPLITS,
                title=None,
                scale=alt.Scale(paddingInner=0.35),
                axis=alt.Axis(labelFontSize=13),
            ),
            x=alt.X("share:Q", title="Share of the split", axis=alt.Axis(format="%")),
            color=_colour("kind:N", SUBTYPES),
            order="order:O",
            tooltip=[
                alt.Tooltip("split:N", title="Split"),
                alt.Tooltip("kind:N", title="Kind"),
                alt.Tooltip("images:Q", title="Images", format=","),
                alt.Tooltip("patients:Q", title="Patients", format=","),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
        .properties(height=250)
    )


def distribution(bins: pd.DataFrame, name: str) -> alt.Chart:
    """The share of each class's images by the value of one property; drag and scroll to zoom."""
    area = alt.Chart(bins).mark_line(interpolate="monotone", strokeWidth=2.5)
    bins["middle"] = (bins["start"] + bins["end"]) / 2
    return (
        area.encode(
            x=alt.X("middle:Q", title=PROPERTIES[name], scale=alt.Scale(zero=False, nice=False)),
            y=alt.Y("share:Q", title="Share of the class", axis=alt.Axis(format="%")),
            color=_colour("label:N", COLOURS),
            strokeDash=alt.StrokeDash(
                "label:N",
                scale=alt.Scale(domain=list(COLOURS), range=[[1, 0], [7, 3]]),
                legend=None,
            ),
            tooltip=[
                alt.Tooltip("label:N", title="Class"),
                alt.Tooltip("start:Q", title="From", format=",.4~g"),
                alt.Tooltip("end:Q", title="To", format=",.4~g"),
                alt.Tooltip("images:Q", title="Images", format=","),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
        .properties(height=300)
        .interactive()
    )


def shortcuts(aucs: pd.DataFrame) -> alt.LayerChart:
    """How well each property alone separates the classes: AUC with its 95% interval.

    `aucs` as `property_table` returns it: in the direction that holds in the training images.
    """
    short = aucs["name"].str.split(" (", regex=False).str[0]
    data = aucs.assign(short=short + " (" + aucs["in_pneumonia"] + ")")
    order = data.sort_values("auc", ascending=False)["short"].drop_duplicates().tolist()
    images = ["training", "test"]
    y = alt.Y(
        "short:N",
        sort=order,
        title=None,
        scale=alt.Scale(paddingInner=0.4),
        axis=alt.Axis(labelLimit=220, labelFontSize=12),
    )
    shift = alt.YOffset("images:N", sort=images)
    x = alt.X(
        "auc:Q",
        title="AUC of the named direction in pneumonia (0.5: no information)",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(tickCount=10, format=".1f"),
    )
    tips = [
        alt.Tooltip("name:N", title="Property"),
        alt.Tooltip("images:N", title="Images"),
        alt.Tooltip("in_pneumonia:N", title="In pneumonia"),
        alt.Tooltip("auc:Q", title="AUC", format=".3f"),
        alt.Tooltip("low:Q", title="95% from", format=".3f"),
        alt.Tooltip("high:Q", title="95% to", format=".3f"),
    ]
    ink = alt.Color(
        "images:N",
        scale=alt.Scale(domain=images, range=["#2f86d1", "#e3a32b"]),
        legend=alt.Legend(title=None, orient="top"),
    )
    shape = alt.Shape("images:N", scale=alt.Scale(domain=images, range=["circle", "diamond"]))
    base = alt.Chart(data)
    line = base.mark_rule(strokeWidth=2).encode(
        y=y, yOffset=shift, x=alt.X("low:Q"), x2="high:Q", color=ink, tooltip=tips
    )
    dot = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y, yOffset=shift, x=x, color=ink, shape=shape, tooltip=tips
    )
    chance = (
        alt.Chart(pd.DataFrame({"x": [0.5]}))
        .mark_rule(strokeDash=[4, 4], color=_GREY, strokeWidth=1.5)
        .encode(x="x:Q")
    )
    return alt.layer(chance, line, dot).properties(height=130 + 46 * len(order))


def as_grey(image: np.ndarray) -> np.ndarray:
    """Return an image of grey levels as bytes."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def as_orange_and_blue(difference: np.ndarray, reach: float) -> np.ndarray:
    """Return differences as colours (H, W, 3): orange above zero, blue below, black at zero."""
    share = np.clip(difference / reach, -1, 1)[..., np.newaxis]  # (H, W, 1)
    orange, blue = np.array([255, 150, 40]), np.array([70, 150, 255])
    colours = np.where(share >= 0, share * orange, -share * blue)
    return colours.astype(np.uint8)


def _colour(field: str, colours: dict[str, str]) -> alt.Color:
    return alt.Color(
        field,
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=alt.Legend(title=None, orient="top"),
    )
