"""The section "Shortcut features": how well plain image features separate the classes."""

import altair as alt
import pandas as pd
import streamlit as st

from ui.common.errors import show_errors
from ui.common.palette import AMBER, BLUE, CLASS_COLOURS, GREY, colour, unit_scale
from ui.dataset.source import SPLITS, Source
from xray_core.dataset.statistics import PROPERTIES, describe, histogram, property_auc
from xray_core.stats.intervals import format_interval


def show_shortcuts(source: Source) -> None:
    """Draw the AUC of each feature alone, in the training and in the test images."""
    aucs = source.aucs
    if aucs.empty:
        st.info("The images of this table have not been measured.", icon=":material/info:")
        return
    st.altair_chart(
        _auc_chart(aucs),
        key="dataset_shortcuts",
        alt="AUC of each image feature for pneumonia, in the training and in the test images",
    )
    st.caption(
        "AUC of one feature alone, with its 95% confidence interval by patient. The direction in "
        "brackets (higher or lower in pneumonia) is that of the training images and is applied to "
        "the test images. 0.5 (dashed): no information on the class. Constant features are left "
        "out."
    )


@st.fragment
def show_one_feature(source: Source) -> None:
    """Draw the distribution of a chosen feature by class, in a chosen split."""
    with show_errors():
        names = [name for name in PROPERTIES if name in source.table]
        if names:
            _show_distribution(source.table, names)


def _show_distribution(whole: pd.DataFrame, names: list[str]) -> None:
    varying = [name for name in names if whole[name].nunique() > 1]
    left, right = st.columns([2, 1])
    name = left.selectbox(
        "Feature",
        names,
        index=names.index("sharpness") if "sharpness" in varying else 0,
        format_func=PROPERTIES.get,
        key="dataset_property",
    )
    splits = [split for split in SPLITS if (whole["split"] == split).any()]
    split = right.selectbox("Split", ["all", *splits], key="dataset_property_split")
    table = whole if split == "all" else whole[whole["split"] == split]
    if name not in varying:
        values = whole[name].dropna()
        value = f"{float(values.iloc[0]):g}" if len(values) else "unknown"
        st.info(
            f"{PROPERTIES[name]} is {value} in all images here, so it carries no information on "
            "the class in these copies. It may do so in the original files.",
            icon=":material/info:",
        )
        return
    st.altair_chart(
        _distribution_chart(histogram(table, name), name),
        key="dataset_distribution",
        alt=f"{PROPERTIES[name]} by class; the table below gives the quantiles",
    )
    if auc := property_auc(table, name):
        strength = auc.strength
        interval = format_interval(strength.low, strength.high, ".2f")
        st.caption(
            f"{len(table):,} images. Alone it separates the classes with an AUC of "
            f"{strength.value:.2f} (95% interval {interval}, by patient; "
            f"{'higher' if auc.higher else 'lower'} in pneumonia). Scroll to zoom, drag to move, "
            "double-click to reset."
        )
    st.dataframe(
        describe(table, name),
        hide_index=True,
        column_config={
            column: st.column_config.NumberColumn(format="%.4g")
            for column in ("5%", "25%", "median", "75%", "95%")
        },
    )


def _distribution_chart(bins: pd.DataFrame, name: str) -> alt.Chart:
    bins = bins.assign(middle=(bins["start"] + bins["end"]) / 2)
    return (
        alt.Chart(bins)
        .mark_line(interpolate="monotone", strokeWidth=2.5)
        .encode(
            x=alt.X("middle:Q", title=PROPERTIES[name], scale=alt.Scale(zero=False, nice=False)),
            y=alt.Y("share:Q", title="Share of the class", axis=alt.Axis(format="%")),
            color=colour("label:N", CLASS_COLOURS),
            strokeDash=alt.StrokeDash(
                "label:N",
                scale=alt.Scale(domain=list(CLASS_COLOURS), range=[[1, 0], [7, 3]]),
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


def _auc_chart(aucs: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    feature = aucs["name"].str.split(" (", regex=False).str[0]
    data = aucs.assign(feature=feature + " (" + aucs["in_pneumonia"] + ")")
    order = data.sort_values("auc", ascending=False)["feature"].drop_duplicates().tolist()
    images = {"training": BLUE, "test": AMBER}
    y = alt.Y(
        "feature:N",
        sort=order,
        title=None,
        scale=alt.Scale(paddingInner=0.4),
        axis=alt.Axis(labelLimit=220, labelFontSize=12),
    )
    offset = alt.YOffset("images:N", sort=list(images))
    x = alt.X(
        "auc:Q",
        title="AUC for pneumonia",
        scale=unit_scale(),
        axis=alt.Axis(tickCount=10, format=".1f"),
    )
    tooltip = [
        alt.Tooltip("name:N", title="Feature"),
        alt.Tooltip("images:N", title="Images"),
        alt.Tooltip("in_pneumonia:N", title="In pneumonia"),
        alt.Tooltip("auc:Q", title="AUC", format=".3f"),
        alt.Tooltip("low:Q", title="95% from", format=".3f"),
        alt.Tooltip("high:Q", title="95% to", format=".3f"),
    ]
    shape = alt.Shape("images:N", scale=alt.Scale(domain=list(images), range=["circle", "diamond"]))
    base = alt.Chart(data)
    interval = base.mark_rule(strokeWidth=2).encode(
        y=y,
        yOffset=offset,
        x=alt.X("low:Q"),
        x2="high:Q",
        color=colour("images:N", images),
        tooltip=tooltip,
    )
    dot = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y,
        yOffset=offset,
        x=x,
        color=colour("images:N", images),
        shape=shape,
        tooltip=tooltip,
    )
    chance = (
        alt.Chart(pd.DataFrame({"x": [0.5]}))
        .mark_rule(strokeDash=[4, 4], color=GREY, strokeWidth=1.5)
        .encode(x="x:Q")
    )
    return alt.layer(chance, interval, dot).properties(height=130 + 46 * len(order))
