import warnings
from pathlib import Path

import numpy as np
import pytest

from xray_core.model.bundle import open_bundle
from xray_core.model.recipes import find_recipe
from xray_core.prediction.explain import METHODS, Explainer, GradCam, share_inside

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture(scope="module")
def explained(predictor, image):
    """The tiny network's explainer, a model input with pneumonia, and its activations."""
    import keras

    explainer = Explainer(predictor.network)
    seed = image(2001, True).astype(np.float32)[np.newaxis, :, :, np.newaxis]
    inner = keras.Model(
        predictor.network.input, predictor.network.get_layer(explainer.layer).output
    )
    return explainer, seed, np.asarray(inner.predict_on_batch(seed))


@pytest.mark.parametrize("method", METHODS)
def test_a_map_has_the_size_of_the_last_layer_and_a_maximum_of_one(explained, method):
    explainer, seed, activations = explained
    coarse = explainer.coarse_map(method, seed, activations)
    assert coarse.shape == (14, 14)
    assert coarse.min() >= 0
    assert coarse.max() in (0.0, 1.0)


@pytest.mark.parametrize(
    ("method", "name"),
    [("gradcam++", "GradcamPlusPlus"), ("layercam", "Layercam")],
)
def test_a_map_from_the_activations_equals_one_through_the_whole_network(
    predictor, explained, method, name
):
    import keras
    from tf_keras_vis import gradcam_plus_plus, layercam

    explainer, seed, activations = explained
    homes = (gradcam_plus_plus, layercam)
    kind = next(getattr(home, name) for home in homes if hasattr(home, name))
    network = predictor.network
    whole = kind(keras.Model(network.input, network.get_layer("logit").output))
    raw = whole(
        lambda output: output[:, 0],
        seed,
        penultimate_layer=explainer.layer,
        seek_penultimate_conv_layer=False,
        expand_cam=False,
        normalize_cam=False,
    )
    raw = np.maximum(np.asarray(raw)[0], 0)
    expected = raw / raw.max() if raw.max() > 0 else raw
    assert explainer.coarse_map(method, seed, activations) == pytest.approx(expected, abs=1e-4)


def library_gradcam(network, image):
    """Grad-CAM (h, w) of tf-keras-vis through the whole network; its maximum is 1 or 0."""
    import keras
    from tf_keras_vis.gradcam import Gradcam

    from xray_core.model.architectures import last_spatial_layer

    raw = Gradcam(keras.Model(network.input, network.get_layer("logit").output))(
        lambda output: output[:, 0],
        image[np.newaxis],
        penultimate_layer=last_spatial_layer(network),
        seek_penultimate_conv_layer=False,
        expand_cam=False,
        normalize_cam=False,
    )
    raw = np.maximum(np.asarray(raw)[0], 0)
    return raw / raw.max() if raw.max() > 0 else raw


def assert_equals_the_library(network, images):
    """Compare maps of a batch (N, H, W, 1) with the library's, one by one."""
    import keras

    gradcam = GradCam(network)
    inner = keras.Model(network.input, network.get_layer(gradcam.layer).output)
    maps = gradcam.coarse_maps(np.asarray(inner.predict_on_batch(images)))
    for image, computed in zip(images, maps, strict=True):
        assert computed == pytest.approx(library_gradcam(network, image), abs=1e-4)
    return maps


@pytest.fixture
def images(image):
    """Drawn model inputs (6, 224, 224, 1): three normal, three with pneumonia."""
    drawn = [image(number, number % 2 == 1) for number in range(6)]
    return np.stack(drawn)[..., np.newaxis].astype(np.float32)


@pytest.mark.parametrize("sign", [1, -1])
def test_gradcam_from_the_activations_equals_the_library(predictor, images, sign):
    import keras

    network = keras.models.clone_model(predictor.network)
    weights = predictor.network.get_weights()
    weights[-2] = sign * weights[-2]  # the logit's own: of one sign nothing raises the score
    network.set_weights(weights)
    maps = assert_equals_the_library(network, images)
    assert maps.any() == (sign == -1)


@pytest.mark.parametrize("name", ["resnet50", "cnn", "cnn-softmax"])
def test_gradcam_of_the_shipped_models_equals_the_library(name, images):
    network = open_bundle(MODELS / name).load_network()
    assert assert_equals_the_library(network, images).any()


@pytest.mark.parametrize(
    ("changes", "linear"),
    [
        ({"pooling": "average", "dense": 0, "dropout": 0.5}, True),
        ({"pooling": "average", "dense": 8, "batch_norm": True}, False),
        ({"pooling": "flatten", "dense": 0}, False),
        ({"pooling": "average", "dense": 0, "output": "softmax"}, False),
    ],
)
def test_gradcam_of_other_heads_equals_the_library(changes, linear):
    from dataclasses import replace

    from xray_core.model.architectures import build_network
    from xray_core.prediction import explain

    recipe = replace(find_recipe("cnn"), filters=(4, 8), pool=4, **changes)
    maps = []
    for seed in range(4):  # where all areas speak against pneumonia a map is empty
        random = np.random.default_rng(seed)
        network = build_network(recipe, input_size=(64, 64))
        for layer in network.layers:
            if layer.name != "hidden_norm":  # its variances are positive
                layer.set_weights([random.normal(0, 0.3, w.shape) for w in layer.get_weights()])
        drawn = random.uniform(0, 255, (3, 64, 64, 1)).astype(np.float32)
        maps.append(assert_equals_the_library(network, drawn))
        assert (explain._linear_head(network, GradCam(network).layer) is not None) == linear
    assert np.any(maps)


def test_visualisers_are_created_once_per_method(explained, monkeypatch):
    explainer, seed, activations = explained
    explainer.coarse_map("layercam", seed, activations)
    monkeypatch.setattr(explainer, "_visualiser", None)
    explainer.coarse_map("layercam", seed, activations)


def test_scorecam_weights_by_probability_and_prints_nothing(explained, capfd):
    # tf-keras-vis takes a softmax over the outputs: for one unit all weights would be 1, and the
    # map nothing but the sum of the activations.
    explainer, seed, activations = explained
    coarse = explainer.coarse_map("scorecam", seed, activations)
    sum_of_all = activations[0].sum(axis=-1)
    assert np.abs(coarse - sum_of_all / sum_of_all.max()).max() > 0.02
    assert capfd.readouterr().out == ""


def test_scorecam_uses_a_limited_number_of_channels():
    from dataclasses import replace

    from xray_core.model.architectures import build_network

    recipe = replace(find_recipe("cnn"), filters=(4, 96), pool=4, pooling="average", dense=0)
    explainer = Explainer(build_network(recipe, input_size=(32, 32)))
    assert explainer._channels == 32


@pytest.mark.parametrize("recipe", ["cnn-softmax", "cnn"])
def test_maps_of_other_heads(recipe):
    from dataclasses import replace

    import keras

    from xray_core.model.architectures import build_network

    small = replace(find_recipe(recipe), filters=(4, 4, 4), dense=8)
    network = build_network(small, input_size=(64, 64))
    explainer = Explainer(network)
    seed = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 1)).astype(np.float32)
    inner = keras.Model(network.input, network.get_layer(explainer.layer).output)
    activations = np.asarray(inner.predict_on_batch(seed))
    for method in METHODS:
        coarse = explainer.coarse_map(method, seed, activations)
        assert coarse.shape == activations.shape[1:3]
        assert np.isfinite(coarse).all()


@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_activations_that_overflow_give_no_warning(explained, method):
    explainer, seed, activations = explained
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        coarse = explainer.coarse_map(method, seed, activations * np.float32(1e37))
    assert np.isfinite(coarse).all()


def test_a_map_without_positive_values_is_zero(explained):
    explainer, seed, activations = explained
    assert not explainer.coarse_map("gradcam", seed, np.zeros_like(activations)).any()


@pytest.mark.parametrize(
    ("rows", "share"), [(slice(None), 1.0), (slice(0, 25), 0.4), (slice(0, 0), 0.0)]
)
def test_the_share_of_a_map_inside_a_mask(rows, share):
    heatmap = np.zeros((50, 10), np.float32)
    heatmap[15:40] = 0.3
    mask = np.zeros((50, 10), bool)
    mask[rows] = True
    assert share_inside(heatmap, mask) == pytest.approx(share)


def test_an_empty_map_has_no_share():
    assert share_inside(np.zeros((5, 5), np.float32), np.ones((5, 5), bool)) is None
