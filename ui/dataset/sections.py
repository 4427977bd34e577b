"""Sections of the Dataset page that show numbers: overview, findings, distributions, averages."""

from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.frame import sentences
from ui.common.text import as_markdown
from ui.dataset import charts
from ui.dataset.gallery import thumbnails
from ui.dataset.source import Source
from xray_core.dataset.averages import Averages, average_images
from xray_core.dataset.finding import SEVERITIES, Finding
from xray_core.dataset.shortcuts import property_table
from xray_core.dataset.statistics import (
    PROPERTIES,
    count_images,
    describe,
    histogram,
    property_auc,
)

_BADGES = {
    "serious": ("Serious", ":material/error:", "red"),
    "caution": ("Caution", ":material/warning:", "orange"),
    "note": ("Note", ":material/info:", "blue"),
    "checked": ("Checked", ":material/check_circle:", "green"),
}
_THUMBNAILS = 12
_COLUMNS = {
    "share": st.column_config.NumberColumn(format="percent"),
    "auc": st.column_config.NumberColumn(format="%.3f"),
    "low": st.column_config.NumberColumn("95% from", format="%.3f"),
    "high": st.column_config.NumberColumn("95% to", format="%.3f"),
}


def overview(source: Source) -> None:
    """What the set holds, in numbers and a chart."""
    table = source.table
    images = count_images(table)
    normal = int((table["label"] == "NORMAL").sum())
    pneumonia = len(table) - normal
    with st.container(horizontal=True, gap="medium", key="dataset_numbers"):
        for name, number in {
            "Images": len(table),
            "Patients": table["patient"].nunique(),
            "Normal": normal,
            "Pneumonia": pneumonia,
            "… bacterial": int((table["subtype"] == "bacteria").sum()),
            "… viral": int((table["subtype"] == "virus").sum()),
        }.items():
            st.metric(name, f"{number:,}", width="content")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.altair_chart(
            charts.counts(images),
            key="dataset_counts",
            alt="Share of normal, bacterial and viral images in each split; the table beside says "
            "the same in numbers.",
        )
    with right:
        st.dataframe(_by_split(table), hide_index=True, alt="Images of each split by kind")
        st.caption(
            f"{pneumonia / max(normal, 1):.1f} images with pneumonia for each normal one. Subtype "
            "and patient come from the file names."
        )


def findings(source: Source) -> None:
    """The audit's findings, most serious first, each with the rows behind it."""
    numbers = pd.Series([finding.severity for finding in source.findings]).value_counts()
    words = [
        _counted(severity, numbers[severity]) for severity in SEVERITIES if severity in numbers
    ]
    st.caption(f"Most serious first: {', '.join(words)}. Open one for the rows behind it.")
    for finding in source.findings:
        _finding(finding, source.folder)


def _finding(finding: Finding, folder: Path | None) -> None:
    word, icon, colour = _BADGES[finding.severity]
    opened = st.expander(
        f":{colour}[**{word}**] · {as_markdown(finding.title)}",
        icon=icon,
        key=f"finding_{finding.key}",
        on_change="rerun",
    )
    if not opened.open:
        return
    with opened, sentences():
        st.write(as_markdown(finding.why))
        rows = finding.rows
        if rows.empty:
            return
        if "path" in rows and folder:
            thumbnails(folder, _spread_over(rows, _THUMBNAILS))
        st.dataframe(rows, hide_index=True, column_config=_COLUMNS)
        number = finding.number
        shown = f"{number:,}" if isinstance(number, int) else f"{number:.3f}"
        st.caption(f"The number: {shown} {finding.unit}.")


def shortcuts(source: Source) -> None:
    """How well each plain property alone tells the classes apart."""
    aucs = property_table(source.table)
    if aucs.empty:
        st.info("The images of this table have not been measured.", icon=":material/info:")
        return
    st.altair_chart(
        charts.shortcuts(aucs),
        key="dataset_shortcuts",
        alt="AUC of each plain property for pneumonia, in the training and in the test images",
    )
    st.caption(
        "AUC with its 95% interval over patients. The direction in brackets (higher or lower in "
        "pneumonia) is the one found in the training images; the test images are scored by the same "
        "rule. At 0.5 (dashed) the property carries no information on the class; below, the rule "
        "fails. Properties that are the same in all images are left out."
    )


@st.fragment
def distributions(source: Source) -> None:
    """One property by class, with the property and the split to choose."""
    with sentences():
        names = [name for name in PROPERTIES if name in source.table]
        if not names:
            return
        varying = [name for name in names if source.table[name].nunique() > 1]
        left, right = st.columns([2, 1])
        name = left.selectbox(
            "Property",
            names,
            index=names.index("sharpness") if "sharpness" in varying else 0,
            format_func=PROPERTIES.get,
            key="dataset_property",
        )
        splits = [s for s in ("train", "val", "test") if (source.table["split"] == s).any()]
        split = right.selectbox("Split", ["all", *splits], key="dataset_property_split")
        table = source.table if split == "all" else source.table[source.table["split"] == split]
        if name not in varying:
            value = source.table[name].dropna()
            shown = f"{float(value.iloc[0]):g}" if len(value) else "unknown"
            st.info(
                f"{PROPERTIES[name]} is {shown} in all images here: it cannot give the class away "
                "in these copies, whatever it does in the originals.",
                icon=":material/info:",
            )
            return
        st.altair_chart(
            charts.distribution(histogram(table, name), name),
            key="dataset_distribution",
            alt=f"{PROPERTIES[name]} by class; the table below gives the quantiles",
        )
        if auc := property_auc(table, name):
            low, high = auc.strength_interval
            side = "higher" if auc.higher else "lower"
            st.caption(
                f"It is {side} in pneumonia: alone it separates the classes with an AUC of "
                f"{auc.strength:.2f} (95% interval {low:.2f} to {high:.2f}, over patients). "
                "Scroll to zoom, drag to move, double-click to reset."
            )
        st.dataframe(
            describe(table, name),
            hide_index=True,
            column_config={
                column: st.column_config.NumberColumn(format="%.4g")
                for column in ("5%", "25%", "median", "75%", "95%")
            },
        )


def averages(source: Source) -> None:
    """The average image of each class, their difference, and the spread."""
    computed = source.stored_averages
    if source.folder:
        place = st.empty()

        def show(done: int, total: int) -> None:
            place.progress(done / total, f"Averaging the images: {done:,} of {total:,}")

        readable = source.table[source.table["problem"] == ""]
        computed = average_images(readable, source.folder, progress=show)
        place.empty()
    if computed is None:
        st.info("The average images need the images themselves.", icon=":material/info:")
        return
    _draw_averages(computed)


def _draw_averages(computed: Averages) -> None:
    difference = computed.difference
    reach = max(float(abs(difference).max()), 1.0)
    brightest = max(float(spread.max()) for spread in computed.spread.values())
    normal, pneumonia = (computed.images[label] for label in ("NORMAL", "PNEUMONIA"))
    pictures = [
        (charts.as_grey(computed.mean["NORMAL"]), f"Average of {normal:,} normal images"),
        (charts.as_grey(computed.mean["PNEUMONIA"]), f"Average of {pneumonia:,} with pneumonia"),
        (
            charts.as_orange_and_blue(difference, reach),
            f"Pneumonia less normal: orange up to {difference.max():.0f} grey levels brighter in "
            f"pneumonia, blue up to {-difference.min():.0f} darker",
        ),
        *(
            (
                charts.as_grey(computed.spread[label] * 255 / brightest),
                f"Spread within {label.lower()}: white is a standard deviation of "
                f"{brightest:.0f} grey levels",
            )
            for label in ("NORMAL", "PNEUMONIA")
        ),
    ]
    with st.container(horizontal=True, key="dataset_averages"):
        for picture, words in pictures:
            with st.container(width=170):
                st.image(picture, caption=words, width="stretch", alt=words)
    st.caption(
        "At the size that the model sees. Part of the difference is disease; what lies outside the "
        "lungs is how the images were taken and cropped. Averages of this many images show nobody."
    )


def _by_split(table: pd.DataFrame) -> pd.DataFrame:
    kinds = table["subtype"].where(table["label"] == "PNEUMONIA", "normal")
    kinds = kinds.replace("none", "pneumonia")
    counts = pd.crosstab(table["split"], kinds)
    order = [split for split in ("train", "val", "test") if split in counts.index]
    columns = [k for k in ("normal", "bacteria", "virus", "pneumonia") if k in counts]
    counts = counts.loc[order, columns]
    counts["patients"] = table.groupby("split")["patient"].nunique()
    counts.loc["all"] = counts.sum()
    counts.loc["all", "patients"] = table["patient"].nunique()
    return counts.reset_index().rename_axis(columns=None)


def _counted(severity: str, number: int) -> str:
    word = _BADGES[severity][0].lower()
    return f"{number} {word if severity in ('serious', 'checked') or number == 1 else word + 's'}"


def _spread_over(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return some rows from both ends, since rows are ordered and the ends tell the most."""
    if len(rows) <= number:
        return rows
    return pd.concat([rows.head(number // 2), rows.tail(number - number // 2)])
