"""The meaning of each metric in one or two sentences, with natural frequencies."""

from __future__ import annotations

import math

from xray_core.evaluation.metrics import Metrics


def explain_metrics(metrics: Metrics) -> dict[str, str]:
    """Return the meaning of each metric on these images, by metric name."""
    n = {  # of 100
        name: "an undefined number" if math.isnan(e.value) else f"{100 * e.value:.0f}"
        for name, e in metrics.estimates()
    }
    at = f"at a prevalence of {metrics.stated_prevalence:.0%}"
    share = metrics.prevalence
    return {
        "accuracy": (
            f"Of 100 of these images, {n['accuracy']} are classified correctly. Accuracy depends "
            f"on the share of pneumonia (here {share:.1%}), so it does not transfer to practice."
        ),
        "sensitivity": (
            f"Of 100 images with pneumonia, {n['sensitivity']} are classified as pneumonia."
        ),
        "specificity": f"Of 100 normal images, {n['specificity']} are classified as normal.",
        "ppv": f"Of 100 images classified as pneumonia, {n['ppv']} show pneumonia, {at}.",
        "npv": f"Of 100 images classified as normal, {n['npv']} are normal, {at}.",
        "f1": (
            "The harmonic mean of sensitivity and positive predictive value on these images; 1 is "
            "best. It ignores true negatives and depends on the share of pneumonia."
        ),
        "balanced_accuracy": (
            "The mean of sensitivity and specificity: the accuracy if half of the images showed "
            "pneumonia. Guessing gives 50%."
        ),
        "mcc": (
            "The correlation between reference label and model output: 1 is perfect, 0 is "
            "guessing, -1 is always wrong. It uses all four cells of the confusion matrix."
        ),
        "positive_likelihood_ratio": (
            "Sensitivity / (1 - specificity). A result of pneumonia multiplies the odds of "
            "pneumonia by this number; above 10 the change is large."
        ),
        "negative_likelihood_ratio": (
            "(1 - sensitivity) / specificity. A result of normal multiplies the odds of pneumonia "
            "by this number; below 0.1 the change is large."
        ),
        "roc_auc": (
            "Of 100 pairs of one image with pneumonia and one normal image, the image with "
            f"pneumonia has the higher probability in {n['roc_auc']}. Independent of the "
            "threshold."
        ),
        "average_precision": (
            "The positive predictive value on these images, averaged over all sensitivities; "
            f"guessing gives {share:.3f}. Independent of the threshold."
        ),
        "brier": (
            "The mean squared difference between probability and reference label: 0 is perfect. "
            f"A constant probability of {share:.1%} gives {share * (1 - share):.3f}."
        ),
        "calibration_error": (
            "The mean difference between predicted and observed share of pneumonia, in ten bins: "
            "of 100 images with a probability of 80%, 80 should show pneumonia. 0 is perfect. In a "
            "finite set chance alone gives more than 0; see Calibration."
        ),
        "log_loss": (
            "The mean of -ln(probability of the reference label): 0 is perfect. Confident errors "
            "increase it most."
        ),
    }


def natural_frequencies(metrics: Metrics) -> str:
    """Return the counts per 100 images of each class and per 1,000 patients at the prevalence."""
    sensitivity, specificity = metrics.sensitivity.value, metrics.specificity.value
    if math.isnan(sensitivity) or math.isnan(specificity):
        return (
            "All images belong to one class. Metrics that need both classes are shown as not "
            "defined."
        )
    share = metrics.stated_prevalence
    detected = round(100 * sensitivity)
    true_positives = 1000 * share * sensitivity
    flagged = true_positives + 1000 * (1 - share) * (1 - specificity)
    return (
        f"Of 100 images with pneumonia the model flags **{detected}** and misses "
        f"**{100 - detected}**; of 100 normal images it flags "
        f"**{100 - round(100 * specificity)}**. Of 1,000 patients, {1000 * share:.0f} of them with "
        f"pneumonia, it would flag **{flagged:.0f}**; **{true_positives:.0f}** of these have "
        "pneumonia."
    )
