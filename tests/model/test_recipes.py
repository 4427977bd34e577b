"""Recipes: rows of data that can be changed from the command line and read back from a bundle."""

import json

import pytest

from xray_core.errors import RecipeError
from xray_core.model.recipes import RECIPES, Recipe, find_recipe
from xray_core.model.settings import with_settings


def test_the_six_recipes_are_there() -> None:
    assert list(RECIPES) == [
        "resnet50",
        "resnet50-frozen",
        "vgg16",
        "vgg16-flatten",
        "cnn",
        "cnn-softmax",
    ]


def test_the_frozen_resnet_varies_films_as_its_row_says() -> None:
    how = find_recipe("resnet50-frozen").augmentation
    assert (how.flip_horizontal, how.flip_vertical) == (True, True)
    assert (how.rotation, how.zoom, how.shear, how.gain) == (25.0, (0.7, 1.3), 0.2, (0.8, 1.2))


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_survives_json(name: str) -> None:
    recipe = find_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ("last_stage=conv5", "last_stage", "conv5"),
        ("learning_rate=1", "learning_rate", 1.0),
        ("epochs=3", "epochs", 3),
        ("train_backbone=false", "train_backbone", False),
        ("filters=(8, 16)", "filters", (8, 16)),
        ("imbalance=none", "imbalance", "none"),
    ],
)
def test_a_field_is_set_in_its_own_type(setting: str, field: str, value: object) -> None:
    changed = getattr(with_settings(find_recipe("resnet50"), [setting]), field)
    assert changed == value
    assert type(changed) is type(value)


def test_a_field_of_the_augmentation_is_set() -> None:
    recipe = with_settings(find_recipe("cnn"), ["augmentation.zoom=(0.5, 2)", "epochs=2"])
    assert recipe.augmentation.zoom == (0.5, 2)
    assert recipe.epochs == 2


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("last_stag=conv5", "Did you mean last_stage"),
        ("augmentation.rotate=3", "no field 'augmentation.rotate'"),
        ("last_stage=conv3", "must be one of conv4, conv5"),
        ("epochs=many", "'epochs' is like"),
        ("epochs=1.5", "'epochs' is like"),
        ("epochs=0", "at least 1"),
        ("augmentation.zoom=(1, 2, 3)", "'augmentation.zoom' is like"),
        ("train_backbone=7", "'train_backbone' is like"),
        ("epochs", "FIELD=VALUE"),
        ("name=other", "no field 'name'"),
        ("cached_views=2", "only where the backbone is frozen"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(setting: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words.replace("(", r"\(")):
        with_settings(find_recipe("resnet50"), [setting])


def test_an_unknown_recipe_names_the_near_one_and_all() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean resnet50\?.* vgg16-flatten"):
        find_recipe("resnet-50")


def test_a_recipe_of_another_version_is_refused() -> None:
    with pytest.raises(RecipeError, match="another version"):
        Recipe.from_dict({**find_recipe("cnn").to_dict(), "new_field": 1})
