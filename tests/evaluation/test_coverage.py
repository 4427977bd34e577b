"""The intervals cover the truth in 95% of simulated test sets, with several images a patient."""

import numpy as np
import pytest
from simulated_tables import evaluate_labels

DRAWS = 2000
COVERED = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "mcc", "roc_auc")


def draw_images(rng, patients):
    """A test set like the real one: half of the patients have pneumonia; 1.92 and 1.17 images."""
    pneumonia = rng.random(patients) < 0.5
    images = 1 + rng.poisson(np.where(pneumonia, 0.92, 0.17))
    patient = np.repeat(np.arange(patients), images)
    of_patient = rng.normal(size=patients) * 0.8  # images of a patient resemble each other
    of_image = rng.normal(size=len(patient)) * 1.1
    logit = np.where(pneumonia, 2.0, -2.0)[patient] + of_patient[patient] + of_image
    return pneumonia[patient], 1 / (1 + np.exp(-logit)), patient


@pytest.mark.slow
def test_the_intervals_cover_the_truth_in_95_of_100_test_sets():
    from sklearn.metrics import matthews_corrcoef, roc_auc_score

    rng = np.random.default_rng(20)
    label, score, _ = draw_images(rng, 2_000_000)  # the population itself
    positive = score >= 0.5
    truth = {
        "accuracy": np.mean(positive == label),
        "sensitivity": np.mean(positive[label]),
        "specificity": np.mean(~positive[~label]),
        "ppv": np.mean(label[positive]),
        "npv": np.mean(~label[~positive]),
        "mcc": matthews_corrcoef(label, positive),
        "roc_auc": roc_auc_score(label, score),
    }
    covered = dict.fromkeys(COVERED, 0)
    for draw in range(DRAWS):
        metrics = evaluate_labels(
            *draw_images(rng, 403), threshold=0.5, n_bootstrap=1000, seed=draw
        )
        for name in COVERED:
            estimate = getattr(metrics, name)
            covered[name] += bool(estimate.low <= truth[name] <= estimate.high)
    coverage = {name: count / DRAWS for name, count in covered.items()}
    print(coverage)
    for name, share in coverage.items():
        assert 0.935 <= share <= 0.965, coverage | {"failed": name}
