"""The model card of a segmentation, and its results as a table for the terminal."""

from __future__ import annotations

import math
from typing import Any

from xray_core.stats.intervals import Estimate, format_estimate
from xray_core.training.card import (
    image_counts,
    limit_note,
    notes_section,
    origin_of_test_fold,
    test_fold,
    unreadable_note,
)

_GROUPS = {
    "all": "all",
    "NORMAL": "normal",
    "bacteria": "bacterial pneumonia",
    "virus": "viral pneumonia",
}
_MEASURES = {
    "dice": "mean Dice",
    "dice_median": "median Dice",
    "dice_p5": "5th percentile of Dice",
    "iou": "mean IoU",
}


def segmentation_card(config: dict[str, Any]) -> str:
    """Write the model card of a segmentation's bundle.

    Parameters
    ----------
    config : dict
        The bundle's `config.json`. The text under `notes` (Markdown), if present, becomes a
        section.

    Returns
    -------
    str
        Markdown.
    """
    recipe, training, dataset = config["recipe"], config["training"], config["dataset"]
    parameters = sum(row["parameters"] for row in config["layers"])
    return f"""# {config["name"]}

A U-Net of {len(recipe["filters"])} resolutions that outlines the lungs, trained from scratch.
{parameters / 1e6:.2f} million parameters. Version {config["version"]}.

## Intended use

The model outlines the lungs, including the part behind the heart, in a frontal chest radiograph of
a child. A classifier uses the outline: to check that an image shows two lung fields of plausible
size and place, and to measure how much of a heat map lies inside the lungs. It is a part of a demo,
not a medical device.

## What it must not be used for

- Decisions about a patient, or measurements of the lungs. The areas of the masks depend on the
  annotators' habits; see Weaknesses.
- Adults, lateral radiographs, CT, or images of anything other than a chest.
- Finding disease. The mask shows where the lungs are, not what is in them.

## Performance

Dice coefficient and intersection over union (IoU) of each image's mask with its reference mask, at
224 x 224 pixels, after removal of all but the two largest connected components. 95% confidence
intervals: bootstrap over patients.

{test_fold(config)}:

{_results(config["metrics"]["test"])}

Validation fold, which was used to choose the epoch:

{_results(config["metrics"]["validation"])}

## Weaknesses

- All training images are of children aged 1 to 5 years from one hospital. There are no reference
  masks for images of other hospitals here, so the performance on them is not known.
- How far the reference masks reach below the diaphragm varies by annotator, most among the training
  images of viral pneumonia. The lower edge of a mask is therefore uncertain, and neither it nor the
  area of a mask may be used as a feature of disease.
- Where a lung is opaque, its border is not visible in the image, and the reference is the
  annotator's estimate.

## Training data

Images: "Chest X-Ray Images (Pneumonia)", Kermany, Zhang and Goldbaum, Mendeley Data rscbjbr9sj, CC
BY 4.0 (Kermany et al., Cell 172, 2018), {dataset["patients"]} patients.

Masks: outlines of the lungs from the "COVID-19 X-ray dataset" of V7 Labs
(github.com/v7labs/covid-19-xray-dataset), annotations under CC BY 4.0, aligned to the images'
file names and reduced to 224 x 224 pixels. The model contains no mask. The project does not
distribute an aligned copy of the masks.

Images with a mask:

{image_counts(dataset["counts"])}

Kaggle's train and val folders were pooled and split by patient, as for the classifiers; no patient
is in two folds. The {origin_of_test_fold(config)}{limit_note(config)}
{_without_mask(dataset["without_mask"])}{unreadable_note(dataset["unreadable"])}
## Provenance

Recipe `{recipe["name"]}`, {training["epochs"]} epochs (best: {training["best_epoch"]}),
{training["seconds"] / 60:.0f} minutes on {training["machine"]}. Seed {config["seed"]}, split seed
{config["split_seed"]}.

    python train.py {training["command"]}

Large kernels are stored in half precision. Over the validation images, this changed the Dice
coefficient of an image by at most {config["storage"]["largest_dice_change"]:.4f}.

## Use of the test set

The epoch was chosen on the validation fold, and the limits of plausible lung fields come from the
predicted masks of the training images. After that, the test images were predicted once, which gives
the results above.{_other_uses(config)}
{notes_section(config.get("notes"))}"""


def results_table(metrics: dict[str, Any]) -> str:
    """Write the results of one fold as text for the terminal.

    Parameters
    ----------
    metrics : dict
        An entry of `metrics` in `config.json`, as `segmentation_results.summarise` returns it.

    Returns
    -------
    str
    """
    return "\n".join(
        f"{_GROUPS[name]} ({group['images']} image{'s' if group['images'] != 1 else ''}): "
        + ", ".join(f"{title} {_text(group[key])}" for key, title in _MEASURES.items())
        for name, group in metrics.items()
    )


def _other_uses(config: dict[str, Any]) -> str:
    if "cross_validation" in config:
        return ""
    return " docs/experiments.md lists each time a model of this project was scored on them."


def _results(metrics: dict[str, Any]) -> str:
    rows = [
        f"| images | number | patients | {' | '.join(_MEASURES.values())} |",
        "|---" * (3 + len(_MEASURES)) + "|",
    ]
    for name, group in metrics.items():
        cells = " | ".join(_text(group[key]) for key in _MEASURES)
        rows.append(f"| {_GROUPS[name]} | {group['images']} | {group['patients']} | {cells} |")
    return "\n".join(rows)


def _text(stored: dict[str, Any]) -> str:
    value = {key: math.nan if number is None else number for key, number in stored.items()}
    return format_estimate(Estimate(**value), ".3f")


def _without_mask(paths: list[str]) -> str:
    if not paths:
        return ""
    return f"\nLeft out because they have no mask: {len(paths)} images.\n"
