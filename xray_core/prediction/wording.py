"""The sentences about a result: the same on the page, in the PDF, in the CSV and from `screen`.

`xray_core.labels.SHOWN_AS` names the result, `explain_result` explains it, and `image_cautions` and
`result_cautions` list the cautions. A `Prediction` holds all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xray_core.imaging.adjustment import UNADJUSTED
from xray_core.imaging.radiograph import Radiograph
from xray_core.labels import SHOWN_AS
from xray_core.model.calibration import Calibration
from xray_core.model.gate import Outcome
from xray_core.model.neighbours import NearestImages
from xray_core.stats.intervals import format_interval

DISCLAIMER = (
    "A demonstration, not a medical device. Trained only on chest X-rays of children aged 1 to 5 "
    "from one hospital. It makes mistakes. Do not use it for patient care."
)
NOT_A_CHEST_IMAGE = (
    "This does not look like a frontal chest X-ray such as those the model was trained on, so no "
    "probability is given."
)
NO_LUNGS = (
    "Two lung fields of plausible size and place were not found. The model needs a frontal chest "
    "X-ray that shows both lungs."
)
UNLIKE_TRAINING = (
    "This image is unlike the training images (children aged 1 to 5, one hospital): possibly "
    "another age, device or projection. The model is less reliable on such images."
)
RANKING_ONLY = "ranking only"
LUNGS_OUTLINED = "Blue line: outline of the lungs, found by the lung network."
TOO_SURE = "Probabilities near 0% or 100% can still be wrong."
MAP_OUTSIDE_LUNGS = (
    "The Grad-CAM map lies mostly outside the lungs: a marker, a shoulder, a tube or the edge of "
    "the image may have raised the score. Review the lungs yourself."
)
HAS_BORDER = (
    "A border surrounds the image and was analysed as part of it. Crop the image and read the new "
    "result."
)
YOUNGER = "The patient is younger than 1 year; the model was trained on ages 1 to 5."
OLDER = "The patient is older than 5 years; the model was trained on ages 1 to 5."
ACCURACY_DOES_NOT_APPLY = (
    "The accuracy on the test set does not apply to this image: see the cautions."
)

LIMITS = {"map_in_lungs": 0.5, "too_sure": 0.999}
"""Default limits for cautions, for bundles whose config has none: the share of a map's sum inside
the lungs below which MAP_OUTSIDE_LUNGS is shown, and the probability of either class above which
TOO_SURE is shown. The latter should concern few images: a caution on most images would be ignored.
"""


def percent(probability: float) -> str:
    """Return a probability in [0, 1] in whole percents, never as 0% or 100%."""
    if probability < 0.01:
        return "below 1%"
    if probability > 0.99:
        return "above 99%"
    return f"{probability:.0%}"


def share(value: float) -> str:
    """Return a share in [0, 1] in percents, with one decimal below 10%."""
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


def limit(config: Mapping[str, Any], name: str) -> float:
    """Return the caution limit `name` of a bundle's config, or its default in LIMITS."""
    return float(config.get("cautions", {}).get(name, LIMITS[name]))


@dataclass(frozen=True)
class BelowExclusion:
    """Counts of one fold: images `below` the exclusion threshold, and `missed`: with pneumonia.

    `images` and `pneumonia` count the whole fold, including images that the input check refuses.
    """

    below: int
    missed: int
    images: int
    pneumonia: int


def count_below_exclusion(
    config: Mapping[str, Any], fold: str = "validation"
) -> BelowExclusion | None:
    """Return the counts below the exclusion threshold, from the evaluation stored in a bundle.

    The threshold is fitted to validation images and altered copies of them
    (`xray_core.model.calibration`), never to test images.

    Parameters
    ----------
    config
        The config of the bundle.
    fold
        "validation" or "test".

    Returns
    -------
    BelowExclusion or None
        None where the fold was not evaluated.
    """
    evaluated = config.get("metrics", {}).get(fold, {}).get("exclusion_threshold")
    if not evaluated:
        return None
    counts = evaluated["confusion"]
    missed = counts["false_negative"]
    return BelowExclusion(
        below=missed + counts["true_negative"],
        missed=missed,
        images=sum(counts.values()),
        pneumonia=missed + counts["true_positive"],
    )


def explain_result(
    verdict: str,
    probability: float,
    calibration: Calibration,
    below: BelowExclusion | None = None,
    *,
    unlike: bool = False,
) -> str:
    """Return the result in one or two sentences for a clinician.

    Parameters
    ----------
    verdict
        "NORMAL", "PNEUMONIA" or "UNCERTAIN".
    probability
        Calibrated probability of pneumonia in [0, 1].
    calibration
        The calibration of the model.
    below
        Counts of validation images, stated where the probability is below the exclusion threshold.
    unlike
        Whether the result is UNCERTAIN because the image is unlike the training images.
    """
    chance = (
        f"probability {percent(probability)} at a pre-test probability of {calibration.prior:.0%}"
    )
    if unlike:
        return (
            f"The model was not trained on images like this one. Its {chance} is not calibrated "
            "for such images and may be used only to order images. Refer to a radiologist. Do not "
            "read this as weakly positive or weakly negative."
        )
    if verdict == "UNCERTAIN":
        return (
            f"The model cannot tell ({chance}). Refer to a radiologist. Do not read this as weakly "
            "positive or weakly negative."
        )
    if verdict == "PNEUMONIA":
        return f"The model finds signs of pneumonia ({chance})."
    no_signs = f"The model finds no signs of pneumonia ({chance})."
    threshold = f"{share(calibration.exclusion_threshold)} exclusion threshold"
    if probability >= calibration.exclusion_threshold:
        return f"{no_signs} Pneumonia not excluded (probability above the {threshold})."
    if below is None:
        return f"{no_signs} The probability is below the {threshold}."
    return (
        f"{no_signs} The probability is below the {threshold}; {below.missed} of the {below.below} "
        "validation images below it had pneumonia."
    )


def describe_exclusion_threshold(calibration: Calibration, config: Mapping[str, Any]) -> str:
    """Return the exclusion threshold, with the counts of images below it, in sentences."""
    parts = [
        f"Exclusion threshold {share(calibration.exclusion_threshold)}: the highest with a "
        "sensitivity of 99% on the validation images and altered copies of them."
    ]
    for fold in ("validation", "test"):
        counts = count_below_exclusion(config, fold)
        if counts is not None:
            parts.append(
                f"{fold.capitalize()} set: {counts.missed} of the {counts.below} images below it "
                f"had pneumonia ({counts.pneumonia} of all {counts.images})."
            )
    return " ".join(parts)


def image_cautions(
    radiograph: Radiograph, outcome: Outcome, *, has_border: bool
) -> tuple[str, ...]:
    """Return the cautions that concern the image itself, the most serious first.

    Parameters
    ----------
    radiograph
        The image; its pixels are not used.
    outcome
        Outcome of the input check.
    has_border
        Whether the image has a border that can be cropped.
    """
    cautions = [HAS_BORDER] if has_border else []
    if outcome == "caution":
        cautions.append(UNLIKE_TRAINING)
    # The notes state facts of the file: a lateral view, another body part, the first frame only.
    cautions.extend(radiograph.notes)
    if radiograph.adjustment != UNADJUSTED:
        cautions.append(radiograph.adjustment.sentence)
    if radiograph.age_years is not None and radiograph.age_years < 1:
        cautions.append(YOUNGER)
    # A child is 5 until the sixth birthday.
    if radiograph.age_years is not None and radiograph.age_years >= 6:
        cautions.append(OLDER)
    return tuple(cautions)


def result_cautions(
    verdict: str,
    probability: float,
    neighbours: NearestImages,
    map_in_lungs: float | None,
    config: Mapping[str, Any],
) -> tuple[str, ...]:
    """Return the cautions that concern the result, the most serious first.

    Parameters
    ----------
    verdict
        "NORMAL", "PNEUMONIA" or "UNCERTAIN".
    probability
        Calibrated probability of pneumonia in [0, 1].
    neighbours
        The most similar training images.
    map_in_lungs
        Share in [0, 1] of the Grad-CAM map inside the lungs, or None. It is not used where no
        pneumonia was detected, since the map then shows small contributions that may lie anywhere.
    config
        The config of the bundle.
    """
    cautions = []
    if verdict in ("NORMAL", "PNEUMONIA") and neighbours.vote != verdict:
        cautions.append(neighbours_disagree(neighbours, config.get("neighbours_report")))
    if (
        verdict != "NORMAL"
        and map_in_lungs is not None
        and map_in_lungs < limit(config, "map_in_lungs")
    ):
        cautions.append(MAP_OUTSIDE_LUNGS)
    sure = limit(config, "too_sure")
    if probability > sure or probability < 1 - sure:
        cautions.append(TOO_SURE)
    return tuple(cautions)


def nearest_images(neighbours: NearestImages) -> str:
    """Return the number of the most similar training images of each kind, as a sentence."""
    parts = [
        f"{neighbours.normal} normal",
        f"{neighbours.bacterial} bacterial pneumonia",
        f"{neighbours.viral} viral pneumonia",
    ]
    if neighbours.pneumonia:
        parts.append(f"{neighbours.pneumonia} pneumonia of unknown kind")
    return (
        f"Of the {len(neighbours.positions)} most similar training images: {', '.join(parts)}. "
        "Similarity uses the same network, so it is not independent evidence."
    )


def neighbours_disagree(neighbours: NearestImages, report: Mapping[str, int] | None) -> str:
    """Return the caution that the similar training images contradict the result.

    `report` is the result of `neighbours.count_contradictions` on validation images, or None.
    """
    count = len(neighbours.positions)
    voting = neighbours.normal if neighbours.vote == "NORMAL" else count - neighbours.normal
    kind = "normal" if neighbours.vote == "NORMAL" else "pneumonia"
    most = "Most" if 2 * voting > count else "Half"
    statement = f"{most} of the similar training images ({voting} of {count}) are {kind}."
    if not report or not report["images"]:
        return statement
    contradicted, images = report["contradicted"], report["images"]
    if not contradicted:
        return f"{statement} They never contradicted the model in validation ({images} images)."
    return (
        f"{statement} When they contradicted the model in validation ({contradicted} of {images} "
        f"images), the model was right in {report['network_right']}."
    )


def describe_post_test(probability: float, pre_test: float) -> str:
    """Return a sentence with a post-test `probability` and its pre-test probability."""
    return (
        f"Post-test probability {percent(probability)} at a pre-test probability of {pre_test:.0%}."
    )


def describe_map(verdict: str, heatmap: NDArray[np.float32]) -> str:
    """Return the sentences on a map (H, W) of an image with this verdict."""
    if not heatmap.any():
        return (
            "The map is empty: no area of the image raised the network's score for pneumonia by "
            "this method."
        )
    limits = (
        "It is scaled to its own maximum and does not outline disease. A plausible map does not "
        "make the result right."
    )
    if verdict == "NORMAL":
        return (
            "No pneumonia was detected; the map shows which areas contributed most to the "
            f"pneumonia score. {limits}"
        )
    return f"The map shows which areas raised the network's score for pneumonia. {limits}"


def describe_map_in_lungs(map_in_lungs: float | None) -> str:
    """Return a sentence on the share in [0, 1] of the Grad-CAM map in the lungs, "" for None."""
    return "" if map_in_lungs is None else f"Grad-CAM map in lungs: {share(map_in_lungs)}."


class Rate(Protocol):
    """A count of images, its share and a 95% interval, all shares in [0, 1]."""

    @property
    def images(self) -> int: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


TEST_SET = (
    "Test images that passed the input check without caution: chest X-rays of children aged 1 to 5 "
    "from the hospital of the training images. 95% intervals by patient."
)


def accuracy(rates: Mapping[str, Mapping[str, Rate]]) -> tuple[str, ...]:
    """Return the results of the test images of each class, one sentence per class.

    Parameters
    ----------
    rates
        Rates by label and verdict, from `xray_core.evaluation.verdicts.verdict_rates`.
    """
    classes = {"PNEUMONIA": "with pneumonia", "NORMAL": "without pneumonia"}
    return tuple(
        f"Of {sum(rate.images for rate in rates[label].values())} images {description}: "
        + "; ".join(
            f"{SHOWN_AS[verdict]}: {format_rate(rate)}" for verdict, rate in rates[label].items()
        )
        + "."
        for label, description in classes.items()
        if label in rates
    )


def format_rate(rate: Rate) -> str:
    """Return a rate as a count, a share and its interval: "376 (96.7%, 94.4% to 98.1%)"."""
    return f"{rate.images} ({rate.value:.1%}, {format_interval(rate.low, rate.high)})"
