"""What is wrong with a dataset, found before anyone trains on it."""

import re

import pandas as pd

from xray_core.dataset.balance import imbalance, validation_size
from xray_core.dataset.duplicates import duplicate_findings, exact_groups
from xray_core.dataset.finding import (
    IMAGE_COLUMNS,
    Finding,
    from_grave_to_harmless,
    image_rows,
)
from xray_core.dataset.index import subtype_of
from xray_core.dataset.shortcuts import shift_findings, shortcut_findings

# What a hasty reader takes for the patient: "person" or "IM" and the number after it.
_BARE_NUMBER = re.compile(
    r"/(?:NORMAL2-)?(?P<kind>person|IM)-?(?P<digits>\d+)[-_][^/]*$", re.IGNORECASE
)


def audit(table: pd.DataFrame) -> list[Finding]:
    """Return all findings on a table from `dataset_table`, from grave to harmless.

    Checks whose columns are not in the table (a bundle made without measurements) are left out.
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
    return from_grave_to_harmless(findings)


def shared_patients(table: pd.DataFrame) -> list[Finding]:
    """Return the patients whose images lie in two splits, and what a naive key would claim."""
    places = table[["patient", "split"]].drop_duplicates()
    in_two = places[places.duplicated("patient", keep=False)]
    tested = in_two.loc[in_two["split"] == "test", "patient"]
    findings = []
    if len(tested):
        rows = table[table["patient"].isin(tested)]
        findings.append(
            Finding(
                "shared-patients",
                "grave",
                f"{_count(len(tested), 'patient')} with images in the test split as well as in "
                "another.",
                len(tested),
                "patients",
                "Images of one person look alike, so a model is tested on people it has seen, and "
                "scores too well. Move all images of a patient into one split.",
                image_rows(rows),
            )
        )
    else:
        findings.append(
            Finding(
                "shared-patients",
                "fine",
                "No patient has images both in the test split and in another.",
                0,
                "patients",
                "The key of a patient is the prefix and the number of the file's name.",
                _patients_by_split(table),
            )
        )
    pooled = set(in_two["patient"]) - set(tested)
    if len(pooled):
        findings.append(
            Finding(
                "shared-train-val",
                "note",
                f"{_count(len(pooled), 'patient')} with images in both train and val.",
                len(pooled),
                "patients",
                "Harmless here: the folds pool train and val and split them again by patient. "
                "Whoever uses val as it is validates on people the model has seen.",
                image_rows(table[table["patient"].isin(pooled)]),
            )
        )
    return findings + _naive_key(table, len(tested))


def images_per_patient(table: pd.DataFrame) -> list[Finding]:
    """Return how far images outnumber patients."""
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
            f"{len(table):,} images come from {len(images):,} patients; {most} alone has "
            f"{images.iloc[0]}.",
            several,
            "patients with several images",
            "Images of one patient are not independent: splits go by patient here, and every "
            "interval counts patients, not images.",
            shown[shown["patient"].isin(images.index[:5])]
            .sort_values(["images of patient", "patient", "path"], ascending=[False, True, True])[
                ["images of patient", *IMAGE_COLUMNS]
            ]
            .reset_index(drop=True),
        )
    ]


def unreadable(table: pd.DataFrame) -> list[Finding]:
    """Return the files that cannot be read."""
    broken = table[table["problem"] != ""] if "problem" in table else table.iloc[:0]
    if broken.empty:
        return []
    rows = broken[["path", "problem", "split", "label"]].reset_index(drop=True)
    verb = "file cannot" if len(rows) == 1 else "files cannot"
    why = "They are left out of all numbers but the counts. Fetch them again or delete them."
    title = f"{len(rows)} {verb} be read."
    return [Finding("unreadable", "caution", title, len(rows), "files", why, rows)]


def contradicting_names(table: pd.DataFrame) -> list[Finding]:
    """Return images filed as normal under a name that says pneumonia, or the other way.

    Byte-for-byte copies are left to `duplicate_findings`, which sees both labels.
    """
    named_sick = table["path"].map(subtype_of) != "none"
    named_well = table["path"].str.contains(r"/(?:NORMAL2-)?IM-\d+-[^/]*$", case=False)
    normal = table["label"] == "NORMAL"
    wrong = ((named_sick & normal) | (named_well & ~normal)) & exact_groups(table).isna()
    if not wrong.any():
        return []
    number = int(wrong.sum())
    return [
        Finding(
            "contradicting-names",
            "grave",
            f"{_count(number, 'image')} in the folder of one class under a name of the other.",
            number,
            "images",
            "Either the folder or the name is wrong. Look at the images and move them.",
            image_rows(table[wrong]),
        )
    ]


def _naive_key(table: pd.DataFrame, truly_shared: int) -> list[Finding]:
    """Return the patients that the bare number claims to share, where the whole key denies it."""
    parts = table["path"].str.extract(_BARE_NUMBER).dropna()
    named = table.loc[parts.index].assign(number=parts["kind"].str.lower() + " " + parts["digits"])
    tested = named["split"] == "test"
    both = set(named[tested]["number"]) & set(named[~tested]["number"])
    claimed = len(both)
    if claimed <= truly_shared:
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
            f"By the bare number of the file names {claimed} patients would seem shared with the "
            "test split; that is an artefact.",
            claimed,
            "numbers",
            "The numbering restarts for each prefix: person1_bacteria and person1_virus, or "
            "IM-0001 and NORMAL2-IM-0001, are different children. With the prefix in the key "
            f"{truly_shared} are shared.",
            shown,
        )
    ]


def _patients_by_split(table: pd.DataFrame) -> pd.DataFrame:
    groups = table.groupby(["split", "label"])
    return groups.agg(images=("path", "size"), patients=("patient", "nunique")).reset_index()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun} is" if number == 1 else f"{number:,} {noun}s are"
