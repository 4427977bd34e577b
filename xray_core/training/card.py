"""The model card: what a model is, how good it is, and what it must not be used for."""

from __future__ import annotations

from typing import Any

from xray_core.evaluation.groups import SMALL_GROUP
from xray_core.evaluation.tables import describe_calibration, estimate_from_json
from xray_core.stats.intervals import format_estimate

NAMED = 10  # unreadable images that the card names
_SHOWN = (
    ("roc_auc", "ROC AUC"),
    ("accuracy", "Accuracy"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
    ("ppv", "Positive predictive value, at the set's own prevalence"),
    ("npv", "Negative predictive value, at the set's own prevalence"),
    ("calibration_error", "Expected calibration error"),
    ("brier", "Brier score"),
)


def model_card(config: dict[str, Any]) -> str:
    """The card of a bundle, Markdown, from its `config.json` alone."""
    recipe, training, metrics = config["recipe"], config["training"], config["metrics"]
    test, calibration = metrics["test"], config["calibration"]
    low, high = calibration["uncertain"]
    parameters = sum(row["parameters"] for row in config["layers"])
    numbers = test["natural_frequencies"]
    background = "".join(
        f"{paragraph}\n\n"
        for paragraph in (_storage(config.get("storage")), _choices(recipe))
        if paragraph
    )
    return f"""# {config["name"]}

{recipe["summary"]} {parameters / 1e6:.1f} million parameters. Version {config["version"]}.

It reads a frontal chest radiograph of a small child and gives a probability of pneumonia,
calibrated to a prior of {calibration["prior"]:.0%}. It is an explainable demo, not a medical
device.

## What it must not be used for

- Decisions about a patient. It was never tested in a clinic.
- Adults, newborns, lateral radiographs, CT, or images of anything but a chest.
- Other hospitals: expect worse results on radiographs from another machine, archive or country. A
  published ResNet-50 with an AUC of .95 on this test set had .54 on another hospital's children.
- Telling bacterial from viral pneumonia, or detecting any other disease: it has two classes.

## Data

"Chest X-Ray Images (Pneumonia)", Kermany, Zhang and Goldbaum, Mendeley Data rscbjbr9sj, CC BY 4.0
(Kermany et al., Cell 172, 2018): children of one to five years, one hospital (Guangzhou), images of
{config["dataset"]["patients"]} patients.

{_counts(config["dataset"]["counts"])}

Kaggle's train and val folders were pooled and split by patient; no patient is in two folds. The
test fold is the official one. Epoch, temperature, thresholds and input check were chosen on the
validation fold, partly on copies of its images that imitate other hospitals' machines.
{_unreadable(config["dataset"].get("unreadable", []))}
## Use of the test set

{_test_use(config)}

## Performance

On the official test images ({test["images"]} images of {test["patients"]} patients), at the decision
threshold of {calibration["decision_threshold"]:.0%}, with 95% intervals (bootstrap over patients):

{_table(test)}

{_perfect(test)}

- Of 100 images with pneumonia it flags {numbers["detected"]}, gives no clear result (indeterminate)
  for {numbers["uncertain"]}, misses {numbers["missed"]} and does not analyse {numbers["refused"]}.
- Of 100 normal images it correctly finds no pneumonia in {numbers["correctly_negative"]}, gives no clear
  result for {numbers["normal_uncertain"]}, wrongly flags {numbers["wrongly_flagged"]} and does not analyse
  {numbers["normal_refused"]}.
- Between {low:.0%} and {high:.0%} the result is indeterminate. {_undecided(test)}
- The exclusion threshold is {calibration["exclusion_threshold"]:.1%}. {_below_exclusion(metrics)}

By subtype (sensitivity):

{_subtypes(test)}

On the validation fold alone, and together with its shifted copies, which the choices were made on:

{_compared(metrics)}

## Robustness

The test images, changed as images are changed on their way from a machine to a reader. "Other
result" is the share of images whose result (no pneumonia detected, indeterminate, pneumonia
suspected) is no longer the same; "crossed" is the share that moved across the decision threshold.
The input check is not applied to changed images. Enlarging an image and resizing it again leaves it
nearly unchanged. The intervals are DeLong's, with the images of a patient as one cluster, and
differ slightly from the bootstrap intervals above.

{_robustness(config, "changed")}

The test images with parts covered by a uniform grey, as a check for shortcuts. A network that used
the lungs alone would not separate the classes without them (AUC .5), and would lose nothing without
the border:

{_robustness(config, "hidden")}

## How it was trained

Recipe `{recipe["name"]}`, {training["epochs"]} epochs (best: {training["best_epoch"]}),
{training["seconds"] / 60:.0f} minutes on {training["machine"]}. {_seeds(config)}
{_start(config)}{_limit(config)}

    python train.py {training["command"]}

{background}## Known shortcuts of the data

At their original size the images of the two classes differ in size and aspect ratio, which a
network could learn. All images are resized to 224 x 224 here, which removes the size but not every
trace of the aspect ratio. Published ablations show that networks trained on this set still separate
the classes with the lungs covered: part of what they use is not in the lungs. The second table
under Robustness shows how far that holds for this model. Letters near the border ("R", "L") mark
the side of the body, and a heat map may highlight them.
{_against_markers(recipe["augmentation"])}
"""


def _unreadable(paths: list[str]) -> str:
    """Which images were left out because they could not be read; nothing where none was."""
    if not paths:
        return ""
    named = ", ".join(f"`{path}`" for path in paths[:NAMED])
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f"\nLeft out because they could not be read ({len(paths)}): {named}{more}.\n"


def _test_use(config: dict[str, Any]) -> str:
    """How often the test images were scored; the only place of the card that says so."""
    changed = sum(len(config["robustness"][key]) - 1 for key in ("changed", "hidden"))
    rounding = ""
    if config.get("storage"):
        rounding = (
            " To measure the effect of storage (below), they were also predicted with the weights "
            "before rounding."
        )
    return (
        "Epoch, temperature, thresholds and input check were not chosen on test images. After "
        "these choices the model was scored on the test images once as they are, which gives the "
        f"results under Performance, and once in each of {changed} changed versions, which gives "
        f"the tables under Robustness.{rounding} Before, other models and earlier versions had "
        "been scored on the official test images more than a dozen times while this project was "
        "developed; docs/experiments.md lists each time. Test results are therefore optimistic: "
        "images that no model of this project was scored on may give lower numbers."
    )


def _below_exclusion(metrics: dict[str, Any]) -> str:
    """What the exclusion threshold does, in counts, and what it costs against the main one."""
    validation, test = (
        metrics[fold]["below_exclusion_threshold"] for fold in ("validation", "test")
    )
    main, exclusion = (
        metrics["test"]["confusion"],
        metrics["test"]["exclusion_threshold"]["confusion"],
    )
    rates = metrics["test"]["exclusion_threshold"]["metrics"]
    return (
        f"In validation, {validation['pneumonia']} of the {validation['images']} images below it "
        f"had pneumonia; on the test set, {test['pneumonia']} of {test['images']}. Used as the "
        "decision threshold it would have a sensitivity of "
        f"{_value(rates['sensitivity'], percent=True)} and a specificity of "
        f"{_value(rates['specificity'], percent=True)} on the test set: "
        f"{main['false_negative'] - exclusion['false_negative']} fewer missed and "
        f"{exclusion['false_positive'] - main['false_positive']} more wrongly flagged."
    )


def _value(estimate: dict[str, Any], *, percent: bool) -> str:
    return format_estimate(estimate_from_json(estimate), ".1%" if percent else ".3f")


_PERCENT = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


def _table(found: dict[str, Any]) -> str:
    rows = ["| metric | value (95% interval) |", "|---|---|"]
    for key, title in _SHOWN:
        rows.append(f"| {title} | {_value(found['metrics'][key], percent=key in _PERCENT)} |")
    return "\n".join(rows)


def _compared(metrics: dict[str, Any]) -> str:
    names = {"validation": "validation", "shifted_validation": "with shifted copies"}
    rows = [f"| metric | {' | '.join(names.values())} |", "|---|---|---|"]
    for key, title in _SHOWN[:4]:
        cells = [_value(metrics[name]["metrics"][key], percent=key in _PERCENT) for name in names]
        rows.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _subtypes(found: dict[str, Any]) -> str:
    rows = ["| subtype | images | sensitivity |", "|---|---|---|"]
    for name, part in found["by_subtype"].items():
        if name in ("bacteria", "virus"):
            positives = part["confusion"]["true_positive"] + part["confusion"]["false_negative"]
            value = _value(part["metrics"]["sensitivity"], percent=True)
            few = f", n = {positives}" if positives < SMALL_GROUP else ""
            rows.append(f"| {name} | {positives} | {value}{few} |")
    return "\n".join(rows)


def _perfect(found: dict[str, Any]) -> str:
    low, high = found["calibration_error_if_perfect"]
    error = found["metrics"]["calibration_error"]["value"]
    if low is None or high is None or error is None:
        return ""
    return describe_calibration(error, low, high)


def _undecided(found: dict[str, Any]) -> str:
    outside = found["outside_uncertain_band"]
    share = f"{1 - outside['share_decided']:.1%} of the test images lie there"
    accuracy = outside.get("metrics", {}).get("accuracy")
    if not accuracy:
        return f"{share}."
    return f"{share}; of the others {_value(accuracy, percent=True)} are classified correctly."


def _counts(counts: list[dict[str, Any]]) -> str:
    rows = ["| fold | normal | bacterial pneumonia | viral pneumonia |", "|---|---|---|---|"]
    for fold in ("train", "validation", "test"):
        images = {
            (row["label"], row["subtype"]): row["images"] for row in counts if row["fold"] == fold
        }
        normal = sum(n for (label, _), n in images.items() if label == "NORMAL")
        bacteria, virus = (images.get(("PNEUMONIA", kind), 0) for kind in ("bacteria", "virus"))
        rows.append(f"| {fold} | {normal} | {bacteria} | {virus} |")
    return "\n".join(rows)


def _robustness(config: dict[str, Any], key: str) -> str:
    rows = [
        "| images | ROC AUC (95% interval) | other result | crossed | sensitivity | specificity |",
        "|---|---|---|---|---|---|",
    ]
    for row in config["robustness"][key]:
        shares = (row[k] for k in ("other_verdict", "crossed", "sensitivity", "specificity"))
        cells = " | ".join(f"{share:.1%}" for share in shares)
        rows.append(f"| {row['name']} | {_value(row['roc_auc'], percent=False)} | {cells} |")
    return "\n".join(rows)


def _choices(recipe: dict[str, Any]) -> str:
    """Why the default recipe's network is cut; nothing for the others."""
    if recipe["name"] != "resnet50":
        return ""
    if recipe["last_stage"] != "conv4":
        return ""
    return (
        "The network ends after conv4, because the whole ResNet50, trained the same way, did no "
        "better on the shifted validation images, with three times the parameters and heat maps "
        "half as fine (`--set last_stage=conv5` trains it)."
    )


def _against_markers(augmentation: dict[str, Any]) -> str:
    if not (augmentation["marker"] and augmentation["frame"]):
        return "Training did nothing against that."
    return (
        f"In training one was added at random to {augmentation['marker']:.0%} of the images, and "
        f"borders were painted over on {augmentation['frame']:.0%}, so that they carry less "
        "information on the class."
    )


_ORIGINS = {
    "resnet50": "He, Zhang, Ren and Sun, CVPR 2016; MIT licence",
    "vgg16": "Simonyan and Zisserman, ICLR 2015; CC BY 4.0",
}


def _seeds(config: dict[str, Any]) -> str:
    split = config.get("split_seed", config["seed"])
    return f"Seed {config['seed']}, split seed {split}."


def _start(config: dict[str, Any]) -> str:
    if config["training"]["backbone_weights"] is None:
        return "It started from random weights."
    return f"It started from ImageNet weights ({_ORIGINS[config['recipe']['backbone']]})."


def _limit(config: dict[str, Any]) -> str:
    if config["limit"] is None:
        return ""
    return (
        f" At most {config['limit']} images of each class and fold were used: a trial run, whose "
        "numbers mean little."
    )


def _storage(storage: dict[str, Any] | None) -> str:
    if not storage:
        return ""
    return (
        "Large kernels are stored in half precision. Over the "
        f"{storage['images']} validation and test images this changed a probability by at most "
        f"{storage['largest_probability_change']:.4f} and changed {storage['verdicts_changed']} "
        "verdicts."
    )
