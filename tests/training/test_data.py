"""The pipeline: the app's own pixels, balanced batches, epochs that can be repeated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xray_core.dataset.index import build_index
from xray_core.model.recipes import Augmentation, find_recipe
from xray_core.prediction.predictor import Predictor
from xray_core.training.data import (
    Films,
    augmented_view,
    class_weights,
    epoch_order,
    film_batches,
    load_films,
    shifted_films,
    training_batches,
)


@pytest.fixture(scope="module")
def films(dataset: Path) -> Films:
    return load_films(build_index(dataset), dataset).folds["train"]


def test_training_and_predictor_see_the_same_tensor(
    films: Films, dataset: Path, micro_bundle: Path
) -> None:
    predictor = Predictor.load(micro_bundle)
    batch = next(iter(film_batches(films))).numpy()
    for row in (0, len(films) - 1):
        path = dataset / films.table["path"][row]
        assert np.array_equal(batch[row], predictor.model_input(path))


def test_without_augmentation_training_batches_hold_the_films_themselves(films: Films) -> None:
    recipe = replace(find_recipe("cnn"), augmentation=Augmentation(), batch_size=8)
    known = {film.tobytes() for film in films.pixels.astype(np.float32)}
    for pixels, _, _ in training_batches(films, recipe, seed=0, epoch=1):
        assert all(film.tobytes() in known for film in pixels.numpy())


def test_an_epoch_can_be_repeated_and_the_next_differs(films: Films) -> None:
    recipe = replace(find_recipe("resnet50"), batch_size=8)

    def epoch(number: int) -> np.ndarray:
        batches = training_batches(films, recipe, seed=5, epoch=number)
        return np.concatenate([pixels.numpy() for pixels, _, _ in batches])

    first = epoch(1)
    assert np.array_equal(first, epoch(1))
    assert not np.array_equal(first, epoch(2))


def test_balanced_batches_hold_as_many_of_each_class() -> None:
    label = np.array([0] * 10 + [1] * 30, np.float32)
    recipe = replace(find_recipe("resnet50"), batch_size=8)
    order = epoch_order(label, recipe, np.random.default_rng(0))
    batches = label[order].reshape(-1, 8)
    assert len(batches) == 5
    assert batches.sum(axis=1).tolist() == [4] * 5
    # 20 places for 10 normal films: each is shown twice. 20 for 30 with pneumonia: none is.
    counts = np.bincount(order, minlength=40)
    assert counts[:10].tolist() == [2] * 10
    assert counts[10:].max() == 1


def test_without_balancing_every_film_is_shown_once() -> None:
    order = epoch_order(np.array([0, 1] * 16), find_recipe("cnn"), np.random.default_rng(0))
    assert sorted(order) == list(range(32))


def test_class_weights_let_both_classes_weigh_the_same() -> None:
    label = np.array([0, 1, 1, 1], np.float32)
    weight = class_weights(label, "class_weights")
    assert weight.tolist() == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])
    assert class_weights(label, "none").tolist() == [1, 1, 1, 1]


def test_mixup_blends_films_and_labels_alike(films: Films) -> None:
    recipe = replace(find_recipe("cnn"), mixup=0.5, batch_size=8, augmentation=Augmentation())
    pixels, label, _ = next(iter(training_batches(films, recipe, seed=0, epoch=1)))
    plain, truth, _ = next(
        iter(training_batches(films, replace(recipe, mixup=0.0), seed=0, epoch=1))
    )
    plain, truth = plain.numpy(), truth.numpy()
    share = (pixels.numpy()[0] - plain[-1]).sum() / (plain[0] - plain[-1]).sum()
    assert 0 <= share <= 1
    assert np.allclose(label.numpy(), share * truth + (1 - share) * truth[::-1], atol=1e-3)


def test_shifted_copies_stand_beside_their_films(films: Films) -> None:
    varied = shifted_films(films, 2, seed=0)
    assert len(varied) == 3 * len(films)
    assert np.array_equal(varied.pixels[: len(films)], films.pixels)
    assert varied.label.tolist() == films.label.tolist() * 3
    changed = varied.pixels[len(films) : 2 * len(films)] != films.pixels
    assert changed.any(axis=(1, 2, 3)).all()


def test_a_view_varies_every_film_once_in_order(films: Films) -> None:
    recipe = replace(find_recipe("vgg16"), augmentation=Augmentation())
    view = np.concatenate([batch.numpy() for batch in augmented_view(films, recipe, 0, 0)])
    assert np.array_equal(view, films.pixels.astype(np.float32))
