"""Counts, distributions and intervals of a table of images."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.special import betaincinv, expit, logit

# Image properties without information on the lungs, with their display names and units.
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
class Auc:
    """Area under the ROC curve of one number, with its 95% interval.

    `value` is the probability that an image with pneumonia has the larger number: 0.5 is chance,
    and below 0.5 normal images tend to have the larger number. `strength` is the area in the
    direction in which it is at least 0.5.
    """

    value: float
    low: float
    high: float
    images: int

    @property
    def higher(self) -> bool:
        """Whether the number tends to be higher in pneumonia."""
        return self.value >= 0.5

    @property
    def strength(self) -> float:
        return self.of_rule(higher=self.higher)[0]

    @property
    def strength_interval(self) -> tuple[float, float]:
        return self.of_rule(higher=self.higher)[1:]

    def of_rule(self, *, higher: bool) -> tuple[float, float, float]:
        """The area and its interval of the rule "a higher (or lower) number means pneumonia"."""
        if higher:
            return self.value, self.low, self.high
        return 1 - self.value, 1 - self.high, 1 - self.low


def with_derived(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with `aspect` (width / height) and `colour` (1.0 where stored in colour)."""
    if "width" not in table:
        return table
    size = table[["width", "height"]].astype("Float64").to_numpy(float, na_value=np.nan)
    grey = table["mode"].isin(["1", "L", "LA", "I", "F", "I;16"])
    colour = np.where(table["mode"] == "", np.nan, np.where(grey, 0.0, 1.0))
    return table.assign(aspect=size[:, 0] / size[:, 1], colour=colour)


def count_images(table: pd.DataFrame) -> pd.DataFrame:
    """Return images and patients of each split, label and subtype that occur."""
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
    """Return images, median and the 5th, 25th, 75th and 95th percentile of `column` by label."""
    values = table[["label"]].assign(value=_numbers(table[column])).dropna()
    grouped = values.groupby("label")["value"]
    shares = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95}
    return pd.DataFrame(
        {"images": grouped.size()} | {name: grouped.quantile(q) for name, q in shares.items()}
    ).reset_index()


def histogram(table: pd.DataFrame, column: str, bins: int = 40) -> pd.DataFrame:
    """Return the share of each label's images in equal bins: label, start, end, images, share."""
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

    The interval counts each patient once, not each image: `auc_interval`.
    """
    values = _numbers(table[column])
    known = ~np.isnan(values)
    pneumonia = (table["label"] == "PNEUMONIA").to_numpy()[known]
    values = values[known]
    if not pneumonia.any() or pneumonia.all() or not np.ptp(values):
        return None
    return auc_interval(values, pneumonia, table["patient"].to_numpy()[known])


def auc_interval(values: np.ndarray, positive: np.ndarray, cluster: np.ndarray) -> Auc:
    """Return the area under the ROC curve with a 95% interval over clusters (patients).

    `values` (N,) numbers, `positive` (N,) bool, `cluster` (N,) keys; images of one patient are not
    independent. The variance is Obuchowski's for clustered data (Biometrics 1997, 53:567), which
    with one image a patient is DeLong's (1988) up to a factor n / (n - 1); the interval is taken
    on the log-odds, so that it stays within [0, 1]. Where the classes do not overlap it is the
    exact one of as many pairs as the smaller class has patients; with one patient it is [0, 1].
    """
    rank = pd.Series(values).rank().to_numpy()  # of equal values the mean rank
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    among_positive = pd.Series(values[positive]).rank().to_numpy()
    among_negative = pd.Series(values[~positive]).rank().to_numpy()
    # The share of the other class that each image beats, ties counted half.
    placement = np.empty(len(values))
    placement[positive] = (rank[positive] - among_positive) / n_negative
    placement[~positive] = 1 - (rank[~positive] - among_negative) / n_positive
    area = float(placement[positive].mean())
    codes, names = pd.factorize(cluster)
    excess = placement - area
    of_positive = np.bincount(codes, np.where(positive, excess, 0), len(names)) / n_positive
    of_negative = np.bincount(codes, np.where(positive, 0, excess), len(names)) / n_negative
    patients = min(len(np.unique(codes[positive])), len(np.unique(codes[~positive])))
    if patients < 2:  # nothing is known of how patients of that class differ
        return Auc(area, 0.0, 1.0, len(values))
    variance = _corrected(of_positive + of_negative, len(names))
    if area in (0.0, 1.0):
        # No pair in the wrong order, so no variance to see. Pairing the patients of the smaller
        # class with others gives as many independent pairs: the exact interval of their share.
        low, high = proportion_interval(patients if area else 0, patients)
    else:
        low, high = _logit_interval(area, variance**0.5)
    return Auc(area, low, high, len(values))


def proportion_interval(successes: int, total: int) -> tuple[float, float]:
    """Return the exact 95% interval of a proportion (Clopper and Pearson, Biometrika 1934)."""
    low = betaincinv(successes, total - successes + 1, 0.025) if successes else 0.0
    high = betaincinv(successes + 1, total - successes, 0.975) if successes < total else 1.0
    return float(low), float(high)


def _corrected(sums: np.ndarray, clusters: int) -> float:
    return float((sums**2).sum()) * clusters / max(clusters - 1, 1)


def _logit_interval(area: float, error: float) -> tuple[float, float]:
    reach = NormalDist().inv_cdf(0.975) * error / (area * (1 - area))
    low, high = expit(logit(area) + np.array([-reach, reach]))
    return float(low), float(high)


def _numbers(column: pd.Series) -> np.ndarray:
    return column.astype("Float64").to_numpy(float, na_value=np.nan)
