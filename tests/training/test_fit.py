"""The training loop: equal seeds, early stopping, and a kill at any moment."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from xray_core.dataset.index import build_index
from xray_core.errors import BundleError
from xray_core.model.architectures import build_network
from xray_core.model.recipes import Augmentation, Recipe, find_recipe
from xray_core.training import trainers
from xray_core.training.batches import image_batches
from xray_core.training.data import ImageSet, load_images
from xray_core.training.fit import Fitted, fit
from xray_core.training.optimizers import build_loss, build_optimizer, set_stem_trainable
from xray_core.training.trainers import validation_metrics

TINY = replace(
    find_recipe("cnn"),
    filters=(4, 4),
    pool=4,
    pooling="average",
    dense=4,
    epochs=3,
    batch_size=8,
    shifted_views=1,
    augmentation=Augmentation(flip_horizontal=True, rotation=5.0),
)


@pytest.fixture(scope="module")
def folds(dataset: Path) -> tuple[ImageSet, ImageSet]:
    folds = load_images(build_index(dataset), dataset).folds
    return folds["train"], folds["validation"]


Train = Callable[..., tuple[keras.Model, Fitted]]


@pytest.fixture
def train(folds: tuple[ImageSet, ImageSet]) -> Train:
    def run(
        folder: Path, recipe: Recipe = TINY, log: Any = None, **options: Any
    ) -> tuple[keras.Model, Fitted]:
        keras.utils.set_random_seed(0)
        network = build_network(recipe)
        options = {"seed": 0, "identity": {"recipe": recipe.to_dict()}} | options
        fitted = fit(network, recipe, *folds, folder, log=log or (lambda _: None), **options)
        return network, fitted

    return run


def predict_logits(network: keras.Model, batches: Any) -> np.ndarray:
    to_logit = keras.Model(network.input, network.get_layer("logit").output)
    return to_logit.predict(batches, verbose=0)[:, 0]


def without_time(fitted: Fitted) -> list[dict[str, float]]:
    return fitted.history.drop(columns="seconds").to_dict("records")


class Killed(Exception):
    pass


def test_a_stopped_run_goes_on_as_if_it_had_not_been(train: Train, tmp_path: Path) -> None:
    whole, expected = train(tmp_path / "whole")

    def killed_after_the_first(line: str) -> None:
        if line.startswith("Epoch 1/"):
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "run", log=killed_after_the_first)
    resumed, fitted = train(tmp_path / "run", resume=True)
    assert len(fitted.history) == 3
    assert without_time(fitted) == without_time(expected)
    assert fitted.best_epoch == expected.best_epoch
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_half_written_epoch_does_not_count(train: Train, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, recipe=replace(TINY, epochs=1))
    (run / "epoch-002.partial").mkdir()
    _, fitted = train(run, recipe=replace(TINY, epochs=1), resume=True)
    assert list(fitted.history["epoch"]) == [1]


def test_without_resume_a_run_begins_anew(train: Train, tmp_path: Path) -> None:
    recipe = replace(TINY, epochs=1)
    train(tmp_path, recipe=recipe)
    _, fitted = train(tmp_path, recipe=recipe)
    assert len(fitted.history) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-001"]


def test_another_recipes_run_is_not_resumed(train: Train, tmp_path: Path) -> None:
    train(tmp_path, recipe=replace(TINY, epochs=1))
    with pytest.raises(BundleError, match="started with another recipe"):
        train(tmp_path, recipe=replace(TINY, epochs=2), resume=True)


def test_training_stops_early_with_the_best_weights(
    train: Train, folds: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    # A learning rate at which every epoch after the first is worse or no better for long.
    recipe = replace(TINY, epochs=30, patience=2, learning_rate=0.3, shifted_views=0)
    network, fitted = train(tmp_path, recipe=recipe)
    losses = list(fitted.history["val_loss"])
    assert len(losses) == fitted.best_epoch + 2 < 30
    assert losses[fitted.best_epoch - 1] == min(losses)
    validation = folds[1]
    logit = predict_logits(network, image_batches(validation))
    numbers = validation_metrics(logit, validation.label, len(validation))
    assert numbers["val_loss"] == pytest.approx(min(losses), rel=1e-4)


def test_the_copies_to_choose_on_follow_the_split_s_seed(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    shift = trainers.add_shifted_copies
    monkeypatch.setattr(
        trainers,
        "add_shifted_copies",
        lambda images, copies, seed: asked.append(seed) or shift(images, copies, seed=seed),
    )
    recipe = replace(TINY, epochs=1)
    train(tmp_path / "one", recipe=recipe, seed=3)
    train(tmp_path / "two", recipe=recipe, seed=3, split_seed=5)
    assert asked == [0, 5]


def test_patience_survives_a_stop(train: Train, tmp_path: Path) -> None:
    recipe = replace(TINY, epochs=30, patience=2, learning_rate=0.3, shifted_views=0)
    _, expected = train(tmp_path / "whole", recipe=recipe)

    def killed(line: str) -> None:
        if line.startswith(f"Epoch {expected.best_epoch + 1}/"):
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "run", recipe=recipe, log=killed)
    _, fitted = train(tmp_path / "run", recipe=recipe, resume=True)
    assert len(fitted.history) == len(expected.history)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_kept_features_train_the_head_of_the_whole_network(
    output: str, train: Train, folds: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    # The convolutions stand in for a frozen backbone.
    recipe = replace(
        TINY, output=output, epochs=2, dropout=0.0, shifted_views=0, learning_rate=0.05
    )
    object.__setattr__(recipe, "cached_views", 2)
    before = build_network(recipe)
    network, fitted = train(tmp_path, recipe=recipe)
    assert [w.shape for w in network.get_weights()] == [w.shape for w in before.get_weights()]
    validation = folds[1]
    logit = predict_logits(network, image_batches(validation))
    numbers = validation_metrics(logit, validation.label, len(validation))
    best = fitted.history["val_loss"].iloc[fitted.best_epoch - 1]
    assert numbers["val_loss"] == pytest.approx(best, rel=1e-3)
    changed = keras.utils.set_random_seed(0) or build_network(recipe)
    for layer, start in zip(network.layers, changed.layers, strict=True):
        if layer.name.startswith("block") and layer.get_weights():
            assert np.array_equal(layer.get_weights()[0], start.get_weights()[0])
        if layer.name in ("hidden", "logit") and layer.get_weights():
            assert not np.array_equal(layer.get_weights()[0], start.get_weights()[0])


def test_the_stem_is_trained_in_the_last_epochs_only_and_gently(
    train: Train, tmp_path: Path
) -> None:
    recipe = replace(
        find_recipe("resnet50"),
        epochs=2,
        stem_epochs=1,
        batch_size=2,
        precision="float32",
        shifted_views=0,
        lung_margin=0.0,
        outside_weight=0.0,
        augmentation=Augmentation(),
    )
    kept: dict[int, list[np.ndarray]] = {}

    # Too slow on whole folds of large images: a network that only looks like one.
    image = keras.Input((224, 224, 1))
    x = keras.layers.AveragePooling2D(28)(image)
    x = keras.layers.Conv2D(3, 1, name="conv1_conv")(x)
    x = keras.layers.Conv2D(3, 1, name="conv3_conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    x = keras.layers.Dense(1, name="logit")(x)
    network = keras.Model(image, keras.layers.Activation("sigmoid", name="probability")(x))

    def note(line: str) -> None:
        epoch = int(line.split("/")[0].split()[1])
        kept[epoch] = [network.get_layer(n).kernel.numpy() for n in ("conv1_conv", "conv3_conv")]

    start = [network.get_layer(n).kernel.numpy() for n in ("conv1_conv", "conv3_conv")]
    images = ImageSet(*_halves())
    fit(network, recipe, images, images, tmp_path, seed=0, identity={}, log=note)
    assert np.array_equal(kept[1][0], start[0])
    assert not np.array_equal(kept[1][1], start[1])
    stem, rest = (np.abs(kept[2][i] - kept[1][i]).max() for i in (0, 1))
    assert 0 < stem < rest


def _halves() -> tuple[Any, np.ndarray, np.ndarray]:
    import pandas as pd

    label = np.array([0, 1] * 8, np.float32)
    pixels = np.random.default_rng(0).integers(0, 120, (16, 224, 224, 1)).astype(np.uint8)
    pixels[label == 1] += 100
    return pd.DataFrame({"path": range(16)}), pixels, label


def test_validation_metrics_are_those_worked_out_by_hand() -> None:
    # Two clean images, then two shifted ones. ln(1 + e^0) = 0.6931, ln(1 + e^-2) = 0.1269,
    # ln(1 + e^2) = 2.1269.
    numbers = validation_metrics(np.array([0.0, 2.0, 2.0, -2.0]), np.array([0, 1, 0, 1]), 2)
    assert numbers["val_loss"] == pytest.approx((0.6931 + 0.1269) / 2, abs=1e-4)
    assert numbers["shifted_loss"] == pytest.approx(2.1269, abs=1e-4)
    assert (numbers["val_accuracy"], numbers["shifted_accuracy"]) == (1.0, 0.0)
    assert (numbers["val_auc"], numbers["shifted_auc"]) == (1.0, 0.0)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_stem_learns_at_its_share_of_the_rate(optimizer: str) -> None:
    """The first step of Adam moves every weight by the learning rate, whatever the gradient.

    Keras hands `update_step` what it keeps behind each variable. Should a version hand over
    something else, this fails with a KeyError, and so does any training.
    """
    image = keras.Input((8, 8, 1))
    x = image
    for name in ("conv1_conv", "conv2_conv", "conv3_conv"):
        x = keras.layers.Conv2D(2, 1, name=name)(x)
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="features")(x))
    recipe = replace(
        find_recipe("resnet50"), optimizer=optimizer, stem_rate=0.25, schedule="constant",
        learning_rate=0.01, weight_decay=0.0,
    )  # fmt: skip
    rule = build_optimizer(recipe, network, steps=10)
    before = network.get_weights()
    rule.apply([keras.ops.ones_like(v) for v in network.trainable_variables],
               network.trainable_variables)  # fmt: skip
    moved = [np.abs(new - old) for new, old in zip(network.get_weights(), before, strict=True)]
    for kernel, bias in (moved[0:2], moved[2:4]):  # conv1 and conv2
        assert np.allclose(kernel, 0.0025, rtol=1e-3)
        assert np.allclose(bias, 0.0025, rtol=1e-3)
    assert np.allclose(moved[4], 0.01, rtol=1e-3)


def test_the_stem_s_rate_holds_where_the_stem_joins_in_later() -> None:
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 1, name="conv1_conv")(image)
    x = keras.layers.Conv2D(2, 1, name="conv3_conv")(x)
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="features")(x))
    recipe = replace(
        find_recipe("resnet50"), stem_rate=0.25, schedule="constant", learning_rate=0.01,
        weight_decay=0.0,
    )  # fmt: skip
    rule = build_optimizer(recipe, network, steps=10)
    for trainable in (False, True):
        set_stem_trainable(network, recipe, trainable=trainable)
        rule.build(network.trainable_variables)  # as Keras does at the start of each fit
        start = network.get_layer("conv1_conv").kernel.numpy()
        variables = network.trainable_variables
        rule.apply([keras.ops.ones_like(v) for v in variables], variables)
        moved = np.abs(network.get_layer("conv1_conv").kernel.numpy() - start).max()
        assert (moved > 0) == trainable
        assert moved < 0.005


def test_a_network_whose_numbers_are_not_finite_makes_no_bundle() -> None:
    from xray_core.training.outputs import run_network

    image = keras.Input((224, 224, 1))
    features = keras.layers.GlobalAveragePooling2D(name="features")(image)
    logit = keras.layers.Dense(1, name="logit")(features)
    network = keras.Model(image, [features, logit])
    images = ImageSet(*_halves())
    run_network(network, images, images)
    network.get_layer("logit").set_weights([np.full((1, 1), np.inf), np.zeros(1)])
    with pytest.raises(BundleError, match="not finite"):
        run_network(network, images, images)


def test_the_loss_of_a_segmentation_is_that_worked_out_by_hand() -> None:
    # Four pixels, two of lung, with probability 0.8 inside and 0.4 outside. Cross-entropy:
    # -(ln 0.8 + ln 0.6) / 2 = 0.36698. Dice loss: 1 - (2 * 1.6 + 1) / (2 + 2.4 + 1) = 0.22222.
    mask = np.array([1, 1, 0, 0], np.float32).reshape(1, 2, 2, 1)
    probability = np.array([0.8, 0.8, 0.4, 0.4], np.float32).reshape(1, 2, 2, 1)
    loss = build_loss(find_recipe("lungs"))
    assert float(loss(mask, probability)) == pytest.approx(0.36698 + 0.22222, abs=1e-4)
    assert float(loss(mask, mask)) == pytest.approx(0, abs=1e-4)
    # Of several images, the loss is the mean, and each has its own Dice loss.
    both = loss(np.concatenate([mask, mask]), np.concatenate([probability, mask]))
    assert float(both) == pytest.approx((0.36698 + 0.22222) / 2, abs=1e-4)
