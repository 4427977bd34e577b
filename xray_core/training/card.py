"""The model card: purpose, limits, performance, calibration, robustness and provenance."""

from __future__ import annotations

from typing import Any

from xray_core.evaluation.groups import SMALL_GROUP
from xray_core.evaluation.tables import describe_calibration, estimate_from_json
from xray_core.stats.intervals import format_estimate
from xray_core.training.card_external import other_hospitals
from xray_core.training.hidden import BLUR, DILATION, EDGE

LISTED = 10  # largest number of unreadable images that the card lists
_PERFORMANCE = {
    "roc_auc": "ROC AUC",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value, at the prevalence of the test set",
    "npv": "Negative predictive value, at the prevalence of the test set",
}
_CALIBRATION = {"calibration_error": "Expected calibration error", "brier": "Brier score"}
_COMPARED = ("roc_auc", "accuracy", "sensitivity", "specificity")
_ROBUSTNESS = ("other_verdict", "crossed", "firm", "sensitivity", "specificity")
_PERCENT = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
_WEIGHT_SOURCES = {
    "resnet50": "He, Zhang, Ren and Sun, CVPR 2016; MIT licence",
    "vgg16": "Simonyan and Zisserman, ICLR 2015; CC BY 4.0",
}


def model_card(config: dict[str, Any]) -> str:
    """Write the model card of a bundle.

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
    recipe, training, metrics = config["recipe"], config["training"], config["metrics"]
    test, calibration = metrics["test"], config["calibration"]
    parameters = sum(row["parameters"] for row in config["layers"])
    counts = test["natural_frequencies"]
    return f"""# {config["name"]}

{recipe["summary"]} {parameters / 1e6:.1f} million parameters. Version {config["version"]}.

## Intended use

The model estimates the probability of pneumonia from a frontal chest radiograph of a child aged 1
to 5 years. It is an explainable demo, not a medical device.

## What it must not be used for

- Decisions about a patient. The model has not been tested in clinical practice.
- Adults, newborns, lateral radiographs, CT, or images of anything other than a chest.
- Radiographs from other hospitals without local validation. Expect worse results on radiographs
  from another machine, archive or country. A published ResNet-50 with an AUC of .95 on this test
  set had an AUC of .54 on children from another hospital (Xin, Li and Yi, 2021).
- Distinguishing bacterial from viral pneumonia, or detecting other diseases. The model has two
  classes.

## Performance

{test_fold(config)}: {test["images"]} images of {test["patients"]} patients.
Decision threshold: {calibration["decision_threshold"]:.0%}. 95% confidence intervals: bootstrap
over patients.

{_table(test, _PERFORMANCE)}

- Of 100 images with pneumonia: {counts["detected"]} flagged, {counts["uncertain"]} indeterminate,
  {counts["missed"]} missed, {counts["refused"]} not analysed.
- Of 100 normal images: {counts["correctly_negative"]} correctly negative,
  {counts["normal_uncertain"]} indeterminate, {counts["wrongly_flagged"]} wrongly flagged,
  {counts["normal_refused"]} not analysed.
{_firm_results(test, calibration["uncertain"], config.get("unlike"))}
{_exclusion_threshold(metrics, calibration["exclusion_threshold"])}

Sensitivity by subtype:

{_subtypes(test)}

Validation fold, alone and together with its shifted copies, which were used to choose epoch,
calibration and thresholds:

{_validation(metrics)}

## Calibration

Probabilities are calibrated to a pre-test probability of {calibration["prior"]:.0%}. Both metrics
are of the test set, after shifting the log-odds to its prevalence; the calibration error uses ten
equal bins. 95% confidence intervals: bootstrap over patients.

{_table(test, _CALIBRATION)}

{_perfect_calibration(test)}

## Robustness

The test images after changes that occur between acquisition and reading. "Other result" is the
share of images with another result (no pneumonia detected, indeterminate, pneumonia suspected).
"Crossed" is the share that crossed the decision threshold. "Firm" is the share with a result that
is not indeterminate. Neither the input check nor the rule for images unlike the training images is
applied, so the share of firm results is larger than in the app.
Intervals are DeLong's, with the images of a patient as one cluster, and differ slightly from the
bootstrap intervals above. The table gives sensitivity and specificity without intervals.

{_robustness(config, "changed")}

The test images with parts hidden, as a check for shortcuts. {_hidden_parts(config["robustness"])}

{_robustness(config, "hidden")}

## Other hospitals

{other_hospitals(config.get("external"))}

## Training data

"Chest X-Ray Images (Pneumonia)", Kermany, Zhang and Goldbaum, Mendeley Data rscbjbr9sj, CC BY 4.0
(Kermany et al., Cell 172, 2018): children aged 1 to 5 years, one hospital (Guangzhou), images of
{config["dataset"]["patients"]} patients.

{image_counts(config["dataset"]["counts"])}

Kaggle's train and val folders were pooled and split by patient; no patient is in two folds. The
{origin_of_test_fold(config)}{limit_note(config)}
{unreadable_note(config["dataset"].get("unreadable", []))}
Known shortcuts: the original images of the two classes differ in size and aspect ratio. All images
are resized to 224 x 224, which removes the size but leaves a trace of the aspect ratio. A network
trained on this dataset may separate the classes even with the lungs covered; the second table under
Robustness shows to what extent this applies to this model. Letters
near the border ("R", "L") mark the side of the body, and a heat map may highlight them.
{_marker_augmentation(recipe["augmentation"])}

## Provenance

Recipe `{recipe["name"]}`, {training["epochs"]} epochs (best: {training["best_epoch"]}),
{training["seconds"] / 60:.0f} minutes on {training["machine"]}. Seed {config["seed"]}, split seed
{config.get("split_seed", config["seed"])}. {_initial_weights(config)}

    python train.py {training["command"]}

{_storage(config.get("storage"))}{_engines(config.get("engines"))}
## Use of the test set

{_test_use(config)}
{notes_section(config.get("notes"))}"""


def _table(metrics: dict[str, Any], names: dict[str, str]) -> str:
    rows = ["| metric | value (95% interval) |", "|---|---|"]
    rows += [
        f"| {title} | {_value(key, metrics['metrics'][key])} |" for key, title in names.items()
    ]
    return "\n".join(rows)


def _value(name: str, estimate: dict[str, Any]) -> str:
    """A stored metric with its interval, rates in percent."""
    form = ".1%" if name in _PERCENT else ".3f"
    return format_estimate(estimate_from_json(estimate), form)


def _firm_results(
    test: dict[str, Any], band: tuple[float, float], rule: dict[str, float] | None
) -> str:
    low, high = band
    firm = test["firm_results"]
    text = f"- {firm['share_decided']:.1%} of the test images have a firm result."
    accuracy = firm.get("metrics", {}).get("accuracy")
    if accuracy:
        text += f" Of these results, {_value('accuracy', accuracy)} are correct."
    text += f" A probability between {low:.0%} and {high:.0%} is indeterminate"
    if rule:
        text += (
            f"; for an image unlike the training images, one between {rule['low']:.0%} and "
            f"{rule['high']:.0%}"
        )
    return f"{text}."


def _exclusion_threshold(metrics: dict[str, Any], threshold: float) -> str:
    """The images below the exclusion threshold, and its effect as the decision threshold."""
    below = {fold: metrics[fold]["below_exclusion_threshold"] for fold in ("validation", "test")}
    validation, test = below["validation"], below["test"]
    exclusion = metrics["test"]["exclusion_threshold"]
    before, after = metrics["test"]["confusion"], exclusion["confusion"]
    return (
        f"- The exclusion threshold is {threshold:.1%}. In validation, {validation['pneumonia']} "
        f"of the {validation['images']} images below it had pneumonia; on the test set, "
        f"{test['pneumonia']} of {test['images']}. Used as the decision threshold, it has a "
        f"sensitivity of {_value('sensitivity', exclusion['metrics']['sensitivity'])} and a "
        f"specificity of {_value('specificity', exclusion['metrics']['specificity'])} on the test "
        f"set: {before['false_negative'] - after['false_negative']} fewer missed and "
        f"{after['false_positive'] - before['false_positive']} more wrongly flagged."
    )


def _subtypes(test: dict[str, Any]) -> str:
    rows = ["| subtype | images | sensitivity (95% interval) |", "|---|---|---|"]
    for name in ("bacteria", "virus"):
        if group := test["by_subtype"].get(name):
            images = group["confusion"]["true_positive"] + group["confusion"]["false_negative"]
            value = _value("sensitivity", group["metrics"]["sensitivity"])
            few = f", n = {images}" if images < SMALL_GROUP else ""
            rows.append(f"| {name} | {images} | {value}{few} |")
    return "\n".join(rows)


def _validation(metrics: dict[str, Any]) -> str:
    rows = ["| metric | validation | with shifted copies |", "|---|---|---|"]
    for key in _COMPARED:
        cells = [
            _value(key, metrics[fold]["metrics"][key])
            for fold in ("validation", "shifted_validation")
        ]
        rows.append(f"| {_PERFORMANCE[key]} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _perfect_calibration(test: dict[str, Any]) -> str:
    low, high = test["calibration_error_if_perfect"]
    error = test["metrics"]["calibration_error"]["value"]
    if low is None or high is None or error is None:
        return "The calibration error is not defined on these images."
    return describe_calibration(error, low, high)


def _robustness(config: dict[str, Any], key: str) -> str:
    rows = [
        "| images | ROC AUC (95% interval) | other result | crossed | firm | sensitivity | "
        "specificity |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in config["robustness"][key]:
        # Bundles of earlier versions have no share of firm results.
        shares = (row.get(k) for k in _ROBUSTNESS)
        cells = " | ".join("not measured" if share is None else f"{share:.1%}" for share in shares)
        rows.append(f"| {row['name']} | {_value('roc_auc', row['roc_auc'])} | {cells} |")
    return "\n".join(rows)


def _hidden_parts(robustness: dict[str, Any]) -> str:
    """How the parts were hidden, and what that can and cannot show."""
    masks = robustness.get("masks")
    if masks is None:  # a bundle of an earlier version
        return "Hidden parts are covered by a uniform grey level."
    if masks["source"] is None:
        return "There were neither masks of the lungs nor a lung network, so no lungs were hidden."
    if len(robustness["hidden"]) == 2:  # whole images, and the border hidden
        return "The lung network found lungs in none of the images, so no lungs were hidden."
    sources = {
        "human": "The lungs were outlined by people (V7 Labs, COVID-19 X-ray dataset, CC BY 4.0)",
        "predicted": "The lungs are those that the lung network finds",
    }
    return f"""{sources[masks["source"]]};
{masks["left_out"]} images without such a mask are left out. The whole image is the network's input:
it is not cropped to the lungs.

What fills a hidden part:

- "Blurred surroundings" and "blurred lungs": the Gaussian-weighted mean of the shown pixels, with a
  standard deviation of {BLUR:.0f} pixels (of 224). No grey level of the hidden part remains.
- "The blurred image" and "blurred": the image after a Gaussian blur with a standard deviation of
  {BLUR:.0f} pixels. The hidden part keeps its own grey levels, averaged over this distance, so a
  large opacity can still be seen.
- "Mean grey": the mean of the shown pixels; for the border, the mean of the whole image.
- "Dilated mask with a blurred edge": filled with the blurred surroundings; the mask is dilated by
  {DILATION} pixels, and its edge blurred with a standard deviation of {EDGE:.0f} pixels.

A network that used only the grey levels of the lungs would have an AUC of .5 when they are hidden,
except that the edge of the filled area shows the outline of the mask. The shape of the lungs
differs with age, position and inspiration, and an opacity can hide the border of a lung, so the
outline alone carries some information on the class. The row with the mask alone shows what this
network reads from it, and the dilated mask with a blurred edge shows less of it."""


def image_counts(counts: list[dict[str, Any]]) -> str:
    """Write the numbers of images by fold and class as a table."""
    rows = ["| fold | normal | bacterial pneumonia | viral pneumonia |", "|---|---|---|---|"]
    for fold in ("train", "validation", "test"):
        images = {
            (row["label"], row["subtype"]): row["images"] for row in counts if row["fold"] == fold
        }
        normal = sum(n for (label, _), n in images.items() if label == "NORMAL")
        bacteria, virus = (images.get(("PNEUMONIA", kind), 0) for kind in ("bacteria", "virus"))
        rows.append(f"| {fold} | {normal} | {bacteria} | {virus} |")
    return "\n".join(rows)


def limit_note(config: dict[str, Any]) -> str:
    """Write that only some images were used; empty if all were."""
    if config["limit"] is None:
        return ""
    return (
        f" Only {config['limit']} images of each class and fold were used: a trial run with little "
        "statistical value."
    )


def unreadable_note(paths: list[str]) -> str:
    """Write which images could not be read; empty if there are none."""
    if not paths:
        return ""
    listed = ", ".join(f"`{path}`" for path in paths[:LISTED])
    more = f" and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    return f"\nLeft out because they could not be read ({len(paths)}): {listed}{more}.\n"


def _marker_augmentation(augmentation: dict[str, Any]) -> str:
    if not (augmentation["marker"] and augmentation["frame"]):
        return "Training included no augmentation against this."
    return (
        f"In training, a letter was added at random to {augmentation['marker']:.0%} of the images, "
        f"and borders were painted over in {augmentation['frame']:.0%}, so that they carry less "
        "class information."
    )


def _initial_weights(config: dict[str, Any]) -> str:
    if config["training"]["backbone_weights"] is None:
        return "Initial weights: random."
    source = _WEIGHT_SOURCES.get(config["recipe"]["backbone"], "see the documentation of Keras")
    return f"Initial weights: ImageNet ({source})."


def _storage(storage: dict[str, Any] | None) -> str:
    if not storage:
        return ""
    return (
        "Large kernels are stored in half precision. Over the "
        f"{storage['images']} validation and test images, this changed probabilities by at most "
        f"{storage['largest_probability_change']:.4f}. Verdicts changed: "
        f"{storage['verdicts_changed']}.\n"
    )


def _engines(engines: dict[str, Any] | None) -> str:
    if not engines:
        return ""
    return (
        "\nBoth engines give the same results: on "
        f"{engines['images']} validation images, the logits of OpenVINO and TensorFlow differ by "
        f"at most {engines['largest_logit_difference']:.1e}.\n"
    )


def test_fold(config: dict[str, Any]) -> str:
    """Write which images the results of the card are measured on, without a full stop."""
    part = config.get("cross_validation")
    if part is None:
        return "Official test set"
    return (
        f"Part {part['fold']} of {part['folds']} of the training and validation images, held out "
        "in a cross-validation and called test images in this card"
    )


def origin_of_test_fold(config: dict[str, Any]) -> str:
    """Write where the images of the test fold come from, as a sentence without its article."""
    if "cross_validation" not in config:
        return "test fold is the official one."
    return "test fold is one part of them; the official test images were not used."


def _test_use(config: dict[str, Any]) -> str:
    """How often the test images were scored; no other section of the card says so."""
    robustness = config["robustness"]
    # The table of hidden parts begins with the whole images, which a network may get cropped.
    versions = len(robustness["changed"]) - 1 + len(robustness["hidden"])
    rounding = ""
    if config.get("storage"):
        rounding = (
            " To measure the effect of storage, they were also predicted with the weights before "
            "rounding."
        )
    return (
        "Epoch, temperature, thresholds and input check were chosen on the validation fold, partly "
        "with its shifted copies, not on test images. After that, this bundle was scored on the "
        "test images once as they are, which gives the results under Performance, and once in each "
        f"of {versions} other versions, which gives the tables under Robustness.{rounding} "
        f"{_optimism(config)}"
    )


def _optimism(config: dict[str, Any]) -> str:
    if "cross_validation" in config:
        return (
            "The recipes of this project were developed on the images of all parts, so these "
            "results are optimistic, and results on new images may be lower."
        )
    return (
        "The recipes of this project were developed with results on this test set known: "
        "docs/experiments.md lists each time a model was scored on it, including earlier bundles "
        "with the same weights. Test results are therefore optimistic, and results on new images "
        "may be lower."
    )


def notes_section(notes: str | None) -> str:
    """Write the section of notes; empty if there are none."""
    return f"\n## Notes on this model\n\n{notes.strip()}\n" if notes else ""
