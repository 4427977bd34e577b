"""What is said of a prediction: the same words on the page, in the PDF, the CSV and `screen`.

`SHOWN_AS` names the result, `sentence` explains it, and `image_cautions` and `result_cautions` say
what to be careful about. A `Prediction` carries all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xray_core.imaging.radiograph import Radiograph
from xray_core.model.calibration import Calibration
from xray_core.model.gate import Outcome
from xray_core.model.neighbours import NearestImages

DISCLAIMER = (
    "A demonstration, not a medical device. Trained only on chest X-rays of children aged 1 to 5 "
    "from one hospital. It makes mistakes. Do not use it for patient care."
)
SHOWN_AS = {
    "PNEUMONIA": "Pneumonia suspected",
    "NORMAL": "No pneumonia detected",
    "UNCERTAIN": "Indeterminate",
    "REFUSED": "Not analysed",
    "UNREADABLE": "Unreadable",
}
NOT_A_CHEST_IMAGE = (
    "This does not look like a frontal chest X-ray such as those the model was trained on, so no "
    "probability is given."
)
UNLIKE_TRAINING = (
    "This image is unlike the training images (children aged 1 to 5, one hospital): perhaps "
    "another age, machine or projection. The result is less reliable."
)
TOO_SURE = "Probabilities near 0% or 100% can still be wrong."
MAP_AT_THE_BORDER = (
    "The Grad-CAM map lies mainly near the border of the image, where there is little or no lung: "
    "a marker, a shoulder, a tube or the edge may have raised the score. Review the lungs yourself."
)
FRAMED = (
    "A border surrounds the image and was analysed as part of it. Crop the image and read the new "
    "result."
)
YOUNGER = "The patient is younger than 1 year; the model was trained on ages 1 to 5."
OLDER = "The patient is older than 5 years; the model was trained on ages 1 to 5."
ACCURACY_DOES_NOT_APPLY = (
    "The accuracy on the test set does not apply to this image: see the cautions."
)

LIMITS = {"border_share": 0.6, "too_sure": 0.999}
"""Where cautions begin, for bundles whose config does not say: the share of a map's energy near
the border, and the probability (or one less it) that is too near to certainty. Few images should
lie beyond the latter: a caution on most images would warn of none."""


def percent(probability: float) -> str:
    """Return whole percents that never claim certainty."""
    if probability < 0.01:
        return "below 1%"
    if probability > 0.99:
        return "above 99%"
    return f"{probability:.0%}"


def share(value: float) -> str:
    """Return percents, with a decimal where whole ones would say little."""
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


def limit(config: Mapping[str, Any], name: str) -> float:
    """Return the caution limit `name` of a bundle's config, or the usual one."""
    return float(config.get("cautions", {}).get(name, LIMITS[name]))


@dataclass(frozen=True)
class BelowExclusion:
    """Images of one fold: `below` the exclusion threshold, `missed` of them with pneumonia.

    `images` and `pneumonia` count the whole fold, images that the input check refuses included.
    """

    below: int
    missed: int
    images: int
    pneumonia: int


def below_exclusion(config: Mapping[str, Any], fold: str = "validation") -> BelowExclusion | None:
    """Return what a bundle's stored evaluation counted below the exclusion threshold.

    None where the fold was not evaluated. The threshold itself is fitted to validation images and
    altered copies of them (`xray_core.model.calibration`), never to test images.
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


def sentence(
    verdict: str,
    probability: float,
    calibration: Calibration,
    below: BelowExclusion | None = None,
) -> str:
    """Return the result in one or two sentences that a clinician understands.

    `below` are the counts of validation images, told with a result below the exclusion threshold.
    """
    chance = (
        f"probability {percent(probability)} at a pre-test probability of {calibration.prior:.0%}"
    )
    if verdict == "UNCERTAIN":
        return (
            f"The model cannot tell ({chance}). Refer to a radiologist. Do not read this as weakly "
            "positive or weakly negative."
        )
    if verdict == "PNEUMONIA":
        return f"The model finds signs of pneumonia ({chance})."
    found = f"The model finds no signs of pneumonia ({chance})."
    threshold = f"{share(calibration.exclusion_threshold)} exclusion threshold"
    if probability >= calibration.exclusion_threshold:
        return f"{found} Pneumonia not excluded (probability above the {threshold})."
    if below is None:
        return f"{found} The probability is below the {threshold}."
    return (
        f"{found} The probability is below the {threshold}; {below.missed} of the {below.below} "
        "validation images below it had pneumonia."
    )


def exclusion_threshold(calibration: Calibration, config: Mapping[str, Any]) -> str:
    """Return what the exclusion threshold is and what lay below it, in counts of images."""
    parts = [
        f"Exclusion threshold {share(calibration.exclusion_threshold)}: the highest with a sensitivity of 99% "
        "on the validation images and altered copies of them."
    ]
    for fold in ("validation", "test"):
        counts = below_exclusion(config, fold)
        if counts is not None:
            parts.append(
                f"{fold.capitalize()} set: {counts.missed} of the {counts.below} images below it "
                f"had pneumonia ({counts.pneumonia} of all {counts.images})."
            )
    return " ".join(parts)


def image_cautions(radiograph: Radiograph, outcome: Outcome, *, framed: bool) -> tuple[str, ...]:
    """Return the cautions that concern the image itself, whatever the result, the gravest first."""
    found = [FRAMED] if framed else []
    if outcome == "caution":
        found.append(UNLIKE_TRAINING)
    # The notes say what the file states (a lateral view, another body part, the first frame only)
    # and what was done to the image before the analysis.
    found.extend(radiograph.notes)
    if radiograph.age_years is not None and radiograph.age_years < 1:
        found.append(YOUNGER)
    # A child is 5 until the sixth birthday.
    if radiograph.age_years is not None and radiograph.age_years >= 6:
        found.append(OLDER)
    return tuple(found)


def result_cautions(
    verdict: str,
    probability: float,
    neighbours: NearestImages,
    border_share: float,
    config: Mapping[str, Any],
) -> tuple[str, ...]:
    """Return the cautions that concern the result, the gravest first.

    `border_share` in [0, 1] is that of the Grad-CAM map. Where no pneumonia was detected the map
    shows what little there was, which may lie anywhere, and gives rise to no caution.
    """
    found = []
    if verdict in ("NORMAL", "PNEUMONIA") and neighbours.vote != verdict:
        found.append(neighbours_disagree(neighbours, config.get("neighbours_report")))
    if verdict != "NORMAL" and border_share > limit(config, "border_share"):
        found.append(MAP_AT_THE_BORDER)
    sure = limit(config, "too_sure")
    if probability > sure or probability < 1 - sure:
        found.append(TOO_SURE)
    return tuple(found)


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
    doubt = f"{most} of the similar training images ({voting} of {count}) are {kind}."
    if not report or not report["images"]:
        return doubt
    apart, images = report["contradicted"], report["images"]
    if not apart:
        return f"{doubt} They never contradicted the model in validation ({images} images)."
    return (
        f"{doubt} When they contradicted the model in validation ({apart} of {images} images), the "
        f"model was right in {report['network_right']}."
    )


def post_test(probability: float, pre_test: float) -> str:
    """Return a post-test `probability`, with the pre-test probability, as a sentence."""
    return (
        f"Post-test probability {percent(probability)} at a pre-test probability of {pre_test:.0%}."
    )


def what_the_map_shows(verdict: str, heatmap: NDArray[np.float32]) -> str:
    """Return the sentence that belongs beside a map, for its image's verdict."""
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


class Rate(Protocol):
    """A count of images with its share of them and a 95% interval, all shares in [0, 1]."""

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
    """Return what became of the test images of each class, a sentence a class.

    `rates` are those of `xray_core.evaluation.verdicts.verdict_rates`; () without images.
    """
    named = {"PNEUMONIA": "with pneumonia", "NORMAL": "without pneumonia"}
    return tuple(
        f"Of {sum(found.images for found in rates[label].values())} images {words}: "
        + "; ".join(f"{SHOWN_AS[verdict]} {rate(found)}" for verdict, found in rates[label].items())
        + "."
        for label, words in named.items()
        if label in rates
    )


def rate(found: Rate) -> str:
    """Return a rate as a count, a share and its interval: "376, 96.7% (94.4% to 98.1%)"."""
    return f"{found.images}, {found.value:.1%} ({found.low:.1%} to {found.high:.1%})"
