"""Whether the classes are balanced, and whether validation is large enough to choose on."""

import pandas as pd

from xray_core.dataset.finding import Finding, image_rows
from xray_core.stats.intervals import exact_interval, format_interval

IMBALANCE = 0.65  # share of the larger class from which it bends training and accuracy
WIDE_INTERVAL = 0.15  # of an accuracy of 90%: nothing can be chosen on it


def imbalance(table: pd.DataFrame) -> list[Finding]:
    """Return how unequal the classes are, and whether test differs from training in that."""
    tested = table["split"] == "test"
    pneumonia = table["label"] == "PNEUMONIA"
    training, test = float(pneumonia[~tested].mean()), float(pneumonia[tested].mean())
    counts = table.groupby(["split", "label"]).agg(images=("path", "size")).reset_index()
    counts["share"] = counts["images"] / counts.groupby("split")["images"].transform("sum")
    larger = max(training, 1 - training)
    if larger <= IMBALANCE:
        return [
            Finding(
                "imbalance",
                "fine",
                f"The classes are balanced: {training:.1%} of the training images are pneumonia.",
                round(larger, 4),
                "of the training images",
                "Accuracy is then no worse a summary than sensitivity and specificity.",
                counts,
            )
        ]
    name, of_test = ("pneumonia", test) if training >= 0.5 else ("normal", 1 - test)
    return [
        Finding(
            "imbalance",
            "caution",
            f"{larger:.1%} of the training images are {name}; in the test split {of_test:.1%} are.",
            round(larger, 4),
            "of the training images",
            f"A model that always says {name} is right in {of_test:.1%} of the test images, so "
            "read sensitivity and specificity, not accuracy. Weight or balance the classes in "
            "training, and state the prevalence that a probability is calibrated to: no clinic "
            "has this one.",
            counts,
        )
    ]


def validation_size(table: pd.DataFrame) -> list[Finding]:
    """Return whether Kaggle's val and our validation fold are large enough to choose anything on.

    The yardstick is the exact 95% interval of an accuracy of about 90% on as many patients.
    """
    findings = []
    val = table[table["split"] == "val"]
    if len(val):
        findings += _size_finding(val, "val", "The split val")
    if "fold" in table:
        ours = table[table["fold"] == "validation"]
        if len(ours):
            findings += _size_finding(ours, "fold", "Our validation fold")
    return findings


def _size_finding(images: pd.DataFrame, key: str, name: str) -> list[Finding]:
    patients = images["patient"].nunique()
    right = round(0.9 * patients)
    low, high = exact_interval(right, patients)
    wide = high - low > WIDE_INTERVAL
    subject = f"{name} has {len(images):,} images of {patients:,} patients"
    return [
        Finding(
            f"validation-{key}",
            "caution" if wide else "fine",
            f"{subject}: too few to choose anything on."
            if wide
            else f"{subject}: enough to choose a threshold on.",
            round(high - low, 3),
            "width of the 95% interval",
            f"{right} right of {patients} means an accuracy anywhere from "
            f"{format_interval(low, high)}. "
            + (
                "Early stopping, thresholds and calibration on it follow chance. The folds here "
                "pool train and val, and hold out about 10% of the patients instead."
                if wide and key == "val"
                else "Give it more patients before choosing a model or threshold on it."
                if wide
                else "It is held out by patient, stratified by class and subtype."
            ),
            image_rows(images).head(200),
        )
    ]
