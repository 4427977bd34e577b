import csv
import io
import shutil
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
from foreign_bundle import reseal

from xray_core.errors import BundleError, UnreadableImage
from xray_core.imaging.adjustment import Adjustment, Box
from xray_core.imaging.checks import check_pixels
from xray_core.imaging.pixels import adjust, rotate
from xray_core.imaging.radiograph import Radiograph, read_radiograph
from xray_core.model.neighbours import KINDS
from xray_core.model.upright import fit_upright_check
from xray_core.prediction import wording
from xray_core.prediction.explain import METHODS, GradCam
from xray_core.prediction.inputs import prepare_input
from xray_core.prediction.labelled import predict_labelled
from xray_core.prediction.orientation import rotate_input
from xray_core.prediction.predictor import NOT_FINITE
from xray_core.prediction.result import Prediction
from xray_core.prediction.screen import RESULT_COLUMNS, result_cells, screen

# Images that the tiny model classifies correctly, away from its indeterminate band.
NORMAL, PNEUMONIA = (2007, False), (2001, True)


def as_radiograph(pixels, **known):
    return Radiograph(pixels.astype(np.float32), pixels.shape, **known)


@pytest.fixture(scope="module")
def noise():
    """Smooth noise that passes the check of the pixels, so that the features must refuse it."""
    clouds = scipy.ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(300, 300)), 5)
    return as_radiograph(np.clip(128 + 60 * clouds / clouds.std(), 0, 255))


@pytest.mark.parametrize(("which", "verdict"), [(NORMAL, "NORMAL"), (PNEUMONIA, "PNEUMONIA")])
def test_an_image_gets_its_verdict(predictor, image_png, which, verdict):
    prediction = predictor.predict(image_png(*which))
    assert prediction.verdict == verdict
    assert (prediction.probability > 0.5) == (verdict == "PNEUMONIA")
    assert prediction.gate == "passed"
    assert prediction.heatmap is None
    assert prediction.model.startswith("micro 2026-01-02-")


def test_the_probability_is_the_calibrated_logit(predictor, image_png):
    prediction = predictor.predict(image_png(*PNEUMONIA))
    # The tiny bundle has temperature 1 and shift 0.
    assert prediction.probability == pytest.approx(1 / (1 + np.exp(-prediction.logit)), abs=1e-9)
    image = predictor.model_input(image_png(*PNEUMONIA))
    direct = predictor.network.predict_on_batch(image[np.newaxis])[0, 0]
    # The weights of its head reach 200, so that the engines round the logit by some 1e-4.
    assert prediction.probability == pytest.approx(float(direct), abs=1e-5)


def test_all_kinds_of_source_give_the_same_prediction(predictor, image_png, tmp_path):
    data = image_png(*PNEUMONIA)
    path = tmp_path / "image.png"
    path.write_bytes(data)
    radiograph = read_radiograph(data)
    sources = [data, path, str(path), io.BytesIO(data), radiograph, prepare_input(radiograph)]
    assert len({predictor.predict(source).logit for source in sources}) == 1


def test_the_model_input_of_an_image_of_its_size_is_the_image(predictor, image, image_png):
    tensor = predictor.model_input(image_png(*NORMAL))
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor[:, :, 0], image(*NORMAL))


def test_predicting_twice_gives_the_same(predictor, image_png):
    first, second = (
        predictor.predict(image_png(*PNEUMONIA), explain="gradcam++") for _ in range(2)
    )
    assert first == second
    assert np.array_equal(first.heatmap, second.heatmap)


def test_predict_many_equals_predict_in_order(predictor, image_png, noise):
    sources = [image_png(i, i % 3 == 0) for i in range(11)]
    sources[4] = b"no image"
    sources[7] = noise
    many = list(predictor.predict_many(sources, batch_size=3))
    assert [p.verdict for p in many][4] == "UNREADABLE"
    assert many[4].probability is None
    assert len(many[4].reasons) == 1
    assert many[7].verdict == "REFUSED"
    for i in set(range(11)) - {4}:
        alone = predictor.predict(sources[i])
        assert (many[i].verdict, many[i].reasons) == (alone.verdict, alone.reasons)
        assert many[i].logit == pytest.approx(alone.logit, abs=1e-3)


def test_no_images_give_no_predictions(predictor):
    assert list(predictor.predict_many([])) == []
    assert [p.verdict for p in predictor.predict_many([b"", b"x"])] == ["UNREADABLE"] * 2


def test_predict_many_reads_its_sources_as_they_are_needed(predictor, image_png):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield image_png(*NORMAL)

    predictions = predictor.predict_many(endless(), batch_size=4)
    for _ in range(3):
        next(predictions)
    predictions.close()
    assert read <= 12


def test_memory_does_not_grow_with_the_images(predictor, image_png, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(image_png(*NORMAL, 1000, 1000))

    def peak(count):
        tracemalloc.start()
        for _ in predictor.predict_many([path] * count, batch_size=2):
            pass
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    few = peak(8)  # 4 MB an image as float32
    assert peak(32) < 1.5 * few


def test_several_threads_get_the_predictions_of_one(predictor, image_png):
    sources = [image_png(3000 + i, i % 2 == 1) for i in range(8)]
    methods = ["gradcam", "gradcam++", "layercam", "scorecam"] * 2
    serial = [predictor.predict(s, explain=m) for s, m in zip(sources, methods, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda s, m: predictor.predict(s, explain=m), sources, methods))
    assert parallel == serial
    for one, other in zip(serial, parallel, strict=True):
        if one.heatmap is not None:
            assert np.array_equal(one.heatmap, other.heatmap)


def test_noise_is_refused_without_a_probability(predictor, noise):
    prediction = predictor.predict(noise, explain="gradcam")
    assert prediction.verdict == "REFUSED"
    assert prediction.probability is None
    assert prediction.heatmap is None
    assert prediction.reasons == (wording.NOT_A_CHEST_IMAGE,)
    assert prediction.correction is None


def test_an_image_refused_for_its_pixels_never_reaches_the_network(predictor, monkeypatch):
    monkeypatch.setattr(predictor, "_forward", None)
    prediction = predictor.predict(as_radiograph(np.full((300, 300), 77.0)))
    assert prediction.verdict == "REFUSED"
    assert "blank" in prediction.reasons[0]


@pytest.mark.parametrize(
    ("turns", "inverted", "words"),
    [
        (1, False, "appears to be rotated. Rotate by 90 degrees clockwise"),
        (2, False, "appears to be upside down. Rotate by 180 degrees"),
        (3, False, "appears to be rotated. Rotate by 90 degrees counterclockwise"),
        (0, True, "to be inverted, with bone dark and air bright. Invert black and white"),
        (1, True, "to be rotated and to be inverted"),
    ],
)
def test_a_rotated_or_inverted_image_is_recognised_and_corrected(
    predictor, image, turns, inverted, words
):
    right = as_radiograph(image(*NORMAL))
    wrong = rotate(right, -turns, inverted)
    prediction = predictor.predict(wrong)
    assert prediction.verdict == "REFUSED"
    assert prediction.correction == Adjustment(turns, inverted)
    assert words in prediction.reasons[0]
    again = rotate(wrong, prediction.correction.quarter_turns, prediction.correction.inverted)
    assert predictor.predict(again).verdict == "NORMAL"
    assert next(predictor.predict_many([wrong])).correction == prediction.correction


def test_an_image_that_looks_upside_down_is_recognised_whatever_its_distance(
    predictor, image, monkeypatch
):
    right = as_radiograph(image(*NORMAL))
    wrong = rotate(right, 2, False)
    features = [
        predictor._forward(predictor.model_input(one)[np.newaxis])[0] for one in (right, wrong)
    ]
    monkeypatch.setattr(predictor, "gate", replace(predictor.gate, caution=1e9, refuse=2e9))
    monkeypatch.setattr(predictor, "upright", None)
    assert predictor.predict(wrong).gate == "passed"
    monkeypatch.setattr(predictor, "upright", fit_upright_check(*features))
    for prediction in (predictor.predict(wrong), *predictor.predict_many([wrong])):
        assert prediction.verdict == "REFUSED"
        assert prediction.correction == Adjustment(2)
        assert prediction.gate_distance < 1
    assert predictor.predict(right).verdict == "NORMAL"


def inside(radiograph, top, left, bottom, right):
    """The part inside a border of these widths in pixels."""
    height, width = radiograph.pixels.shape
    return Box(top / height, left / width, 1 - bottom / height, 1 - right / width)


@pytest.mark.parametrize("level", [0, 255])
def test_a_border_is_recognised_and_cropped(predictor, image, level):
    right = as_radiograph(image(*NORMAL))
    wrong = as_radiograph(np.pad(image(*NORMAL), ((40, 20), (30, 50)), constant_values=level))
    prediction = predictor.predict(wrong)
    assert prediction.correction == Adjustment(crop=inside(wrong, 40, 30, 20, 50))
    assert "appears to have a border. Crop the border" in prediction.reasons[0]
    again = adjust(wrong, prediction.correction)
    assert np.array_equal(again.pixels, right.pixels)
    cropped = predictor.predict(again)
    assert cropped.probability == predictor.predict(right).probability
    assert cropped.correction is None
    removed = "14.1% at the top, 16.4% on the right, 7% at the bottom and 9.9% on the left removed"
    assert cropped.adjustment == f"The image was cropped ({removed}) before the analysis."
    assert cropped.adjustment in cropped.reasons
    assert next(predictor.predict_many([wrong])).correction == prediction.correction


def test_a_rotated_image_with_a_border_is_corrected_in_one_step(predictor, image):
    rotated = np.rot90(image(*NORMAL))
    wrong = as_radiograph(np.pad(rotated, 30, constant_values=255))
    prediction = predictor.predict(wrong)
    assert prediction.verdict == "REFUSED"
    assert prediction.correction == Adjustment(1, crop=inside(wrong, 30, 30, 30, 30))
    assert predictor.predict(adjust(wrong, prediction.correction)).verdict == "NORMAL"


def test_an_image_inside_a_border_that_is_refused_is_recognised(predictor, image):
    page = as_radiograph(np.pad(image(*NORMAL), 110, constant_values=255))
    assert check_pixels(page)
    prediction = predictor.predict(page)
    assert prediction.verdict == "REFUSED"
    assert prediction.correction == Adjustment(crop=inside(page, 110, 110, 110, 110))


def test_an_accepted_image_with_a_border_has_a_caution(predictor, image, monkeypatch):
    monkeypatch.setattr(predictor, "gate", replace(predictor.gate, caution=1e9, refuse=1e9))
    bordered = as_radiograph(np.pad(image(*PNEUMONIA), 20, constant_values=255))
    prediction = predictor.predict(bordered)
    assert prediction.probability is not None
    assert prediction.reasons[0] == wording.HAS_BORDER
    assert prediction.correction == Adjustment(crop=inside(bordered, 20, 20, 20, 20))


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (Adjustment(1, False), "The image was rotated by 90 degrees clockwise before"),
        (Adjustment(0, True), "The image was inverted before the analysis."),
        (Adjustment(2, True), "The image was rotated by 180 degrees and inverted before"),
    ],
)
def test_a_result_describes_the_correction_of_its_image(predictor, image, change, note):
    # What is put right twice the other way round is the image again.
    wrong = rotate(as_radiograph(image(*NORMAL)), -change.quarter_turns, change.inverted)
    prediction = predictor.predict(adjust(wrong, change))
    assert any(note in reason for reason in prediction.reasons)
    assert note in prediction.adjustment
    assert not prediction.accuracy_applies


def test_a_result_without_a_probability_records_the_adjustment_too(predictor, image):
    right = as_radiograph(image(*NORMAL))
    upside_down = adjust(right, Adjustment(quarter_turns=2))
    small = adjust(right, Adjustment(crop=Box(0.0, 0.0, 0.2, 0.2)))
    for changed in (upside_down, small):
        prediction = predictor.predict(changed)
        assert prediction.verdict == "REFUSED"
        assert prediction.adjustment == changed.adjustment.sentence
        assert next(predictor.predict_many([changed])).adjustment == prediction.adjustment
        columns = dict(zip(RESULT_COLUMNS, result_cells(prediction), strict=True))
        assert columns["adjustment"] == prediction.adjustment
    assert predictor.predict(right).adjustment == ""
    assert (
        dict(zip(RESULT_COLUMNS, result_cells(predictor.predict(right)), strict=True))["adjustment"]
        == ""
    )


def test_an_adjusted_image_is_analysed_like_a_file_with_its_pixels(predictor, image):
    right = as_radiograph(image(*PNEUMONIA))
    mirrored = adjust(right, Adjustment(mirrored=True, crop=Box(0.0, 0.05, 0.95, 1.0)))
    file = as_radiograph(image(*PNEUMONIA)[:213, 11:][:, ::-1])
    assert predictor.predict(mirrored).probability == predictor.predict(file).probability


def test_rotating_the_model_input_equals_rotating_the_image():
    corner = np.zeros((4, 4, 1), np.float32)
    corner[0, 0] = 200.0
    # Clockwise, the upper left corner goes to the upper right.
    assert rotate_input(corner, Adjustment(1, False))[0, 3, 0] == 200.0
    assert rotate_input(corner, Adjustment(2, True))[3, 3, 0] == 55.0


def test_a_map_has_the_size_of_the_image(predictor, image):
    wide = as_radiograph(image(*PNEUMONIA).repeat(2, axis=0).repeat(3, axis=1))
    prediction = predictor.predict(wide, explain="layercam")
    assert prediction.heatmap.shape == (448, 672)
    assert prediction.heatmap.dtype == np.float32
    assert 0 <= prediction.heatmap.min() <= prediction.heatmap.max() <= 1
    assert prediction.method == "layercam"
    assert "raised the network's score" in prediction.map_note
    assert np.array_equal(predictor.explain(wide, "layercam"), prediction.heatmap)


def test_an_unknown_method_is_an_error_that_names_the_methods(predictor, image_png):
    with pytest.raises(ValueError, match=r"gradcam\+\+.*Received: 'lime'"):
        predictor.predict(image_png(), explain="lime")


def test_a_file_that_is_not_an_image_raises(predictor):
    with pytest.raises(UnreadableImage):
        predictor.predict(b"no image")


def test_cautions_that_the_file_gives_rise_to(predictor, image):
    note = "According to the file, this is not a chest (body part KNEE)."
    old = as_radiograph(image(*NORMAL), age_years=43.0, notes=(note,))
    reasons = predictor.predict(old).reasons
    assert wording.OLDER in reasons
    assert note in reasons
    assert "43" not in " ".join(reasons)


@pytest.fixture
def configured(predictor, monkeypatch):
    """A function that changes entries of the bundle's config during a test."""

    def set_config(**entries):
        bundle = replace(predictor.bundle, config={**predictor.bundle.config, **entries})
        monkeypatch.setattr(predictor, "bundle", bundle)

    return set_config


@pytest.fixture
def with_maps(predictor, monkeypatch):
    """Grad-CAM of the other class: that of pneumonia is empty on all drawn images."""
    import keras

    other = keras.models.clone_model(predictor.network)
    weights = predictor.network.get_weights()
    other.set_weights([*weights[:-2], -weights[-2], weights[-1]])
    monkeypatch.setattr(predictor, "_gradcam", GradCam(other))


@pytest.mark.usefixtures("with_maps")
def test_an_image_has_the_same_reasons_by_every_method(predictor, image_png, configured):
    configured(cautions={"too_sure": 0.99})
    sources = [image_png(number, number % 2 == 1, 224 + 10 * number, 300) for number in range(12)]
    many = list(predictor.predict_many(sources, batch_size=5))
    assert wording.TOO_SURE in {reason for prediction in many for reason in prediction.reasons}
    for source, together in zip(sources, many, strict=True):
        for method in (None, *METHODS):
            alone = predictor.predict(source, explain=method)
            assert (alone.reasons, alone.sentence) == (together.reasons, together.sentence)


def test_similar_images_that_contradict_the_result_are_a_caution(
    predictor, image_png, configured, monkeypatch
):
    def nearest_are(kind, but=()):
        kinds = np.full_like(predictor.neighbours.kinds, KINDS.index(kind))
        kinds[but] = KINDS.index("viral")
        monkeypatch.setattr(predictor, "neighbours", replace(predictor.neighbours, kinds=kinds))

    nearest_are("bacterial")
    agreed = predictor.predict(image_png(*PNEUMONIA))
    assert not any("similar training images" in reason for reason in agreed.reasons)

    nearest_are("normal", but=slice(None, None, 4))
    configured(
        neighbours_report={
            **{"images": 500, "contradicted": 15, "network_right": 4, "agreed_right": 478}
        }
    )
    many = next(predictor.predict_many([image_png(*PNEUMONIA)]))
    assert many.verdict == "PNEUMONIA"
    normal = many.neighbours.normal
    assert many.reasons[0] == (
        f"Most of the similar training images ({normal} of 20) are normal. When they contradicted "
        "the model in validation (15 of 500 images), the model was right in 4."
    )


def test_the_accuracy_applies_to_images_without_an_image_caution(predictor, image):
    young = as_radiograph(image(*NORMAL), age_years=3.0)
    old = as_radiograph(image(*NORMAL), age_years=43.0)
    assert predictor.predict(young).accuracy_applies
    assert not predictor.predict(old).accuracy_applies
    assert not predictor.predict(as_radiograph(np.full((300, 300), 77.0))).accuracy_applies


def test_an_image_unlike_the_training_images_has_no_accuracy(predictor, image, monkeypatch):
    monkeypatch.setattr(predictor, "gate", replace(predictor.gate, caution=1e-9, refuse=1e9))
    prediction = predictor.predict(as_radiograph(image(*NORMAL)))
    assert prediction.gate == "caution"
    assert prediction.probability is not None
    assert not prediction.accuracy_applies


@pytest.mark.parametrize(
    ("probability", "pre_test", "expected"),
    [
        (0.9, 0.5, 0.9),
        (0.9, 0.1, 0.5),  # odds of 9, times 1/9
        (0.2, 0.8, 0.5),  # odds of 1/4, times 4
        (0.5, 0.2, 0.2),
        (1.0, 0.01, 1.0),
        (None, 0.2, None),
    ],
)
def test_the_post_test_probability_moves_the_odds(probability, pre_test, expected):
    prediction = Prediction(probability, "UNCERTAIN", ())
    assert prediction.post_test(pre_test) == (None if expected is None else pytest.approx(expected))


def test_a_missing_bundle_is_a_sentence(tmp_path):
    from xray_core import Predictor

    with pytest.raises(BundleError, match="no model called nothing"):
        Predictor.load(tmp_path / "nothing")


def test_the_predictor_s_module_loads_without_keras():
    code = (
        "import sys, xray_core; xray_core.Predictor\n"
        "assert not {'tensorflow', 'keras', 'sklearn', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module", params=["logit", "features"])
def overflowing(request, micro_bundle, tmp_path_factory):
    """A model with finite weights so large that its log-odds, or its features, are not finite."""
    from xray_core import Predictor

    folder = shutil.copytree(micro_bundle, tmp_path_factory.mktemp("models") / "micro")
    kernel = "dense" if request.param == "logit" else "conv2d_1"
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        values = file[f"layers/{kernel}/vars/0"]
        values[...] = np.full(values.shape, np.finfo(values.dtype).max)
    return Predictor.load(reseal(folder))


def test_values_that_are_not_finite_give_no_probability(overflowing, image_png, tmp_path):
    image = image_png(*NORMAL)
    alone = overflowing.predict(image, explain="gradcam")
    (many,) = overflowing.predict_many([image])
    for prediction in (alone, many):
        assert (prediction.verdict, prediction.probability) == ("REFUSED", None)
        assert (prediction.logit, prediction.gate_distance) == (None, None)
        assert prediction.reasons == (NOT_FINITE,)
        assert prediction.gate == "refused"
        assert prediction.heatmap is None
        assert prediction.neighbours is None
        assert prediction.correction is None


def test_values_that_are_not_finite_reach_no_table(overflowing, image_png, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(image_png(*NORMAL))
    screen(folder, tmp_path / "out.csv", overflowing, progress=False)
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (row["verdict"], row["probability"], row["reasons"]) == ("REFUSED", "", NOT_FINITE)

    index = pd.DataFrame(
        [{"path": "a.png", "fold": "test", "label": "NORMAL", "subtype": "none", "patient": "1"}]
    )
    table = predict_labelled(overflowing, index, folder)
    assert table["verdict"].tolist() == ["REFUSED"]
    assert table[["logit", "probability"]].isna().all(axis=None)


UNLIKE = "Indeterminate: unlike the images this model was trained on"


NEVER_FIRM = {"beyond": 1.0, "low": 0.0, "high": 1.0}


@pytest.fixture
def unlike(predictor, configured, monkeypatch):
    """`unlike(source, **rule)`: the prediction of an image at twice the distance of cautions."""

    def predict(source, **rule):
        if rule:
            configured(unlike=rule)
        (features, *_) = predictor._forward(predictor.model_input(source)[np.newaxis])
        distance = float(predictor.gate.squared_distance(features)[0])
        gate = replace(predictor.gate, caution=distance / 2, refuse=distance * 2)
        monkeypatch.setattr(predictor, "gate", gate)
        return predictor.predict(source)

    return predict


def test_a_rule_makes_the_result_of_an_unlike_image_indeterminate(unlike, image_png, predictor):
    source = image_png(*PNEUMONIA)
    home = predictor.predict(source)
    prediction = unlike(source, **NEVER_FIRM)
    assert (prediction.gate, prediction.verdict) == ("caution", "UNCERTAIN")
    assert prediction.unlike
    assert prediction.shown_as == UNLIKE
    assert prediction.probability == home.probability
    assert prediction.probability_note == wording.RANKING_ONLY
    assert prediction.post_test(0.2) is None
    assert "may be used only to order images" in prediction.sentence
    assert "cannot tell" not in prediction.sentence
    assert wording.UNLIKE_TRAINING in prediction.reasons
    assert not prediction.accuracy_applies


def test_a_rule_may_begin_below_the_caution(predictor, configured, image_png):
    configured(unlike={**NEVER_FIRM, "beyond": 0.0})
    prediction = predictor.predict(image_png(*PNEUMONIA))
    assert (prediction.gate, prediction.verdict) == ("passed", "UNCERTAIN")
    assert prediction.unlike
    assert wording.UNLIKE_TRAINING not in prediction.reasons
    assert "may be used only to order images" in prediction.sentence
    assert not prediction.accuracy_applies


def test_a_result_outside_the_limits_of_the_rule_stays_firm(unlike, image_png, predictor):
    source = image_png(*PNEUMONIA)
    home = predictor.predict(source)
    prediction = unlike(source, beyond=0.0, low=0.0, high=home.probability - 1e-3)
    assert (prediction.gate, prediction.verdict) == ("caution", "PNEUMONIA")
    assert not prediction.unlike


def test_without_a_rule_an_unlike_image_gets_its_result_with_a_caution(unlike, image_png):
    prediction = unlike(image_png(*PNEUMONIA))
    assert (prediction.gate, prediction.verdict) == ("caution", "PNEUMONIA")
    assert wording.UNLIKE_TRAINING in prediction.reasons
    assert not prediction.unlike
    assert prediction.probability_note == ""
    assert prediction.post_test(0.5) == pytest.approx(prediction.probability)


def test_a_rule_leaves_images_like_the_training_images_as_they_are(
    predictor, configured, image_png
):
    before = [predictor.predict(image_png(*which)) for which in (NORMAL, PNEUMONIA)]
    configured(unlike=NEVER_FIRM)
    assert [predictor.predict(image_png(*which)) for which in (NORMAL, PNEUMONIA)] == before


def test_tables_hold_the_probability_and_the_verdict_of_the_rule(
    unlike, predictor, image_png, tmp_path
):
    source = image_png(*PNEUMONIA)
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(source)
    prediction = unlike(source, **NEVER_FIRM)
    assert prediction.unlike
    index = pd.DataFrame(
        [
            {
                "path": "a.png",
                "fold": "test",
                "label": "PNEUMONIA",
                "subtype": "virus",
                "patient": "1",
            }
        ]
    )
    (row,) = predict_labelled(predictor, index, folder).to_dict("records")
    assert row["verdict"] == "UNCERTAIN"
    assert row["probability"] == pytest.approx(prediction.probability, abs=1e-5)
    assert row["logit"] == pytest.approx(prediction.logit, abs=1e-4)
    screen(folder, tmp_path / "out.csv", predictor, progress=False)
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (row["shown_as"], row["probability_note"]) == (UNLIKE, wording.RANKING_ONLY)
    assert float(row["probability"]) == pytest.approx(prediction.probability, abs=1e-5)
