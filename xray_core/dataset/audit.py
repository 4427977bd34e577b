"""Quality checks of a dataset: leakage, labels, class balance, size of the validation fold.

Each check takes the table of `dataset_table`, one row per image, and returns a list of Finding.
"""

import re

import pandas as pd

from xray_core.dataset.duplicates import duplicate_findings, exact_groups
from xray_core.dataset.finding import (
    IMAGE_COLUMNS,
    Finding,
    image_rows,
    sort_by_severity,
)
from xray_core.dataset.index import subtype_of
from xray_core.dataset.shortcuts import shift_findings, shortcut_findings
from xray_core.stats.intervals import exact_interval, format_interval

IMBALANCE = 0.65  # share of the larger class above which accuracy is misleading
WIDE_INTERVAL = 0.15  # width of the 95% interval of an accuracy of 90%: too wide to choose on

# A naive patient key, without the prefix: "person" or "IM" and the number after it.
_BARE_NUMBER = re.compile(
    r"/(?:NORMAL2-)?(?P<kind>person|IM)-?(?P<digits>\d+)[-_][^/]*$", re.IGNORECASE
)


def audit(table: pd.DataFrame) -> list[Finding]:
    """Run all checks; the most serious findings come first.

    Checks whose columns are missing (a bundle without measurements) are skipped.
    """
    measured = "sha256" in table
    findings = [*shared_patients(table), *images_per_patient(table)]
    if measured:
        readable = table[table["problem"] == ""] if "problem" in table else table
        findings += [
            *unreadable(table),
            *contradicting_names(table),
            *duplicate_findings(readable),
            *shortcut_findings(readable),
            *shift_findings(readable),
        ]
    findings += [*imbalance(table), *validation_size(table)]
    return sort_by_severity(findings)


def shared_patients(table: pd.DataFrame) -> list[Finding]:
    """Find patients with images in more than one split."""
    places = table[["patient", "split"]].drop_duplicates()
    in_two = places[places.duplicated("patient", keep=False)]
    tested = in_two.loc[in_two["split"] == "test", "patient"]
    findings = []
    if len(tested):
        rows = table[table["patient"].isin(tested)]
        findings.append(
            Finding(
                "shared-patients",
                "serious",
                f"{_count(len(tested), 'patient')} in both the test split and another split.",
                len(tested),
                "patients",
                "Images of one patient are similar, so test results are too optimistic when the "
                "model has seen the patient in training. Move all images of a patient into one "
                "split.",
                image_rows(rows),
            )
        )
    else:
        findings.append(
            Finding(
                "shared-patients",
                "checked",
                "No patient has images in both the test split and another split.",
                0,
                "patients",
                "The patient key is the prefix and the number in the file name.",
                _patients_by_split(table),
            )
        )
    pooled = set(in_two["patient"]) - set(tested)
    if len(pooled):
        findings.append(
            Finding(
                "shared-train-val",
                "note",
                f"{_count(len(pooled), 'patient')} in both train and val.",
                len(pooled),
                "patients",
                "No effect here: train and val are pooled and split again by patient. Validation "
                "on the original val folder would use patients that the model has seen.",
                image_rows(table[table["patient"].isin(pooled)]),
            )
        )
    return findings + _naive_key(table, len(tested))


def images_per_patient(table: pd.DataFrame) -> list[Finding]:
    """Report how many patients have several images."""
    images = table.groupby("patient").size().sort_values(ascending=False)
    if images.max() == 1:
        return []
    most = images.index[0]
    several = int((images > 1).sum())
    shown = table.merge(images.rename("images of patient"), left_on="patient", right_index=True)
    return [
        Finding(
            "images-per-patient",
            "note",
            f"{len(table):,} images come from {len(images):,} patients; {most} has the most, "
            f"{images.iloc[0]}.",
            several,
            "patients with several images",
            "Images of one patient are not independent. Splits and confidence intervals are "
            "therefore by patient.",
            shown[shown["patient"].isin(images.index[:5])]
            .sort_values(["images of patient", "patient", "path"], ascending=[False, True, True])[
                ["images of patient", *IMAGE_COLUMNS]
            ]
            .reset_index(drop=True),
        )
    ]


def unreadable(table: pd.DataFrame) -> list[Finding]:
    """Find files that cannot be read."""
    broken = table[table["problem"] != ""] if "problem" in table else table.iloc[:0]
    if broken.empty:
        return []
    rows = broken[["path", "problem", "split", "label"]].reset_index(drop=True)
    verb = "file cannot" if len(rows) == 1 else "files cannot"
    why = "They are excluded from all results except the counts. Download or delete them."
    title = f"{len(rows)} {verb} be read."
    return [Finding("unreadable", "caution", title, len(rows), "files", why, rows)]


def contradicting_names(table: pd.DataFrame) -> list[Finding]:
    """Find images whose folder and file name give different classes.

    Byte-for-byte copies are left to `duplicate_findings`.
    """
    named_pneumonia = table["path"].map(subtype_of) != "none"
    named_normal = table["path"].str.contains(r"/(?:NORMAL2-)?IM-\d+-[^/]*$", case=False)
    normal = table["label"] == "NORMAL"
    wrong = ((named_pneumonia & normal) | (named_normal & ~normal)) & exact_groups(table).isna()
    if not wrong.any():
        return []
    number = int(wrong.sum())
    return [
        Finding(
            "contradicting-names",
            "serious",
            f"{_count(number, 'image')} in the folder of one class with a file name of the other.",
            number,
            "images",
            "Either the folder or the name is wrong. Review the images and move them.",
            image_rows(table[wrong]),
        )
    ]


def imbalance(table: pd.DataFrame) -> list[Finding]:
    """Report the class balance of the training images and of the test split."""
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
                "checked",
                f"The classes are balanced: {training:.1%} of the training images are pneumonia.",
                round(larger, 4),
                "of the training images",
                "Accuracy is then as informative as sensitivity and specificity.",
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
            f"A model that always outputs {name} is correct for {of_test:.1%} of the test images. "
            "Use sensitivity and specificity instead of accuracy. Weight or balance the classes in "
            "training, and state the prevalence that a probability is calibrated to. This "
            "prevalence is not a clinical prevalence.",
            counts,
        )
    ]


def validation_size(table: pd.DataFrame) -> list[Finding]:
    """Report whether Kaggle's val split and the validation fold are large enough for model choices.

    The criterion is the width of the exact 95% interval of an accuracy of 90% on as many patients.
    """
    findings = []
    val = table[table["split"] == "val"]
    if len(val):
        findings += _size_finding(val, "val", "The split val")
    if "fold" in table:
        ours = table[table["fold"] == "validation"]
        if len(ours):
            findings += _size_finding(ours, "fold", "The validation fold")
    return findings


def _naive_key(table: pd.DataFrame, shared: int) -> list[Finding]:
    """Patients that only seem shared when file names are compared without their prefix."""
    parts = table["path"].str.extract(_BARE_NUMBER).dropna()
    named = table.loc[parts.index].assign(number=parts["kind"].str.lower() + " " + parts["digits"])
    tested = named["split"] == "test"
    both = set(named[tested]["number"]) & set(named[~tested]["number"])
    claimed = len(both)
    if claimed <= shared:
        return []
    rows = named[named["number"].isin(both)]
    rows = rows.assign(where=rows["split"].where(tested, "train or val"))
    shown = (
        rows[["number", "where", "patient"]]
        .drop_duplicates()
        .groupby(["number", "where"])["patient"]
        .apply(", ".join)
        .unstack()
        .reset_index()
        .rename_axis(columns=None)
    )
    return [
        Finding(
            "naive-key",
            "note",
            f"Matching on number alone suggests {claimed} patients shared with the test split; a "
            "numbering artefact.",
            claimed,
            "numbers",
            "The numbering restarts for each prefix: person1_bacteria and person1_virus, or "
            "IM-0001 and NORMAL2-IM-0001, are different children. With the prefix in the key, "
            f"{shared} patients are shared.",
            shown,
        )
    ]


def _size_finding(images: pd.DataFrame, key: str, name: str) -> list[Finding]:
    patients = images["patient"].nunique()
    right = round(0.9 * patients)
    low, high = exact_interval(right, patients)
    wide = high - low > WIDE_INTERVAL
    span = format_interval(low, high)
    subject = f"{name} has {len(images):,} images of {patients:,} patients"
    return [
        Finding(
            f"validation-{key}",
            "caution" if wide else "checked",
            f"{subject}: too few for model choices."
            if wide
            else f"{subject}: enough to choose a threshold.",
            round(high - low, 3),
            "width of the 95% interval",
            f"The 95% interval of an accuracy of {right} of {patients} patients is {span}. "
            + (
                "Early stopping, thresholds and calibration would depend on chance. Here, train "
                "and val are pooled, and about 10% of the images are held out by patient instead."
                if wide and key == "val"
                else "Add patients before choosing a model or threshold on it."
                if wide
                else "The fold is held out by patient, stratified by class and subtype."
            ),
            image_rows(images).head(200),
        )
    ]


def _patients_by_split(table: pd.DataFrame) -> pd.DataFrame:
    groups = table.groupby(["split", "label"])
    return groups.agg(images=("path", "size"), patients=("patient", "nunique")).reset_index()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun} is" if number == 1 else f"{number:,} {noun}s are"
