"""The Evaluation page, from simulated predictions."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from page_tools import ROOT, page_text
from simulated_bundle import predictions, write_bundle

from ui.evaluation.comparison import _p

SECTIONS = (
    "All metrics",
    "ROC and PR",
    "Score distribution",
    "Calibration",
    "Clinical utility",
    "Groups",
    "Errors",
    "Compare",
)


@pytest.fixture
def page(open_page, models_folder):
    write_bundle(models_folder)
    return open_page("evaluation")


def select(at, key, value):
    [control] = [w for w in at.get("button_group") if w.key == key]
    return control.set_value(value).run()


def metric(at, label):
    [found] = [m for m in at.metric if m.label == label]
    return found


def test_the_headline_comes_with_intervals_before_any_slider(page):
    assert not page.exception
    labels = [m.label for m in page.metric]
    assert labels[:5] == ["Sensitivity", "Specificity", "Accuracy", "ROC AUC", "Calibration error"]
    test = predictions().query("fold == 'test'")
    pneumonia = test["label"] == "PNEUMONIA"
    sensitivity = (test.loc[pneumonia, "probability"] >= 0.5).mean()
    assert metric(page, "Sensitivity").value == f"{sensitivity:.1%}"
    assert " to " in metric(page, "Sensitivity").delta
    assert "of 403 patients" in page_text(page)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_opens(page, section):
    select(page, "evaluation_section", section)

    assert not page.exception
    assert not page.error


def test_the_counts_are_told_apart_from_the_prediction_pages(page):
    test = predictions().query("fold == 'test'")
    uncertain = test["probability"].between(0.35, 0.65).sum()

    text = page_text(page)
    assert "These counts are two-way" in text
    assert f"it would show {uncertain} as Indeterminate" in text


def test_subtypes_are_listed_with_their_own_images_and_patients(page):
    select(page, "evaluation_section", "Groups")

    kinds = page.dataframe[0].value.set_index("Group")
    test = predictions().query("fold == 'test' and subtype == 'virus'")
    row = kinds.loc["Viral pneumonia"]
    assert row["Images"] == row["With pneumonia"] == len(test)
    assert row["Patients"] == test["patient"].nunique()


def test_bins_with_few_images_carry_their_number_and_interval(page):
    select(page, "evaluation_section", "Calibration")

    bins = page.dataframe[0].value
    few = bins[bins["images"] < 20]
    assert len(few)
    for row in few.itertuples():
        assert f", n = {row.images}" in row.observed
        assert " to " in row.observed


def test_small_p_values_are_written_as_inequalities():
    assert [_p(value) for value in (0.0004, 0.001, 0.0456, float("nan"))] == [
        "p < 0.001",
        "p = 0.001",
        "p = 0.046",
        "p not defined",
    ]


def test_curves_of_many_images_are_thinned_for_the_browser():
    import numpy as np
    import pandas as pd

    from ui.evaluation.groups import accuracy_chart
    from ui.evaluation.roc_and_pr import precision_recall_chart, roc_chart
    from xray_core.evaluation.curves import precision_recall_curve, roc_curve
    from xray_core.evaluation.groups import accuracy_against_share
    from xray_core.evaluation.metrics import evaluate
    from xray_core.evaluation.scores import prepare_scores

    probability = np.random.default_rng(0).random(9000)
    label = np.arange(9000) % 2 == 0
    scores = prepare_scores(label, probability, np.arange(9000), n_bootstrap=10)
    metrics = evaluate(scores, threshold=0.5)
    curve = roc_curve(scores)
    drawn = [
        roc_chart(curve, {"decision threshold": metrics}),
        precision_recall_chart(precision_recall_curve(scores), 0.5, metrics),
        accuracy_chart(accuracy_against_share(label, probability, 0.5), 0.9, 0.5),
    ]

    assert len(curve.points) == 9001
    for chart in drawn:
        data = chart.to_dict()["datasets"].values()
        assert max(len(rows) for rows in data) == 2000
    shown = pd.DataFrame(max(drawn[0].to_dict()["datasets"].values(), key=len))
    assert shown["sensitivity"].iloc[[0, -1]].tolist() == [0, 1]


def test_the_threshold_moves_the_numbers(page):
    before = {m.label: m.value for m in page.metric}
    page.slider(key="evaluation_threshold").set_value(80.0).run()

    after = {m.label: m.value for m in page.metric}
    test = predictions().query("fold == 'test' and label == 'PNEUMONIA'")
    assert after["Sensitivity"] == f"{(test['probability'] >= 0.8).mean():.1%}"
    assert after["Specificity"] != before["Specificity"]
    assert after["PPV at 10%"] != before["PPV at 10%"]
    assert after["ROC AUC"] == before["ROC AUC"]
    assert page.session_state["evaluation_point"] is None


def test_an_operating_point_sets_the_threshold(page):
    select(page, "evaluation_point", "exclusion")

    assert page.slider(key="evaluation_threshold").value == 22.0
    test = predictions().query("fold == 'test' and label == 'NORMAL'")
    assert metric(page, "Specificity").value == f"{(test['probability'] < 0.22).mean():.1%}"


def test_the_prevalence_moves_the_predictive_values_alone(page):
    before = {m.label: m.value for m in page.metric}
    page.slider(key="evaluation_prevalence").set_value(40).run()

    after = {m.label: m.value for m in page.metric}
    assert after["Sensitivity"] == before["Sensitivity"]
    assert after["PPV at 40%"] > before["PPV at 10%"]
    assert "400 of them with pneumonia" in page_text(page)


def test_the_ends_of_the_threshold_do_not_break_the_page(page):
    for value in (0.0, 100.0):
        page.slider(key="evaluation_threshold").set_value(value).run()
        assert not page.exception
    assert metric(page, "Sensitivity").value == "0.0%"
    assert metric(page, "PPV at 10%").value == "not defined"


def test_the_validation_split_says_that_it_is_optimistic(page):
    select(page, "evaluation_source", "validation")

    assert any("optimistic" in warning.value for warning in page.warning)
    assert "of 195 patients" in page_text(page)


def test_errors_are_listed_without_images_on_disk(page):
    select(page, "evaluation_section", "Errors")

    assert any("not on this disk" in info.value for info in page.info)
    table = page.dataframe[0].value
    test = predictions().query("fold == 'test'")
    wrong = ((test["probability"] >= 0.5) != (test["label"] == "PNEUMONIA")).sum()
    assert len(table) == wrong


def test_an_error_with_its_image_on_disk_can_be_opened(page, tmp_path, monkeypatch):
    from PIL import Image

    folder = tmp_path / "images"
    for file in predictions().query("fold == 'test'")["file"]:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 90).save(path)
    monkeypatch.setenv("CHEST_XRAY_DIR", str(folder))
    import streamlit as st

    st.cache_data.clear()
    select(page, "evaluation_section", "Errors")

    buttons = [b for b in page.button if b.label.startswith("Open in Prediction")]
    assert len(buttons) == 10
    buttons[0].click().run()
    opened = Path(page.session_state["open_path"])
    assert opened.is_absolute()
    assert opened.is_file()


def test_an_error_with_its_image_on_disk_opens_in_the_viewer(page, tmp_path, monkeypatch):
    from PIL import Image

    errors = [b for b in page.button if b.label.startswith("Enlarge")]
    assert errors == []
    folder = tmp_path / "images"
    for file in predictions().query("fold == 'test'")["file"]:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 16), 90).save(path)
    monkeypatch.setenv("CHEST_XRAY_DIR", str(folder))
    import streamlit as st

    st.cache_data.clear()
    select(page, "evaluation_section", "Errors")
    next(b for b in page.button if b.label == "Enlarge (3)").click().run()

    assert not page.exception
    assert not page.error
    (viewer,) = page.get("bidi_component")
    shown = json.loads(viewer.proto.json)
    assert shown["description"].startswith("Chest X-ray 3. ")
    assert (shown["image"]["width"], shown["image"]["height"]) == (20, 16)
    assert (shown["previous"], shown["next"]) == (True, True)


def test_one_model_alone_has_nothing_to_be_compared_with(page):
    select(page, "evaluation_section", "Compare")

    assert any("no other model" in info.value for info in page.info)


def test_two_models_are_compared_on_the_same_images(open_page, models_folder):
    write_bundle(models_folder)
    write_bundle(models_folder, "vgg16", separation=1.5)
    at = open_page("evaluation")
    select(at, "evaluation_section", "Compare")

    assert "**resnet50** has the higher accuracy" in page_text(at)
    assert "McNemar" in page_text(at)


def test_models_of_different_images_are_not_compared(open_page, models_folder):
    write_bundle(models_folder)
    write_bundle(models_folder, "vgg16", seed=9)
    at = open_page("evaluation")
    select(at, "evaluation_section", "Compare")

    assert any("only be compared on the same images" in error.value for error in at.error)


def test_a_table_of_your_own_becomes_the_page(page):
    select(page, "evaluation_section", "Your images")
    table = "label,probability\nPNEUMONIA,0.9\nPNEUMONIA,0.8\nNORMAL,0.2\nNORMAL,0.7\nNORMAL,\n"
    page.file_uploader[0].upload("mine.csv", table.encode(), "text/csv").run()
    [button] = [b for b in page.button if b.label == "Evaluate this table"]
    button.click().run()

    assert not page.exception
    assert metric(page, "Specificity").value == "50.0%"
    assert "your images: 4 images of 4 patients" in page_text(page)
    assert any("1 images were left out" in info.value for info in page.info)


def test_a_long_evaluation_shows_its_progress_and_clears_it(monkeypatch):
    import numpy as np

    from ui.evaluation import progress
    from xray_core.stats.bootstrap import PatientWeights

    drawn = []

    class Place:
        def progress(self, share, text):
            drawn.append((share, text))

        def empty(self):
            drawn.append("cleared")

    monkeypatch.setattr(progress.st, "empty", Place)
    monkeypatch.setattr(progress, "_SLOW_SECONDS", -1.0)
    monkeypatch.setattr(progress, "_REFRESH_SECONDS", -1.0)
    weights = PatientWeights(40, bootstrap=60)
    with progress.show_progress():
        weights.sums(np.ones(40))
        weights.sums(np.ones(40))

    assert drawn[-1] == "cleared"
    assert (1.0, "Computing the intervals, step 1: 101 of 101 resamples") in drawn
    assert (1.0, "Computing the intervals, step 2: 101 of 101 resamples") in drawn


def test_a_table_that_is_none_is_refused_in_a_sentence(page):
    select(page, "evaluation_section", "Your images")
    page.file_uploader[0].upload("mine.csv", b"a,b\n1,2\n", "text/csv").run()
    [button] = [b for b in page.button if b.label == "Evaluate this table"]
    button.click().run()

    assert any("no column label" in error.value for error in page.error)


def test_a_folder_that_is_not_there_is_refused_in_a_sentence(page, tmp_path):
    select(page, "evaluation_section", "Your images")
    page.text_input[0].set_value(str(tmp_path / "nowhere"))
    [button] = [b for b in page.button if b.label == "Evaluate these images"]
    button.click().run()

    assert not page.exception
    assert page.error


def test_the_page_never_loads_tensorflow(models_folder):
    write_bundle(models_folder)
    code = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        "for page in ('evaluation', 'training'):\n"
        f"    at = AppTest.from_file({str(ROOT)!r} + f'/pages/{{page}}.py', default_timeout=120)\n"
        "    at.run(); assert not at.exception, at.exception\n"
        "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_folder_of_your_own_images_becomes_the_page(
    open_page, micro_models, image_png, tmp_path, monkeypatch
):
    monkeypatch.setenv("XRAY_MODELS", str(micro_models))
    for number in range(4):
        for label, name in (("NORMAL", "IM-{}-0001"), ("PNEUMONIA", "person{}_virus_1")):
            for split in ("train", "test"):
                at_number = number + (100 if split == "test" else 0)
                path = tmp_path / "mine" / split / label / f"{name.format(at_number)}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image_png(at_number, label == "PNEUMONIA"))
    at = open_page("evaluation")
    select(at, "evaluation_section", "Your images")
    at.text_input[0].set_value(str(tmp_path / "mine"))
    [button] = [b for b in at.button if b.label == "Evaluate these images"]
    button.click().run(timeout=300)

    assert not at.exception
    assert not at.error
    assert "your images: 8 images of 8 patients, 50.0% with pneumonia" in page_text(at)
    from xray_core import Predictor

    predictor = Predictor.load(micro_models / "micro")
    right = [
        (predictor.predict(path).logit > 0) == (path.parent.name == "PNEUMONIA")
        for path in (tmp_path / "mine" / "test").rglob("*.png")
    ]
    assert metric(at, "Accuracy").value == f"{sum(right) / 8:.1%}"


def test_a_net_benefit_below_the_chart_is_cut_off_and_not_bridged():
    import pandas as pd

    from ui.evaluation.clinical_utility import decision_chart

    risk = [k / 100 for k in range(1, 100)]
    curve = pd.DataFrame(
        {"risk": risk, "model": [0.1] * 50 + [-5.0] * 49, "low": -6.0, "high": 0.2}
    ).assign(all=-1.0, none=0.0)
    chart = decision_chart(curve).to_dict()

    drawn = [rows for rows in chart["datasets"].values() if "strategy" in rows[0]]
    assert [len(rows) for rows in drawn] == [3 * 99]
    assert sum(row["benefit"] == -5.0 for row in drawn[0]) == 49
    assert all(layer["mark"].get("clip") for layer in chart["layer"])
