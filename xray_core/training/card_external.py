"""The section "Other hospitals" of the model card."""

from __future__ import annotations

from typing import Any

from xray_core.evaluation.tables import estimate_from_json
from xray_core.labels import NORMAL, PNEUMONIA
from xray_core.stats.intervals import format_estimate

_SOURCES = {
    "nih": "NIH ChestX-ray14 (NIH Clinical Center), adults. The labels are radiologists' classes "
    "of the RSNA Pneumonia Detection Challenge: Normal, and Lung Opacity as pneumonia.",
    "openist": "OpenIST (github.com/pi-null-mezon/OpenIST).",
    "ieee8023": "covid-chestxray-dataset (github.com/ieee8023/covid-chestxray-dataset): pneumonia "
    "other than COVID-19.",
}
_CLASSES = {NORMAL: "normal", PNEUMONIA: "pneumonia", "": "no reliable label"}
_SHARES = ("refused", "indeterminate", "unlike", "firm", "right", "pneumonia")
_NOT_MEASURED = (
    "Not measured for this bundle. `python -m xray_core finish NAME --external DIR` predicts a "
    "table of external images and writes this section."
)
_EXPLANATION = """\
Images of other hospitals, predicted as the app predicts them, with the input check. The model was
not trained on them. They may have been used to choose between finished models and between limits of
the rule for images unlike the training images (docs/experiments.md), so these results are
optimistic, and results on images of further hospitals may be worse.

"Not analysed": refused by the input check. "Indeterminate": no firm result, for either reason;
"because unlike": the probability lies outside the indeterminate band, and there is no firm result
only because the image is unlike the training images. "Firm": pneumonia suspected, or no pneumonia
detected. "Right": the firm results that agree with the label, of all firm results; the others are
wrong. All other shares are of all images of the row. 95% intervals: bootstrap over patients;
Wilson's with patients in place of images under 20 images, or where no draw of the bootstrap
differs. An image without a known patient counts as a patient of its own."""


def other_hospitals(sets: list[dict[str, Any]] | None) -> str:
    """Write the section "Other hospitals" of a model card, without its heading.

    Parameters
    ----------
    sets : list of dict or None
        As `xray_core.evaluation.external.summarize_external` returns it; None if not measured.

    Returns
    -------
    str
        Markdown.
    """
    if not sets:
        return _NOT_MEASURED
    return "\n\n".join([_EXPLANATION, *(_set_section(one) for one in sets)])


def _set_section(one: dict[str, Any]) -> str:
    parts = [f"### {one['set']}"]
    counts = f"{one['images']} images of {one['patients']} patients."
    if one["unreadable"]:
        counts += f" {one['unreadable']} further images could not be read."
    parts.append(" ".join([_SOURCES.get(one["set"], ""), counts]).strip())
    labels = {row["label"] for row in one["rows"]} - {""}
    if auc := one["roc_auc"]:
        value = format_estimate(
            estimate_from_json({k: auc[k] for k in ("value", "low", "high")}), ".3f"
        )
        parts.append(
            f"ROC AUC {value}, on the {auc['images']} images with a label that were analysed "
            "(DeLong, with the images of a patient as one cluster)."
        )
    elif len(labels) == 1:
        parts.append(
            "All labelled images are of one class, so the effect of the disease and that of the "
            "source cannot be told apart."
        )
    header = [
        "| images | number | not analysed | indeterminate | because unlike | firm | right | "
        "pneumonia suspected |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n\n".join([*parts, "\n".join([*header, *map(_line, one["rows"])])])


def _line(row: dict[str, Any]) -> str:
    name = _CLASSES[row["label"]]
    if row["by"]:
        name += f", {row['by']} {row['group']}"
    cells = []
    for share in _SHARES:
        if row[share] is None:  # no label to compare with
            cells.append("-")
        else:
            text = format_estimate(estimate_from_json(row[share]), ".0%")
            cells.append("-" if text == "not defined" else text)
    return f"| {name} | {row['images']} | {' | '.join(cells)} |"
