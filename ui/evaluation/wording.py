"""The sentence behind each number: what it says about these images, in natural frequencies."""

from __future__ import annotations

import math

from xray_core.evaluation.metrics import Metrics


def meanings(found: Metrics) -> dict[str, str]:
    """By metric name: what the number means, with the number in it."""
    per_hundred = {
        name: "an unknown number" if math.isnan(e.value) else f"{100 * e.value:.0f}"
        for name, e in found.estimates()
    }
    n = per_hundred
    at = f"where {found.stated_prevalence:.0%} of those examined have pneumonia"
    return {
        "accuracy": (
            f"Of 100 of these images, {n['accuracy']} are called rightly. It depends on how many of "
            f"them show pneumonia (here {found.prevalence:.1%}), so it says little of a clinic."
        ),
        "sensitivity": f"Of 100 images with pneumonia, {n['sensitivity']} are called pneumonia.",
        "specificity": f"Of 100 normal images, {n['specificity']} are called normal.",
        "ppv": f"Of 100 images that the model calls pneumonia, {n['ppv']} are, {at}.",
        "npv": f"Of 100 images that the model calls normal, {n['npv']} are, {at}.",
        "f1": (
            "The harmonic mean of sensitivity and positive predictive value on these images; 1 is "
            "best. It ignores normal images called normal, and moves with the share of pneumonia."
        ),
        "balanced_accuracy": (
            "The mean of sensitivity and specificity: the accuracy if half of the images showed "
            "pneumonia. 50% is guessing."
        ),
        "mcc": (
            "The correlation between what an image is and what it is called: 1 perfect, 0 guessing, "
            "-1 always wrong. All four cells of the table count."
        ),
        "positive_likelihood_ratio": (
            "How many times as often an image with pneumonia is called pneumonia as a normal one. It "
            "multiplies the odds of pneumonia when the model says so; above 10 it changes much."
        ),
        "negative_likelihood_ratio": (
            "How many times as often an image with pneumonia is called normal as a normal one. It "
            "multiplies the odds of pneumonia when the model says normal; under 0.1 changes much."
        ),
        "roc_auc": (
            f"Of 100 pairs of an image with pneumonia and a normal one, the one with pneumonia has "
            f"the higher probability in {n['roc_auc']}. No threshold enters."
        ),
        "average_precision": (
            "The positive predictive value on these images, averaged over all sensitivities; "
            f"guessing would have {found.prevalence:.3f}. No threshold enters."
        ),
        "brier": (
            "The mean squared distance between probability and truth: 0 is perfect, and "
            f"{found.prevalence * (1 - found.prevalence):.3f} is what stating the share of "
            "pneumonia for every image would have."
        ),
        "calibration_error": (
            "How far probabilities are from what was observed, on average, in ten bins: if it says "
            "80% for 100 images, 80 should show pneumonia. 0 is perfect, but no finite test set "
            "measures 0; the calibration section says what chance alone gives."
        ),
        "log_loss": (
            "The mean surprise at the truth (natural logarithm): 0 is perfect; one confident error "
            "costs much."
        ),
    }


def frequencies(found: Metrics) -> str:
    """What the threshold does to 100 images of each kind, and to 100 people at the prevalence."""
    if math.isnan(found.sensitivity.value) or math.isnan(found.specificity.value):
        return "Images of one class alone: what needs both is not defined."
    hit = round(100 * found.sensitivity.value)
    clear = round(100 * found.specificity.value)
    share = found.stated_prevalence
    called = found.sensitivity.value * share + (1 - found.specificity.value) * (1 - share)
    ill = f"{1000 * share:.0f}"
    return (
        f"Of 100 images with pneumonia it calls **{hit}** pneumonia and misses **{100 - hit}**; of "
        f"100 normal ones it wrongly flags **{100 - clear}**. Among 1,000 people examined, {ill} "
        f"of them with pneumonia, it would call **{1000 * called:.0f}**, "
        f"**{1000 * share * found.sensitivity.value:.0f}** of them rightly."
    )
