"""The intervals hold what they promise: coverage of 95% by simulation, with images in patients."""

import numpy as np
import pytest

from xray_core.evaluation.metrics import evaluate_scores

DRAWS = 2000
COVERED = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "mcc", "roc_auc")


def draw_images(rng, patients):
    """A test set like the real one: half of the patients are ill, with 1.92 images each to 1.17."""
    ill = rng.random(patients) < 0.5
    images = 1 + rng.poisson(np.where(ill, 0.92, 0.17))
    patient = np.repeat(np.arange(patients), images)
    of_patient = rng.normal(size=patients) * 0.8  # images of a patient resemble each other
    of_image = rng.normal(size=len(patient)) * 1.1
    logit = np.where(ill, 2.0, -2.0)[patient] + of_patient[patient] + of_image
    return ill[patient], 1 / (1 + np.exp(-logit)), patient


@pytest.mark.slow
def test_the_intervals_cover_the_truth_in_95_of_100_test_sets():
    from sklearn.metrics import matthews_corrcoef, roc_auc_score

    rng = np.random.default_rng(20)
    label, score, _ = draw_images(rng, 2_000_000)  # the population itself
    called = score >= 0.5
    truth = {
        "accuracy": np.mean(called == label),
        "sensitivity": np.mean(called[label]),
        "specificity": np.mean(~called[~label]),
        "ppv": np.mean(label[called]),
        "npv": np.mean(~label[~called]),
        "mcc": matthews_corrcoef(label, called),
        "roc_auc": roc_auc_score(label, score),
    }
    held = dict.fromkeys(COVERED, 0)
    for draw in range(DRAWS):
        found = evaluate_scores(*draw_images(rng, 403), threshold=0.5, n_bootstrap=1000, seed=draw)
        for name in COVERED:
            estimate = getattr(found, name)
            held[name] += bool(estimate.low <= truth[name] <= estimate.high)
    coverage = {name: count / DRAWS for name, count in held.items()}
    print(coverage)
    for name, share in coverage.items():
        assert 0.935 <= share <= 0.965, coverage | {"failed": name}
