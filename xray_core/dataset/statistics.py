"""Counts, distributions and class separation of a table of images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from xray_core.stats.delong import auc_interval
from xray_core.stats.intervals import Estimate

# Image properties that do not describe the lungs, with their names and units as shown.
PROPERTIES = {
    "width": "Width (pixels)",
    "height": "Height (pixels)",
    "aspect": "Width / height",
    "bytes": "File size (bytes)",
    "mean": "Brightness (mean grey, 0 to 255)",
    "spread": "Contrast (standard deviation of grey)",
    "border": "Brightness of the border (mean grey)",
    "sharpness": "Sharpness (energy of the Laplacian)",
    "colour": "Stored in colour (1) or grey (0)",
}


@dataclass(frozen=True)
class Auc(Estimate):
    """How well a property separates pneumonia from normal, as a ROC area with its 95% interval.

    `value` is the probability that an image with pneumonia has the larger value of the property:
    0.5 is no separation; below 0.5 the normal images have the larger values.
    """

    @property
    def higher(self) -> bool:
        """Whether the property tends to be higher in pneumonia."""
        return self.value >= 0.5

    @property
    def strength(self) -> Estimate:
        """The area of the rule in the property's own direction, at least 0.5."""
        return self.of_rule(higher=self.higher)

    def of_rule(self, *, higher: bool) -> Estimate:
        """Return the area of the rule "a higher (or lower) value means pneumonia"."""
        if higher:
            return self
        return Estimate(1 - self.value, 1 - self.high, 1 - self.low)


def with_derived(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the properties that follow from the measured ones.

    Parameters
    ----------
    table
        The columns width, height and mode; without them it is returned unchanged.

    Returns
    -------
    pandas.DataFrame
        Also aspect (width / height) and colour (1.0 where stored in colour, 0.0 in grey).
    """
    if "width" not in table:
        return table
    size = table[["width", "height"]].astype("Float64").to_numpy(float, na_value=np.nan)
    grey = table["mode"].isin(["1", "L", "LA", "I", "F", "I;16"])
    colour = np.where(table["mode"] == "", np.nan, np.where(grey, 0.0, 1.0))
    return table.assign(aspect=size[:, 0] / size[:, 1], colour=colour)


def count_images(table: pd.DataFrame) -> pd.DataFrame:
    """Count the images and patients of each split, label and subtype.

    Parameters
    ----------
    table
        The columns path, split, label, subtype and patient.

    Returns
    -------
    pandas.DataFrame
        split, label, subtype, images, patients, in the order train, val, test.
    """
    groups = table.groupby(["split", "label", "subtype"], sort=False)
    counts = groups.agg(images=("path", "size"), patients=("patient", "nunique"))
    return counts.reset_index().sort_values(
        ["split", "label", "subtype"],
        key=lambda column: (
            column.map({"train": 0, "val": 1, "test": 2}).fillna(0)
            if column.name == "split"
            else column
        ),
        ignore_index=True,
    )


def describe(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the quantiles of a property by label.

    Parameters
    ----------
    table
        The columns label and `column`.
    column
        A property; missing values are left out.

    Returns
    -------
    pandas.DataFrame
        label, images, 5%, 25%, median, 75%, 95%.
    """
    values = table[["label"]].assign(value=_numbers(table[column])).dropna()
    grouped = values.groupby("label")["value"]
    shares = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95}
    return pd.DataFrame(
        {"images": grouped.size()} | {name: grouped.quantile(q) for name, q in shares.items()}
    ).reset_index()


def histogram(table: pd.DataFrame, column: str, bins: int = 40) -> pd.DataFrame:
    """Return the distribution of a property by label, in equal bins.

    Parameters
    ----------
    table
        The columns label and `column`.
    column
        A property; missing values are left out.
    bins
        The number of bins.

    Returns
    -------
    pandas.DataFrame
        label, start, end, images, share (of the label's images); empty without a known value.
    """
    values = _numbers(table[column])
    known = values[~np.isnan(values)]
    if not known.size:
        return pd.DataFrame(columns=["label", "start", "end", "images", "share"])
    edges = np.histogram_bin_edges(known, bins=bins if np.ptp(known) else 1)
    parts = []
    for label in sorted(table["label"].unique()):
        images, _ = np.histogram(values[(table["label"] == label).to_numpy()], edges)
        total = max(images.sum(), 1)
        part = {"label": label, "start": edges[:-1], "end": edges[1:], "images": images}
        parts.append(pd.DataFrame(part | {"share": images / total}))
    return pd.concat(parts, ignore_index=True)


def property_auc(table: pd.DataFrame, column: str) -> Auc | None:
    """Compute the AUC of `column` alone; None where it does not vary or one class is missing.

    Parameters
    ----------
    table
        The columns label, patient and `column`.
    column
        A property; missing values are left out.

    Returns
    -------
    Auc or None
        The interval is over patients: `stats.delong.auc_interval`. None where the property does
        not vary or a class is missing.
    """
    values = _numbers(table[column])
    known = ~np.isnan(values)
    pneumonia = (table["label"] == "PNEUMONIA").to_numpy()[known]
    values = values[known]
    if not pneumonia.any() or pneumonia.all() or not np.ptp(values):
        return None
    auc = auc_interval(pneumonia, values, table["patient"].to_numpy()[known])
    return Auc(auc.value, auc.low, auc.high)


def _numbers(column: pd.Series) -> np.ndarray:
    return column.astype("Float64").to_numpy(float, na_value=np.nan)
