"""The sentences of a prediction, so that page, report and table say the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xray_core.images import Radiograph
from xray_core.model.gate import Outcome

DISCLAIMER = (
    "A demonstration, not a medical device. The model knows only films of young children from one "
    "hospital, and it errs. Do not base care on it."
)
NOT_A_CHEST_FILM = (
    "This does not look like a frontal chest X-ray such as those the model was trained on, so no "
    "probability is given."
)
UNLIKE_TRAINING = (
    "This film is unlike those the model was trained on, which were of children of 1 to 5 years "
    "from one hospital: an adult, another machine or another projection may be why. Trust the "
    "result less."
)
UNCERTAIN = (
    "The model cannot tell: the probability lies where it often errs. Read this as refer the film "
    "to a radiologist, neither as a weak yes nor as a weak no."
)
TOO_SURE = (
    "A probability this near to 0% or 100% is not certainty: the network can be just as sure when "
    "it is wrong. Give it no more weight than any other clear result."
)
MAP_AT_THE_BORDER = (
    "The map lies mainly near the border of the film, where there is little or no lung: a marker, "
    "a shoulder, a tube or the edge may have raised the score, rather than the lungs. Judge the "
    "lungs yourself before you use this answer."
)
FRAMED = (
    "A flat frame surrounds the film, and the network judged it as if it were part of the film. "
    "Trim it away and read the new answer."
)
LATERAL = "The file says that this is a lateral view; the model was trained on frontal views only."
YOUNGER = "The patient is younger than 1 year; the model was trained on ages 1 to 5."
OLDER = "The patient is older than 5 years; the model was trained on ages 1 to 5."

LIMITS = {"border_share": 0.6, "too_sure": 0.999}
"""Where cautions begin, for bundles whose config does not say: the share of a map's energy near
the border, and the probability (or one less it) that is too near to certainty. Few films should lie
beyond the latter: a caution on most films would warn of none."""

VERDICTS = {
    "PNEUMONIA": "Signs of pneumonia",
    "NORMAL": "No signs of pneumonia",
    "UNCERTAIN": "Uncertain: refer to a radiologist",
    "REFUSED": "No answer for this picture",
    "UNREADABLE": "This file cannot be read",
}


def percent(probability: float) -> str:
    """Return whole percents that never claim certainty."""
    if probability < 0.01:
        return "below 1%"
    if probability > 0.99:
        return "above 99%"
    return f"{probability:.0%}"


def limit(config: dict[str, Any], name: str) -> float:
    """Return the caution limit `name` of a bundle's config, or the usual one."""
    return float(config.get("cautions", {}).get(name, LIMITS[name]))


def cautions(
    radiograph: Radiograph,
    probability: float,
    verdict: str,
    outcome: Outcome,
    config: dict[str, Any],
) -> tuple[str, ...]:
    """Return what to be careful about with this film, the gravest first."""
    found = []
    if outcome == "caution":
        found.append(UNLIKE_TRAINING)
    # The notes say what the file gives away: a side view, another body part, the first frame only.
    found.extend(radiograph.notes)
    if radiograph.age_years is not None and radiograph.age_years < 1:
        found.append(YOUNGER)
    # A child is 5 until the sixth birthday.
    if radiograph.age_years is not None and radiograph.age_years >= 6:
        found.append(OLDER)
    if verdict == "UNCERTAIN":
        found.append(UNCERTAIN)
    sure = limit(config, "too_sure")
    if probability > sure or probability < 1 - sure:
        found.append(TOO_SURE)
    return tuple(found)


def what_the_map_shows(verdict: str, heatmap: NDArray[np.float32]) -> str:
    """Return the sentence that belongs beside a map, for its film's verdict."""
    if not heatmap.any():
        return (
            "The map is empty: no area of the film raised the network's score for pneumonia by "
            "this method."
        )
    limits = (
        "It is scaled to its own maximum and is no outline of disease, and a map that looks "
        "plausible does not make the answer right."
    )
    if verdict == "NORMAL":
        return (
            "The network calls this film normal; the map shows which areas spoke for pneumonia "
            f"most even so. {limits}"
        )
    return f"The map shows which areas raised the network's score for pneumonia. {limits}"


def in_natural_frequencies(counts: dict[str, int] | None) -> str:
    """Return what the verdicts mean, from the `natural_frequencies` of a bundle's test films.

    Films that the gate refused count neither as found nor as missed, and are named if there are
    any. An empty text where there are no test films of both classes.
    """
    if not counts or not counts["pneumonia_films"] or not counts["normal_films"]:
        return ""
    text = (
        f"Of 100 films with pneumonia in the test set it calls {counts['called']}, is uncertain "
        f"about {counts['uncertain']} and misses {counts['missed']}; of 100 normal ones it wrongly "
        f"flags {counts['flagged']} and is uncertain about {counts['normal_uncertain']}."
    )
    if counts["refused"] or counts["normal_refused"]:
        text += (
            f" It refuses {counts['refused']} of the 100 with pneumonia and "
            f"{counts['normal_refused']} of the normal ones."
        )
    return text


def votes(report: dict[str, int]) -> str:
    """Return how often the nearest films contradicted the network on validation films.

    `report` is what `neighbours.vote_report` counted. An empty text where it counted no films.
    """
    films, apart = report["films"], report["contradicted"]
    if not films:
        return ""
    agreed = films - apart
    right = report["network_right"]
    together = f"both were right on {report['agreed_right']} of the {agreed} on which they agreed"
    if not apart:
        return f"On the {films} validation films they never contradicted the verdict; {together}."
    return (
        f"On {films} validation films they contradicted the verdict {apart} times "
        f"({_share(apart / films)}); the verdict was right on {right} of these, they on "
        f"{apart - right}; {together}."
    )


def _share(share: float) -> str:
    """Return percents, with a decimal where whole ones would say little."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
