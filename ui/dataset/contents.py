"""The section "Contents": images, patients, classes and splits."""

import altair as alt
import pandas as pd
import streamlit as st

from ui.common.palette import SUBTYPE_COLOURS, colour
from ui.dataset.source import SPLITS, Source
from xray_core.dataset.statistics import count_images


def show_contents(source: Source) -> None:
    """Draw the counts as numbers, as a chart and as a table."""
    table = source.table
    normal = int((table["label"] == "NORMAL").sum())
    pneumonia = len(table) - normal
    counts = {
        "Images": len(table),
        "Patients": table["patient"].nunique(),
        "Normal": normal,
        "Pneumonia": pneumonia,
        "… bacterial": int((table["subtype"] == "bacteria").sum()),
        "… viral": int((table["subtype"] == "virus").sum()),
    }
    with st.container(horizontal=True, gap="medium", key="dataset_numbers"):
        for name, count in counts.items():
            st.metric(name, f"{count:,}", width="content")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.altair_chart(
            _split_chart(count_images(table)),
            key="dataset_counts",
            alt="Share of normal, bacterial and viral images in each split; the table gives the "
            "numbers.",
        )
    with right:
        st.dataframe(_split_table(table), hide_index=True, alt="Images of each split by subtype")
        st.caption(
            f"{pneumonia / max(normal, 1):.1f} images with pneumonia per normal image. Subtype and "
            "patient are taken from the file names."
        )


def _split_chart(counts: pd.DataFrame) -> alt.Chart:
    data = counts.assign(subtype=counts["subtype"].replace("none", "normal"))
    data["share"] = data["images"] / data.groupby("split")["images"].transform("sum")
    data["order"] = data["subtype"].map({name: i for i, name in enumerate(SUBTYPE_COLOURS)})
    return (
        alt.Chart(data)
        .mark_bar()
        .encode(
            y=alt.Y(
                "split:N",
                sort=SPLITS,
                title=None,
                scale=alt.Scale(paddingInner=0.35),
                axis=alt.Axis(labelFontSize=13),
            ),
            x=alt.X("share:Q", title="Share of the split", axis=alt.Axis(format="%")),
            color=colour("subtype:N", SUBTYPE_COLOURS),
            order="order:O",
            tooltip=[
                alt.Tooltip("split:N", title="Split"),
                alt.Tooltip("subtype:N", title="Subtype"),
                alt.Tooltip("images:Q", title="Images", format=","),
                alt.Tooltip("patients:Q", title="Patients", format=","),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
        .properties(height=250)
    )


def _split_table(table: pd.DataFrame) -> pd.DataFrame:
    subtypes = table["subtype"].where(table["label"] == "PNEUMONIA", "normal")
    subtypes = subtypes.replace("none", "pneumonia")
    counts = pd.crosstab(table["split"], subtypes)
    order = [split for split in SPLITS if split in counts.index]
    columns = [name for name in ("normal", "bacteria", "virus", "pneumonia") if name in counts]
    counts = counts.loc[order, columns]
    counts["patients"] = table.groupby("split")["patient"].nunique()
    counts.loc["all"] = counts.sum()
    counts.loc["all", "patients"] = table["patient"].nunique()
    return counts.reset_index().rename_axis(columns=None)
