"""Curves as tables, and the figures drawn from them."""

import io

import numpy as np
import pandas as pd
import pytest
from simulated_bundle import CALIBRATION, history, predictions

from xray_core.evaluation.curves import (
    decision_curve,
    precision_recall_curve,
    roc_curve,
    score_histogram,
)
from xray_core.evaluation.figures import as_bytes, draw_confusion, draw_training, write_figures
from xray_core.evaluation.metrics import Confusion
from xray_core.evaluation.scores import prepare_scores

SIX = prepare_scores([1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.4, 0.7, 0.4, 0.1], range(6))


def test_the_roc_curve_steps_through_the_distinct_scores():
    curve = roc_curve(SIX).points

    assert curve["threshold"].tolist() == [np.inf, 0.9, 0.8, 0.7, 0.4, 0.1]
    assert curve["sensitivity"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert curve["false_positive_rate"].tolist() == pytest.approx([0, 0, 0, 1 / 3, 2 / 3, 1])


def test_precision_and_recall_match_scikit_learns():
    from sklearn import metrics

    curve = precision_recall_curve(SIX)
    precision, recall, thresholds = metrics.precision_recall_curve(SIX.label, SIX.probability)

    assert curve["threshold"].tolist() == thresholds[::-1].tolist()
    assert curve["precision"].tolist() == pytest.approx(precision[:-1][::-1].tolist())
    assert curve["recall"].tolist() == pytest.approx(recall[:-1][::-1].tolist())


def test_the_band_holds_the_curve_and_narrows_with_more_patients():
    def roc_of(patients):
        rng = np.random.default_rng(0)
        label = np.arange(patients) % 2 == 0
        score = 1 / (1 + np.exp(-(np.where(label, 1, -1) + rng.normal(size=patients))))
        return roc_curve(prepare_scores(label, score, range(patients), n_bootstrap=500))

    curve = roc_of(200)
    band = curve.band
    at = np.interp(0.2, curve.points["false_positive_rate"], curve.points["sensitivity"])
    row = band[np.isclose(band["false_positive_rate"], 0.2)].iloc[0]
    assert row["low"] < at < row["high"]
    wider = (band["high"] - band["low"]).mean()
    assert roc_of(2000).band.eval("high - low").mean() < wider / 2


def test_net_benefit_matches_the_hand_worked_one():
    # Prior, prevalence and images alike: 50%. At a risk of 60%, .9, .8 and .7 are positive: two
    # true and one false of six; odds 1.5, so 2/6 - 1.5/6 = 1/12. Treating all: .5 - .5 * 1.5.
    curve = decision_curve(SIX).set_index("risk")

    assert curve.loc[0.6, "model"] == pytest.approx(1 / 12)
    assert curve.loc[0.6, "all"] == pytest.approx(-0.25)
    assert (curve["none"] == 0).all()


def test_net_benefit_at_another_prevalence_reweights_the_classes():
    # At 20% the odds are quartered: .9 becomes 9/13 = .69, .8 becomes .5, .7 becomes .37. At 60%
    # one of three with pneumonia and no normal image is positive: .2 / 3.
    curve = decision_curve(SIX, 0.2).set_index("risk")

    assert curve.loc[0.6, "model"] == pytest.approx(0.2 / 3)


def test_histograms_hold_every_image_once():
    table = score_histogram(SIX, bins=10)

    assert table.groupby("label")["images"].sum().to_dict() == {"NORMAL": 3, "PNEUMONIA": 3}
    assert len(table) == 20


def test_one_class_has_no_curves():
    scores = prepare_scores([1, 1], [0.2, 0.9], range(2))

    assert roc_curve(scores).points.empty
    assert roc_curve(scores).band.empty
    assert decision_curve(scores).empty


def test_figures_are_written_as_images(tmp_path):
    from PIL import Image

    write_figures(tmp_path, predictions(), CALIBRATION, history(), best_epoch=6)

    names = {"roc.png", "calibration.png", "confusion.png", "training.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            assert min(image.size) > 400
            assert len(image.convert("L").getcolors(256) or []) > 5  # something is drawn


def test_the_confusion_matrix_shows_its_counts_as_text_in_the_svg():
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        svg = as_bytes(draw_confusion(Confusion(361, 29, 26, 208)), "svg").decode()

    for text in ("361", "29", "26", "208", "92.6%", "88.9%"):
        assert text in svg


def test_a_history_without_validation_is_drawn_too():
    figure = draw_training(pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.4]}))

    assert as_bytes(figure, "png").startswith(b"\x89PNG")
    assert io.BytesIO(as_bytes(figure, "svg")).read(5) == b"<?xml"
