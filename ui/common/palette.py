"""Colours, axes and tooltips that the charts of all pages share.

The colours are distinguishable with every common colour vision deficiency and on both themes;
shape, dash or position carries the same information.
"""

import altair as alt
import numpy as np
import pandas as pd

BLUE, VERMILION, AMBER, GREY = "#2f86d1", "#dd6027", "#e3a32b", "#8a929c"
CLASS_COLOURS = {"NORMAL": BLUE, "PNEUMONIA": VERMILION}
SUBTYPE_COLOURS = {"normal": BLUE, "bacteria": VERMILION, "virus": AMBER}
_MAX_POINTS = 2000


def colour(field: str, colours: dict[str, str]) -> alt.Color:
    """Return the colour encoding of a field, with its legend above the chart."""
    return alt.Color(
        field,
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=alt.Legend(title=None, orient="top"),
    )


def percent_axis() -> alt.Axis:
    """Return an axis whose labels are whole percentages."""
    return alt.Axis(format=".0%", tickCount=5)


def unit_scale() -> alt.Scale:
    """Return the scale from 0 to 1."""
    return alt.Scale(domain=[0, 1])


def percent_tooltips(titles: dict[str, str]) -> list[alt.Tooltip]:
    """Return a tooltip in percent for each field, by its title."""
    return [alt.Tooltip(f"{name}:Q", title=title, format=".1%") for name, title in titles.items()]


def diagonal() -> alt.Chart:
    """Return the dotted line from (0, 0) to (1, 1)."""
    return (
        alt.Chart(pd.DataFrame({"x": [0, 1], "y": [0, 1]}))
        .mark_line(color=GREY, strokeDash=[3, 3], strokeWidth=1)
        .encode(x="x:Q", y="y:Q")
    )


def diamond(table: pd.DataFrame) -> alt.Chart:
    """Return the mark of the current setting on a curve."""
    return alt.Chart(table).mark_point(color=VERMILION, filled=True, size=130, shape="diamond")


def thin(curve: pd.DataFrame) -> pd.DataFrame:
    """Return at most 2,000 evenly spaced rows of a curve, including both ends."""
    if len(curve) <= _MAX_POINTS:
        return curve
    return curve.iloc[np.linspace(0, len(curve) - 1, _MAX_POINTS).round().astype(int)]
