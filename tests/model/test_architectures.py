"""Networks: flat graphs, named layers, preprocessing in the graph, checked weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import keras
import numpy as np
import pytest
import scipy.special

from xray_core.errors import RecipeError
from xray_core.model.architectures import (
    build_network,
    describe_layers,
    last_spatial_layer,
)
from xray_core.model.recipes import RECIPES, find_recipe

SIZE = (64, 64)
CLASSIFIERS = [name for name, recipe in RECIPES.items() if recipe.kind == "classifier"]


@pytest.fixture(scope="module")
def networks() -> dict[str, keras.Model]:
    keras.utils.set_random_seed(0)
    return {name: build_network(recipe, input_size=SIZE) for name, recipe in RECIPES.items()}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, *SIZE, 1)).astype(np.float32)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_has_a_grey_input_and_named_outputs(
    name: str, networks: dict[str, keras.Model]
) -> None:
    network = networks[name]
    assert network.input_shape == (None, 64, 64, 1)
    assert network.output_shape == (None, 1)
    assert network.layers[-1].name == "probability"
    assert network.get_layer("logit").output.shape == (None, 1)
    assert len(network.get_layer("features").output.shape) == 2


def test_a_segmentation_gives_a_probability_for_every_pixel(
    networks: dict[str, keras.Model], images: np.ndarray
) -> None:
    network = networks["lungs"]
    assert network.layers[-1].name == "lungs"
    assert network.count_params() <= 1_000_000
    probability = network.predict(images, verbose=0)
    assert probability.shape == (3, 64, 64, 1)
    assert probability.dtype == np.float32
    logit = keras.Model(network.input, network.get_layer("lung_logit").output)
    assert np.allclose(probability, scipy.special.expit(logit.predict(images, verbose=0)))


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_network_is_flat(name: str, networks: dict[str, keras.Model]) -> None:
    assert not [layer for layer in networks[name].layers if isinstance(layer, keras.Model)]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_logit_is_the_log_odds_of_the_probability(
    name: str, networks: dict[str, keras.Model], images: np.ndarray
) -> None:
    network = networks[name]
    outputs = [network.get_layer("logit").output, network.output]
    logit, probability = keras.Model(network.input, outputs).predict(images, verbose=0)
    assert np.allclose(probability, scipy.special.expit(logit), rtol=1e-4, atol=0)


def test_the_softmax_output_is_the_probability(
    networks: dict[str, keras.Model], images: np.ndarray
) -> None:
    network = networks["cnn-softmax"]
    softmax = network.get_layer("softmax")
    assert softmax.units == 2
    both, probability = keras.Model(network.input, [softmax.output, network.output]).predict(
        images, verbose=0
    )
    assert np.allclose(both[:, 1:], probability, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "last", "width"),
    [
        ("resnet50", "conv4_block6_out", 1024),
        ("resnet50-frozen", "conv5_block3_out", 2048),
        ("vgg16", "block5_pool", 512),
        ("vgg16-flatten", "block5_pool", 2 * 2 * 512),
        ("cnn", "block5_pool", 2 * 2 * 256),
        ("cnn-softmax", "block3_pool", 2 * 2 * 128),
    ],
)
def test_the_last_spatial_layer_and_the_number_of_features(
    name: str, last: str, width: int, networks: dict[str, keras.Model]
) -> None:
    assert last_spatial_layer(networks[name]) == last
    assert networks[name].get_layer("features").output.shape == (None, width)


def test_last_stage_conv5_is_the_complete_resnet() -> None:
    network = build_network(replace(find_recipe("resnet50"), last_stage="conv5"), input_size=SIZE)
    assert last_spatial_layer(network) == "conv5_block3_out"


def test_the_head_of_the_frozen_resnet(networks: dict[str, keras.Model]) -> None:
    head = [(type(layer).__name__, layer) for layer in networks["resnet50-frozen"].layers[-6:]]
    assert [kind for kind, _ in head] == [
        "GlobalAveragePooling2D",
        "Dense",
        "BatchNormalization",
        "Dropout",
        "Dense",
        "Activation",
    ]
    assert head[1][1].units == 1024
    assert head[3][1].rate == 0.5


def test_caffe_preprocessing_subtracts_the_imagenet_means(networks: dict[str, keras.Model]) -> None:
    network = networks["resnet50"]
    inner = keras.Model(network.input, network.get_layer("preprocessing").output)
    image = np.full((1, *SIZE, 1), 150, np.float32)
    expected = [150 - 103.939, 150 - 116.779, 150 - 123.68]  # blue, green, red
    assert np.allclose(inner.predict(image, verbose=0)[0, 0, 0], expected, atol=1e-4)


def test_rescale_preprocessing_divides_by_255() -> None:
    recipe = replace(find_recipe("resnet50-frozen"), preprocessing="rescale")
    network = build_network(recipe, input_size=SIZE)
    inner = keras.Model(network.input, network.get_layer("preprocessing").output)
    image = np.full((1, *SIZE, 1), 51, np.float32)
    assert np.allclose(inner.predict(image, verbose=0)[0, 0, 0], [0.2, 0.2, 0.2])


def test_only_the_head_of_a_frozen_backbone_is_trained(networks: dict[str, keras.Model]) -> None:
    trained = [row["name"] for row in describe_layers(networks["vgg16"]) if row["trained"]]
    assert trained == ["hidden", "logit"]


def test_fine_tuning_trains_every_layer(networks: dict[str, keras.Model]) -> None:
    table = describe_layers(networks["resnet50"])
    assert [row["name"] for row in table if row["parameters"] and not row["trained"]] == []


def test_batch_normalisation_keeps_its_statistics_in_training(images: np.ndarray) -> None:
    network = build_network(find_recipe("resnet50"), input_size=SIZE)
    inner = keras.Model(network.input, network.get_layer("conv4_block6_out").output)
    inference = np.asarray(inner(images, training=False))
    assert np.allclose(np.asarray(inner(images, training=True)), inference, atol=1e-5)


def test_initial_weights_are_those_of_the_file(tmp_path: Path, images: np.ndarray) -> None:
    complete = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(*SIZE, 3))
    path = tmp_path / "start.weights.h5"
    complete.save_weights(path)
    network = build_network(find_recipe("resnet50"), input_size=SIZE, backbone_weights=path)
    # Reference: the preprocessing and the network of Keras, with three equal channels.
    preprocessed = keras.applications.resnet50.preprocess_input(np.repeat(images, 3, axis=-1))
    cut = keras.Model(complete.input, complete.get_layer("conv4_block6_out").output)
    inner = keras.Model(network.input, network.get_layer("conv4_block6_out").output)
    expected = cut.predict(preprocessed, verbose=0)
    assert np.allclose(inner.predict(images, verbose=0), expected, atol=1e-4)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.weights.h5"
    build_network(find_recipe("cnn"), input_size=SIZE).save_weights(path)
    with pytest.raises(RecipeError, match=r"other\.weights\.h5 do not fit ResNet50"):
        build_network(find_recipe("resnet50"), input_size=SIZE, backbone_weights=path)


def test_a_missing_weights_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="There is no weights file"):
        build_network(find_recipe("vgg16"), input_size=SIZE, backbone_weights=tmp_path / "no.h5")


def test_a_failed_download_names_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    real = keras.applications.ResNet50

    def offline(**options: Any) -> Any:
        if options["weights"] == "imagenet":
            raise URLError("no route to host")
        return real(**options)

    offline.__name__ = "ResNet50"
    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(RecipeError, match=r"could not be downloaded.*--backbone-weights"):
        build_network(find_recipe("resnet50"), input_size=SIZE, backbone_weights="imagenet")
