import warnings

import numpy as np
import pytest

from xray_core.model.recipes import find_recipe
from xray_core.prediction.explain import METHODS, Explainer, border_share, on_film


@pytest.fixture(scope="module")
def explained(predictor, film):
    """The tiny network's explainer, a sick film as it takes it, and its activations."""
    import keras

    explainer = Explainer(predictor.network)
    seed = film(2001, True).astype(np.float32)[np.newaxis, :, :, np.newaxis]
    inner = keras.Model(
        predictor.network.input, predictor.network.get_layer(explainer.layer).output
    )
    return explainer, seed, np.asarray(inner.predict_on_batch(seed))


@pytest.mark.parametrize("method", METHODS)
def test_a_map_has_the_network_s_grid_and_its_maximum_at_one(explained, method):
    explainer, seed, activations = explained
    coarse = explainer.coarse_map(method, seed, activations)
    assert coarse.shape == (14, 14)
    assert coarse.min() >= 0
    assert coarse.max() in (0.0, 1.0)


@pytest.mark.parametrize(
    ("method", "name"),
    [("gradcam", "Gradcam"), ("gradcam++", "GradcamPlusPlus"), ("layercam", "Layercam")],
)
def test_a_map_from_the_activations_equals_one_through_the_whole_network(
    predictor, explained, method, name
):
    import keras
    from tf_keras_vis import gradcam, gradcam_plus_plus, layercam

    explainer, seed, activations = explained
    homes = (gradcam, gradcam_plus_plus, layercam)
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


def test_gradcam_is_the_weighted_sum_of_the_activations(predictor, explained):
    # With averaged features and one unit after them, Grad-CAM's weights are that unit's.
    explainer, seed, activations = explained
    weights = predictor.network.get_layer("logit").get_weights()[0][:, 0]
    expected = np.maximum(activations[0] @ weights, 0)
    expected = expected / expected.max() if expected.max() > 0 else expected
    assert explainer.coarse_map("gradcam", seed, activations) == pytest.approx(expected, abs=1e-4)


def test_objects_are_built_once_a_method(explained, monkeypatch):
    explainer, seed, activations = explained
    explainer.coarse_map("gradcam", seed, activations)
    monkeypatch.setattr(explainer, "_visualiser", None)
    explainer.coarse_map("gradcam", seed, activations)


def test_scorecam_weighs_by_probability_and_prints_nothing(explained, capfd):
    # tf-keras-vis takes a softmax over the outputs: for one unit all weights would be 1, and the
    # map nothing but the sum of the activations.
    explainer, seed, activations = explained
    coarse = explainer.coarse_map("scorecam", seed, activations)
    sum_of_all = activations[0].sum(axis=-1)
    assert np.abs(coarse - sum_of_all / sum_of_all.max()).max() > 0.02
    assert capfd.readouterr().out == ""


def test_scorecam_is_bounded():
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


def test_activations_that_overflow_give_an_empty_map_without_a_warning(explained):
    explainer, seed, activations = explained
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        coarse = explainer.coarse_map("gradcam++", seed, activations * np.float32(1e30))
    assert np.isfinite(coarse).all()


def test_a_map_of_nothing_is_empty(explained):
    explainer, seed, activations = explained
    assert not explainer.coarse_map("gradcam", seed, np.zeros_like(activations)).any()


def test_a_map_is_stretched_smoothly_over_the_film():
    coarse = np.zeros((4, 4), np.float32)
    coarse[1, 2] = 1.0
    heatmap = on_film(coarse, (400, 200))
    assert heatmap.shape == (400, 200)
    # The cell's middle: row 1.5 of 4 of 400 pixels, column 2.5 of 4 of 200.
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == pytest.approx((149.5, 124.5), abs=1)
    assert np.abs(np.diff(heatmap, axis=0)).max() < 0.05
    assert heatmap.min() >= 0


@pytest.mark.parametrize(
    ("heatmap", "share"),
    [
        (np.ones((100, 100)), 0.36),
        (np.zeros((100, 100)), 0.0),
        (np.pad(np.ones((80, 80)), 10), 0.0),
        (np.pad(np.zeros((80, 80)), 10, constant_values=1), 1.0),
    ],
)
def test_border_share(heatmap, share):
    assert border_share(heatmap.astype(np.float32)) == pytest.approx(share)
