"""What is wrong with a dataset, found before anyone trains on it."""

import re

import pandas as pd

from xray_core.dataset.duplicates import duplicate_findings, exact_groups
from xray_core.dataset.finding import Finding, from_grave_to_harmless
from xray_core.dataset.index import subtype_of
from xray_core.dataset.shortcuts import shift_findings, shortcut_findings
from xray_core.dataset.statistics import proportion_interval

IMBALANCE = 0.65  # share of the larger class from which it bends training and accuracy
WIDE_INTERVAL = 0.15  # of an accuracy of 90%: nothing can be chosen on it
_FILM_COLUMNS = ["path", "split", "fold", "label", "subtype", "patient"]
# What a hasty reader takes for the patient: "person" or "IM" and the number after it.
_BARE_NUMBER = re.compile(
    r"/(?:NORMAL2-)?(?P<kind>person|IM)-?(?P<digits>\d+)[-_][^/]*$", re.IGNORECASE
)


def audit(table: pd.DataFrame) -> list[Finding]:
    """Return all findings on a table from `dataset_table`, from grave to harmless.

    Checks whose columns are not in the table (a bundle made without measurements) are left out.
    """
    measured = "sha256" in table
    findings = [*shared_patients(table), *films_per_patient(table)]
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
    """Return the patients whose films lie in two splits, and what a naive key would claim."""
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
                f"{_count(len(tested), 'patient')} with films in the test split as well as in "
                "another.",
                len(tested),
                "patients",
                "Films of one person look alike, so a model is tested on people it has seen, and "
                "scores too well. Move all films of a patient into one split.",
                _films(rows),
            )
        )
    else:
        findings.append(
            Finding(
                "shared-patients",
                "fine",
                "No patient has films both in the test split and in another.",
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
                f"{_count(len(pooled), 'patient')} with films in both train and val.",
                len(pooled),
                "patients",
                "Harmless here: the folds pool train and val and split them again by patient. "
                "Whoever uses val as it is validates on people the model has seen.",
                _films(table[table["patient"].isin(pooled)]),
            )
        )
    return findings + _naive_key(table, len(tested))


def films_per_patient(table: pd.DataFrame) -> list[Finding]:
    """Return how far films outnumber patients."""
    films = table.groupby("patient").size().sort_values(ascending=False)
    if films.max() == 1:
        return []
    most = films.index[0]
    several = int((films > 1).sum())
    shown = table.merge(films.rename("films of patient"), left_on="patient", right_index=True)
    return [
        Finding(
            "films-per-patient",
            "note",
            f"{len(table):,} films come from {len(films):,} patients; {most} alone has "
            f"{films.iloc[0]}.",
            several,
            "patients with several films",
            "Films of one patient are not independent: splits go by patient here, and every "
            "interval counts patients, not films.",
            shown[shown["patient"].isin(films.index[:5])]
            .sort_values(["films of patient", "patient", "path"], ascending=[False, True, True])[
                ["films of patient", *_FILM_COLUMNS]
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
    """Return films filed as normal under a name that says pneumonia, or the other way.

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
            f"{_count(number, 'film')} in the folder of one class under a name of the other.",
            number,
            "films",
            "Either the folder or the name is wrong. Look at the films and move them.",
            _films(table[wrong]),
        )
    ]


def imbalance(table: pd.DataFrame) -> list[Finding]:
    """Return how unequal the classes are, and whether test differs from training in that."""
    tested = table["split"] == "test"
    pneumonia = table["label"] == "PNEUMONIA"
    training, test = float(pneumonia[~tested].mean()), float(pneumonia[tested].mean())
    counts = table.groupby(["split", "label"]).agg(films=("path", "size")).reset_index()
    counts["share"] = counts["films"] / counts.groupby("split")["films"].transform("sum")
    larger = max(training, 1 - training)
    if larger <= IMBALANCE:
        return [
            Finding(
                "imbalance",
                "fine",
                f"The classes are balanced: {training:.1%} of the training films are pneumonia.",
                round(larger, 4),
                "of the training films",
                "Accuracy is then no worse a summary than sensitivity and specificity.",
                counts,
            )
        ]
    name, of_test = ("pneumonia", test) if training >= 0.5 else ("normal", 1 - test)
    return [
        Finding(
            "imbalance",
            "caution",
            f"{larger:.1%} of the training films are {name}; in the test split {of_test:.1%} are.",
            round(larger, 4),
            "of the training films",
            f"A model that always says {name} is right in {of_test:.1%} of the test films, so "
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


def _size_finding(films: pd.DataFrame, key: str, name: str) -> list[Finding]:
    patients = films["patient"].nunique()
    right = round(0.9 * patients)
    low, high = proportion_interval(right, patients)
    wide = high - low > WIDE_INTERVAL
    span = f"{low:.1%} to {high:.1%}"
    subject = f"{name} has {len(films):,} films of {patients:,} patients"
    return [
        Finding(
            f"validation-{key}",
            "caution" if wide else "fine",
            f"{subject}: too few to choose anything on."
            if wide
            else f"{subject}: enough to choose a threshold on.",
            round(high - low, 3),
            "width of the 95% interval",
            f"{right} right of {patients} means an accuracy anywhere from {span}. "
            + (
                "Early stopping, thresholds and calibration on it follow chance. The folds here "
                "pool train and val, and hold out about 10% of the patients instead."
                if wide and key == "val"
                else "Give it more patients before choosing a model or threshold on it."
                if wide
                else "It is held out by patient, stratified by class and subtype."
            ),
            _films(films).head(200),
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
    return groups.agg(films=("path", "size"), patients=("patient", "nunique")).reset_index()


def _films(rows: pd.DataFrame) -> pd.DataFrame:
    columns = [column for column in _FILM_COLUMNS if column in rows]
    return rows[columns].sort_values(["patient", "path"], ignore_index=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun} is" if number == 1 else f"{number:,} {noun}s are"
