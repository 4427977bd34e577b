"""Plain properties that tell the classes apart without any look at the lungs."""

import pandas as pd

from xray_core.dataset.finding import Finding
from xray_core.dataset.statistics import PROPERTIES, Auc, property_auc, with_derived
from xray_core.stats.intervals import Estimate, format_interval

# An AUC's whole interval must lie beyond these.
GRAVE_AUC = 0.75
CAUTION_AUC = 0.60
SHIFT_AUC = 0.60
_TABLE_COLUMNS = ["property", "name", "images", "in_pneumonia", "auc", "low", "high"]
EXTREMES = 12  # images shown from either end of a property

_SIZE = ("width", "height", "aspect")
_WHY = {
    "bytes": "No network sees a file's size, but the size follows the detail and noise that it "
    "does see: how an image was exposed, cropped and compressed, not what the lungs look like.",
    "sharpness": "A network can read this from any patch of the image: it tells the scanner, the "
    "exposure and the resizing as well as the disease.",
    "spread": "A network can read contrast from any image; it follows exposure and cropping as "
    "well as disease.",
    "mean": "A network can read brightness from any image; it follows the exposure.",
    "border": "The border shows no lung: it tells how images were cropped and exposed.",
    "colour": "How a file was stored says who exported it, not what the lungs look like.",
}
_SIZE_WHY = (
    "The size says how an image was taken and cropped, which here goes with the class. A network fed "
    "with images at their own size or aspect can use it without any look at the lungs."
)
_BEYOND = " Blur, noise and contrast as augmentation weaken such cues; an outside test shows them."


def property_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return how well each property alone separates the classes, in one direction throughout.

    Columns property, name, images ("training" or "test"), in_pneumonia ("higher" or "lower"), auc,
    low, high (95% over patients). The direction is the one that holds in the training images, so
    that their AUC is 0.5 at least; the same rule is applied to the test images, where it may fail
    (below 0.5). Properties that do not vary are left out.
    """
    table = with_derived(table)
    parts = _parts(table)
    rows = []
    for name, words in PROPERTIES.items():
        if name not in table:
            continue
        found = {images: property_auc(part, name) for images, part in parts.items()}
        known = {images: auc for images, auc in found.items() if auc}
        for images, auc in known.items():
            higher = next(iter(known.values())).higher
            side = "higher" if higher else "lower"
            area = auc.of_rule(higher=higher)
            values = (name, words, images, side, area.value, area.low, area.high)
            rows.append(dict(zip(_TABLE_COLUMNS, values, strict=True)))
    return pd.DataFrame(rows, columns=_TABLE_COLUMNS)


def shortcut_findings(table: pd.DataFrame) -> list[Finding]:
    """Return the properties that tell the classes apart, the strongest first."""
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
    """Return whether a property separates the test images from the others of their class."""
    table = with_derived(table)
    rows = []
    for label, images in table.groupby("label"):
        # The same question, with "is in the test split" in the place of the disease.
        asked = images.assign(
            label=(images["split"] == "test").map({True: "PNEUMONIA", False: "NORMAL"})
        )
        for name in PROPERTIES:
            if name not in asked or not (auc := property_auc(asked, name)):
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
    found = first["low"] > SHIFT_AUC
    words = f"{_plain(first['key'])} alone tells the {first['label']} images of the test split from"
    title = f"{words} those of the other splits with an AUC of {first['auc']:.2f}."
    return [
        Finding(
            "shift",
            "caution" if found else "fine",
            title if found else "The test images look like the others of their class.",
            float(first["auc"]),
            "AUC",
            "The test split was put together differently from the training images. Expect scores "
            "that fall from validation to test, and thresholds from validation that do not hold."
            if found
            else "No plain property tells the splits of one class apart by more than an AUC of "
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
    severity = "grave" if strength.low > GRAVE_AUC else "caution"
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
            "fine",
            f"These tell next to nothing by themselves: {names}.",
            float(rows["auc"].max()),
            "AUC",
            f"The lower end of each interval is at most {CAUTION_AUC:.2f}; 0.5 is pure chance.",
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
            f"All images here are {width} x {height}: size shortcuts cannot be seen in copies "
            "of one size.",
            len(table),
            "images",
            "In the original Kaggle files the classes differ in size (normal 1686 x 1379 on "
            "average, pneumonia 1195 x 820) and in aspect. Copies of one size hide that, and "
            "squashing them to it keeps a trace of the aspect in the anatomy's proportions.",
        )
    ]


def _plain(name: str) -> str:
    return PROPERTIES[name].split(" (")[0].split(" in colour")[0]
