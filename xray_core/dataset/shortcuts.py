"""Shortcut features: image properties that separate the classes without the lungs.

Each check takes the table of `dataset_table`, one row per image, and returns a list of Finding.
"""

import pandas as pd

from xray_core.dataset.finding import Finding
from xray_core.dataset.statistics import PROPERTIES, Auc, property_auc, with_derived
from xray_core.stats.intervals import Estimate, format_interval

# The lower end of an AUC's interval must exceed these.
SERIOUS_AUC = 0.75
CAUTION_AUC = 0.60
SHIFT_AUC = 0.60
_TABLE_COLUMNS = ["property", "name", "images", "in_pneumonia", "auc", "low", "high"]
EXTREMES = 12  # images shown from each end of a property

_SIZE = ("width", "height", "aspect")
_WHY = {
    "bytes": "A network does not see the file size, but it sees the detail and noise that "
    "determine it. They depend on exposure, cropping and compression, not on the lungs.",
    "sharpness": "A network can measure sharpness in any part of the image. It depends on the "
    "scanner, the exposure and the resizing as well as on disease.",
    "spread": "A network can measure contrast. It depends on exposure and cropping as well as on "
    "disease.",
    "mean": "A network can measure brightness. It depends on the exposure.",
    "border": "The border contains no lung. It depends on cropping and exposure.",
    "colour": "The colour mode depends on who exported the file, not on the lungs.",
}
_SIZE_WHY = (
    "The image size depends on acquisition and cropping, which here correlate with the class. A "
    "network that receives images at their original size or aspect ratio can use it instead of the "
    "lungs."
)
_BEYOND = (
    " Augmentation with blur, noise and contrast weakens such shortcuts; testing on images from "
    "another hospital reveals them."
)


def property_table(table: pd.DataFrame) -> pd.DataFrame:
    """Compute how well each property alone separates the classes, in one direction throughout.

    The direction is that of the training images, whose AUC is therefore at least 0.5. The same rule
    is applied to the test images, where the AUC may be below 0.5. Properties that do not vary are
    left out.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per image, as `dataset_table` returns it.

    Returns
    -------
    pandas.DataFrame
        Columns property, name, images ("training" or "test"), in_pneumonia ("higher" or "lower"),
        auc, low, high (95% interval over patients).
    """
    table = with_derived(table)
    parts = _parts(table)
    rows = []
    for name, title in PROPERTIES.items():
        if name not in table:
            continue
        aucs = {images: property_auc(part, name) for images, part in parts.items()}
        known = {images: auc for images, auc in aucs.items() if auc}
        for images, auc in known.items():
            higher = next(iter(known.values())).higher
            side = "higher" if higher else "lower"
            area = auc.of_rule(higher=higher)
            values = (name, title, images, side, area.value, area.low, area.high)
            rows.append(dict(zip(_TABLE_COLUMNS, values, strict=True)))
    return pd.DataFrame(rows, columns=_TABLE_COLUMNS)


def shortcut_findings(table: pd.DataFrame) -> list[Finding]:
    """Find properties that separate the classes, strongest first."""
    table = with_derived(table)
    parts = _parts(table)
    present = [name for name in PROPERTIES if name in table]
    aucs = {name: property_auc(parts["training"], name) for name in present}
    findings = []
    weak: list[tuple[str, Estimate]] = []
    known = [(name, auc) for name, auc in aucs.items() if auc]
    for name, auc in sorted(known, key=lambda item: -item[1].strength.value):
        if auc.strength.low <= CAUTION_AUC:
            weak.append((name, auc.strength))
        else:
            findings.append(_shortcut(table, name, auc, property_auc(parts["test"], name)))
    if findings or weak:
        findings += _no_shortcut(weak)
    return findings + _one_size(table)


def shift_findings(table: pd.DataFrame) -> list[Finding]:
    """Check whether properties separate the test images from the training images of one class."""
    table = with_derived(table)
    rows = []
    for label, images in table.groupby("label"):
        # The same AUC, with "is in the test split" in place of the disease.
        relabelled = images.assign(
            label=(images["split"] == "test").map({True: "PNEUMONIA", False: "NORMAL"})
        )
        for name in PROPERTIES:
            if name not in relabelled or not (auc := property_auc(relabelled, name)):
                continue
            side = "higher" if auc.higher else "lower"
            rows.append(
                {"label": label, "property": PROPERTIES[name], "test images are": side}
                | {"auc": auc.strength.value, "low": auc.strength.low, "high": auc.strength.high}
                | {"key": name}
            )
    if not rows:
        return []
    shifts = pd.DataFrame(rows).sort_values("auc", ascending=False, ignore_index=True)
    first = shifts.iloc[shifts["low"].argmax()]
    differs = first["low"] > SHIFT_AUC
    title = (
        f"{_plain(first['key'])} alone separates the {first['label']} images of the test split "
        f"from those of the other splits (AUC {first['auc']:.2f})."
    )
    return [
        Finding(
            "shift",
            "caution" if differs else "checked",
            title if differs else "The test images resemble the other images of their class.",
            float(first["auc"]),
            "AUC",
            "The test split was collected differently from the training images. Expect lower "
            "results on the test set than in validation, and thresholds that do not transfer."
            if differs
            else "No image property separates the splits within a class with an AUC above "
            f"{SHIFT_AUC:.2f}.",
            shifts.drop(columns="key"),
        )
    ]


def _parts(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    tested = table["split"] == "test"
    return {"training": table[~tested], "test": table[tested]}


def _shortcut(table: pd.DataFrame, name: str, auc: Auc, on_test: Auc | None) -> Finding:
    strength = auc.strength
    side = "higher" if auc.higher else "lower"
    title = (
        f"{_plain(name)} alone separates the classes (AUC {strength.value:.2f}, 95% interval "
        f"{format_interval(strength.low, strength.high, '.2f')}; {side} in pneumonia)."
    )
    why = _SIZE_WHY if name in _SIZE else _WHY[name]
    if on_test:
        area = on_test.of_rule(higher=auc.higher)
        why += (
            f" On the test split the same rule has an AUC of {area.value:.2f} (95% interval "
            f"{format_interval(area.low, area.high, '.2f')})."
        )
    severity = "serious" if strength.low > SERIOUS_AUC else "caution"
    ordered = table.dropna(subset=name).sort_values(name)
    columns = ["path", "split", "label", "subtype", "patient", name]
    ends = pd.concat([ordered.head(EXTREMES), ordered.tail(EXTREMES)])[columns]
    rows = ends[~ends["path"].duplicated()].reset_index(drop=True)
    return Finding(f"shortcut-{name}", severity, title, strength.value, "AUC", why + _BEYOND, rows)


def _no_shortcut(weak: list[tuple[str, Estimate]]) -> list[Finding]:
    if not weak:
        return []
    rows = pd.DataFrame(
        {
            "property": [PROPERTIES[name] for name, _ in weak],
            "auc": [auc.value for _, auc in weak],
            "low": [auc.low for _, auc in weak],
            "high": [auc.high for _, auc in weak],
        }
    )
    names = ", ".join(_plain(name).lower() for name, _ in weak)
    return [
        Finding(
            "no-shortcut",
            "checked",
            f"Little class information on their own: {names}.",
            float(rows["auc"].max()),
            "AUC",
            f"The lower end of each interval is at most {CAUTION_AUC:.2f}; 0.5 is chance.",
            rows,
        )
    ]


def _one_size(table: pd.DataFrame) -> list[Finding]:
    if "width" not in table:
        return []
    sizes = table[["width", "height"]].dropna().drop_duplicates()
    if len(sizes) != 1:
        return []
    width, height = sizes.iloc[0]
    return [
        Finding(
            "one-size",
            "note",
            f"All images are {width} x {height}: size shortcuts cannot be detected in resized "
            "copies.",
            len(table),
            "images",
            "In the original Kaggle files the classes differ in size (normal 1686 x 1379 on "
            "average, pneumonia 1195 x 820) and in aspect ratio. Copies of one size hide that, but "
            "resizing leaves a trace of the aspect ratio in the proportions of the anatomy.",
        )
    ]


def _plain(name: str) -> str:
    return PROPERTIES[name].split(" (")[0].split(" in colour")[0]
