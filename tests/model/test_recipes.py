"""Recipes: changed by command-line settings, checked, and read back from a bundle."""

import json
from dataclasses import fields, replace

import pytest

from xray_core.errors import RecipeError
from xray_core.model.recipes import RECIPES, Augmentation, Recipe, find_recipe
from xray_core.training.settings import (
    AUGMENTATION_RULES,
    FIXED,
    RULES,
    apply_settings,
    check_recipe,
    setting_names,
)


def test_the_recipes_are_there() -> None:
    assert list(RECIPES) == [
        "resnet50",
        "resnet50-frozen",
        "vgg16",
        "vgg16-flatten",
        "cnn",
        "cnn-softmax",
        "lungs",
    ]


def test_the_augmentation_of_the_frozen_resnet() -> None:
    augmentation = find_recipe("resnet50-frozen").augmentation
    assert augmentation == Augmentation(
        flip_horizontal=True,
        flip_vertical=True,
        rotation=25.0,
        zoom=(0.7, 1.3),
        shear=0.2,
        gain=(0.8, 1.2),
    )


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_is_read_back_from_json(name: str) -> None:
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
def test_a_setting_keeps_the_type_of_its_field(setting: str, field: str, value: object) -> None:
    changed = getattr(apply_settings(find_recipe("resnet50"), [setting]), field)
    assert changed == value
    assert type(changed) is type(value)


def test_a_field_of_the_augmentation_is_set() -> None:
    recipe = apply_settings(find_recipe("cnn"), ["augmentation.zoom=(0.5, 2)", "epochs=2"])
    assert recipe.augmentation.zoom == (0.5, 2)
    assert recipe.epochs == 2


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("last_stag=conv5", "Did you mean last_stage"),
        ("augmentation.rotate=3", "no field 'augmentation.rotate'"),
        ("last_stage=conv3", "must be one of conv4, conv5"),
        ("epochs=many", "'epochs' must have a value like"),
        ("epochs=1.5", "'epochs' must have a value like"),
        ("augmentation.zoom=(1, 2, 3)", "'augmentation.zoom' must have a value like"),
        ("train_backbone=7", "'train_backbone' must have a value like"),
        ("epochs", "FIELD=VALUE"),
        ("name=other", "no field 'name'"),
    ],
)
def test_an_invalid_setting_is_refused(setting: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words.replace("(", r"\(")):
        apply_settings(find_recipe("resnet50"), [setting])


def test_an_unknown_recipe_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean resnet50\?.* vgg16-flatten"):
        find_recipe("resnet-50")


def test_a_recipe_of_another_version_is_refused() -> None:
    with pytest.raises(RecipeError, match="another version"):
        Recipe.from_dict({**find_recipe("cnn").to_dict(), "new_field": 1})


def test_the_order_of_settings_has_no_effect() -> None:
    settings = ["train_backbone=true", "cached_views=0", "dense=8"]
    recipe = find_recipe("vgg16")
    assert apply_settings(recipe, settings) == apply_settings(recipe, settings[::-1])


# For each field: a recipe, settings that are refused, and a part of the message. Each field has an
# invalid value, and, if it can be without effect, a recipe in which it has none.
REFUSED: dict[str, list[tuple[str, list[str], str]]] = {
    "last_stage": [
        ("vgg16", ["last_stage=conv4"], "works only with the backbone resnet50"),
        ("vgg16", ["last_stage=conv5"], "Received: conv5"),
        ("resnet50", ["last_stage=conv3"], "must be one of conv4, conv5"),
    ],
    "filters": [
        ("cnn", ["filters=(0,)"], "must be whole numbers of at least 1"),
        ("cnn", ["filters=(8, -8)"], "Received: (8, -8)"),
        ("cnn", ["filters=()"], "neither a backbone nor filters"),
        ("resnet50", ["filters=(8, 16)"], "works only with a network from scratch"),
        ("lungs", ["filters=(8, 8, 8, 8, 8, 8)"], "each halves the 224 pixels of a side"),
    ],
    "pool": [
        ("cnn", ["pool=0"], "must be at least 1"),
        ("cnn", ["pool=4"], "must leave some of the 224 pixels after 5 poolings"),
        ("vgg16", ["pool=3"], "works only with a network from scratch"),
        ("lungs", ["pool=3"], "works only with a classifier"),
    ],
    "preprocessing": [("cnn", ["preprocessing=torch"], "must be one of caffe, rescale")],
    "lung_margin": [
        ("cnn", ["lung_margin=1.5"], "must be 0, or a share from 0 to 1"),
        ("cnn", ["lung_margin=0.1"], "works only with output=sigmoid, pooling=average"),
        ("lungs", ["lung_margin=0.1"], "works only with a classifier"),
    ],
    "outside_weight": [
        ("resnet50", ["outside_weight=-1"], "must be 0 or more"),
        ("resnet50", ["outside_weight=0.5", "mixup=0.4"], "works only with output=sigmoid"),
        ("cnn-softmax", ["outside_weight=0.5"], "works only with output=sigmoid"),
        ("lungs", ["outside_weight=0.5"], "works only with a classifier"),
    ],
    "pooling": [
        ("cnn", ["pooling=max"], "must be one of average, flatten"),
        ("lungs", ["pooling=flatten"], "works only with a classifier"),
    ],
    "dense": [
        ("cnn", ["dense=-1"], "must be 0 or more"),
        ("lungs", ["dense=8"], "or set dense=0"),
    ],
    "batch_norm": [
        ("cnn", ["batch_norm=2"], "a value like False"),
        ("lungs", ["batch_norm=true"], "works only with a classifier"),
    ],
    "dropout": [
        ("cnn", ["dropout=1.5"], "must be 0 or more and below 1"),
        ("cnn", ["dropout=1"], "Received: 1.0"),
        ("cnn", ["dropout=-0.1"], "Received: -0.1"),
        ("lungs", ["dropout=0.5"], "works only with a classifier"),
    ],
    "dropout_first": [
        ("cnn", ["dropout=0"], "works only with dropout above 0"),
        ("vgg16", ["dense=0", "dropout=0.5", "dropout_first=true"], "a hidden layer"),
    ],
    "output": [
        ("cnn", ["output=tanh"], "must be one of sigmoid, softmax"),
        ("lungs", ["output=softmax"], "works only with a classifier"),
    ],
    "train_backbone": [
        ("cnn", ["train_backbone=true"], "works only with a backbone"),
        ("vgg16", ["train_backbone=true"], "'cached_views' works only with a frozen backbone"),
    ],
    "stem_rate": [
        ("resnet50", ["stem_rate=0"], "must be above 0 and at most 1"),
        ("resnet50", ["stem_rate=2"], "Received: 2.0"),
        ("resnet50", ["stem_epochs=0"], "'stem_rate' works only with the backbone resnet50"),
        ("vgg16", ["stem_rate=0.5"], "or set stem_rate=1.0"),
    ],
    "stem_epochs": [
        ("resnet50", ["stem_epochs=-1"], "must be 0 or more"),
        ("resnet50", ["stem_epochs=14"], "must be at most epochs=13"),
        ("vgg16", ["stem_epochs=2"], "works only with the backbone resnet50"),
        ("resnet50-frozen", ["stem_epochs=2"], "train_backbone=true"),
    ],
    "optimizer": [
        ("cnn", ["optimizer=sgd"], "must be one of adam, adamw"),
        ("cnn", ["optimizer=adamw"], "works only with weight_decay above 0"),
    ],
    "learning_rate": [
        ("cnn", ["learning_rate=-1.0"], "must be above 0 and at most 1"),
        ("cnn", ["learning_rate=0"], "Received: 0.0"),
        ("cnn", ["learning_rate=1e999"], "Received: inf"),
        ("cnn", ["learning_rate=nan"], "a value like 0.001"),
    ],
    "weight_decay": [
        ("resnet50", ["weight_decay=-0.1"], "must be 0 or more and below 1"),
        ("resnet50", ["optimizer=adam"], "works only with optimizer=adamw"),
        ("cnn", ["weight_decay=0.01"], "or set weight_decay=0.0"),
    ],
    "schedule": [("cnn", ["schedule=linear"], "must be one of constant, cosine")],
    "label_smoothing": [
        ("cnn", ["label_smoothing=1"], "must be 0 or more and below 1"),
        ("cnn", ["label_smoothing=-0.1"], "Received: -0.1"),
        ("cnn-softmax", ["label_smoothing=0.1"], "works only with output=sigmoid"),
        ("lungs", ["label_smoothing=0.1"], "works only with a classifier"),
    ],
    "mixup": [
        ("cnn", ["mixup=-1"], "must be 0 or more"),
        ("cnn-softmax", ["mixup=0.4"], "works only with output=sigmoid"),
        ("vgg16", ["mixup=0.4"], "cached_views=0"),
        ("cnn", ["mixup=0.4", "batch_size=1"], "batch_size of 2 or more"),
        ("lungs", ["mixup=0.4"], "works only with a classifier"),
    ],
    "imbalance": [
        ("cnn", ["imbalance=smote"], "must be one of class_weights"),
        ("lungs", ["imbalance=class_weights"], "or set imbalance=none"),
    ],
    "batch_size": [
        ("cnn", ["batch_size=0"], "must be at least 1"),
        ("resnet50", ["batch_size=31"], "must be even with imbalance=balanced_batches"),
    ],
    "epochs": [
        ("cnn", ["epochs=0"], "must be at least 1"),
        ("cnn", ["epochs=-3"], "Received: -3"),
    ],
    "patience": [("cnn", ["patience=0"], "must be at least 1")],
    "precision": [("cnn", ["precision=float16"], "must be one of auto, float32, mixed_bfloat16")],
    "cached_views": [
        ("vgg16", ["cached_views=-1"], "must be 0 or more"),
        ("vgg16", ["cached_views=16"], "must be at most epochs=15"),
        ("resnet50", ["cached_views=2"], "works only with a frozen backbone"),
        ("cnn", ["cached_views=2"], "works only with a frozen backbone"),
        (
            "vgg16",
            [
                "augmentation.flip_horizontal=false",
                "augmentation.rotation=0",
                "augmentation.zoom=(1, 1)",
                "augmentation.shift=0",
                "augmentation.gain=(1, 1)",
            ],
            "works only with an augmentation",
        ),
    ],
    "shifted_views": [
        ("cnn", ["shifted_views=-1"], "must be 0 or more"),
        ("lungs", ["shifted_views=2"], "works only with a classifier"),
    ],
    "augmentation.flip_horizontal": [
        ("cnn", ["augmentation.flip_horizontal=2"], "a value like True")
    ],
    "augmentation.flip_vertical": [("cnn", ["augmentation.flip_vertical=2"], "a value like False")],
    "augmentation.rotation": [
        ("cnn", ["augmentation.rotation=-5"], "must be 0 to 180 degrees"),
        ("cnn", ["augmentation.rotation=200"], "Received: 200.0"),
    ],
    "augmentation.zoom": [
        ("cnn", ["augmentation.zoom=(0, 1)"], "must be a pair (low, high) with 0 < low <= high"),
        ("cnn", ["augmentation.zoom=(1.2, 0.8)"], "Received: (1.2, 0.8)"),
        ("cnn", ["augmentation.zoom=(1, 1e999)"], "Received: (1, inf)"),
    ],
    "augmentation.stretch": [("cnn", ["augmentation.stretch=-0.1"], "must be 0 or more")],
    "augmentation.shear": [("cnn", ["augmentation.shear=-0.1"], "must be 0 or more")],
    "augmentation.shift": [
        ("cnn", ["augmentation.shift=-1"], "must be 0 or more and below"),
        ("cnn", ["augmentation.shift=224"], "the image's 224 pixels"),
    ],
    "augmentation.fill": [
        ("lungs", ["augmentation.fill=2"], "must be a share from 0 to 1"),
        (
            "cnn",
            [
                "augmentation.fill=0.5",
                "augmentation.rotation=0",
                "augmentation.zoom=(1, 1)",
                "augmentation.shift=0",
            ],
            "works only with one of augmentation.rotation",
        ),
    ],
    "augmentation.gamma": [("cnn", ["augmentation.gamma=(0, 1)"], "0 < low <= high")],
    "augmentation.gain": [("cnn", ["augmentation.gain=(-1, 1)"], "0 < low <= high")],
    "augmentation.offset": [("cnn", ["augmentation.offset=300"], "must be 0 to 255 grey levels")],
    "augmentation.blur": [
        ("resnet50", ["augmentation.blur=0.1"], "the smallest blur that is applied is 0.3"),
        ("resnet50", ["augmentation.degrade=0"], "'augmentation.blur' works only with"),
    ],
    "augmentation.noise": [
        ("resnet50", ["augmentation.noise=-1"], "must be 0 to 255 grey levels"),
        ("resnet50", ["augmentation.degrade=0"], "'augmentation.noise' works only with"),
    ],
    "augmentation.resolution": [
        ("resnet50", ["augmentation.resolution=-5"], "must be 0, or 1 to 199 pixels"),
        ("resnet50", ["augmentation.resolution=224"], "Received: 224"),
        ("resnet50", ["augmentation.degrade=0"], "'augmentation.resolution' works only with"),
    ],
    "augmentation.sharpen": [
        ("resnet50", ["augmentation.sharpen=-1"], "must be 0 or more"),
        ("resnet50", ["augmentation.degrade=0"], "'augmentation.sharpen' works only with"),
    ],
    "augmentation.crop": [("cnn", ["augmentation.crop=0"], "must be above 0 and at most 1")],
    "augmentation.part": [("cnn", ["augmentation.part=2"], "must be a share from 0 to 1")],
    "augmentation.detail": [("cnn", ["augmentation.detail=2"], "must be a share from 0 to 1")],
    "augmentation.recompress": [("cnn", ["augmentation.recompress=-1"], "a share from 0 to 1")],
    "augmentation.whole": [
        ("cnn", ["augmentation.whole=2"], "must be a share from 0 to 1"),
        (
            "resnet50",
            ["lung_margin=0", "augmentation.whole=0.2"],
            "works only with lung_margin above 0",
        ),
    ],
    "augmentation.hide_lungs": [
        ("resnet50", ["augmentation.hide_lungs=2"], "must be a share from 0 to 1"),
        ("cnn", ["augmentation.hide_lungs=0.2"], "works only with output=sigmoid"),
        ("lungs", ["augmentation.hide_lungs=0.2"], "works only with output=sigmoid"),
    ],
    "augmentation.replace_outside": [
        ("resnet50", ["augmentation.replace_outside=2"], "must be a share from 0 to 1"),
        ("vgg16", ["augmentation.replace_outside=0.2"], "works only with output=sigmoid"),
    ],
    "augmentation.erase": [("cnn", ["augmentation.erase=1.5"], "must be a share from 0 to 1")],
    "augmentation.frame": [("cnn", ["augmentation.frame=-0.5"], "must be a share from 0 to 1")],
    "augmentation.marker": [("cnn", ["augmentation.marker=30"], "must be a share from 0 to 1")],
    "augmentation.degrade": [
        ("resnet50", ["augmentation.degrade=1.1"], "must be a share from 0 to 1"),
        ("cnn", ["augmentation.degrade=0.5"], "works only with one of augmentation.blur"),
    ],
}


def field_names() -> set[str]:
    inner = {f"augmentation.{entry.name}" for entry in fields(Augmentation)}
    return {entry.name for entry in fields(Recipe)} - set(FIXED) | inner


def test_every_field_has_a_rule_and_a_refused_value() -> None:
    assert set(RULES) | {f"augmentation.{name}" for name in AUGMENTATION_RULES} == field_names()
    assert set(REFUSED) == field_names()


@pytest.mark.parametrize(
    ("field", "recipe", "settings", "words"),
    [(field, *case) for field, cases in REFUSED.items() for case in cases],
)
def test_a_field_that_is_invalid_or_without_effect_is_refused(
    field: str, recipe: str, settings: list[str], words: str
) -> None:
    with pytest.raises(RecipeError) as refusal:
        check_recipe(apply_settings(find_recipe(recipe), settings), setting_names(settings))
    message = str(refusal.value)
    assert words in message
    assert field in message or words.startswith("neither")
    assert "Received: " in message or words.startswith("neither")


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_named_recipe_is_valid(name: str) -> None:
    check_recipe(find_recipe(name))


WITHOUT_LUNGS = [
    "outside_weight=0",
    *(f"augmentation.{name}=0" for name in ("whole", "hide_lungs", "replace_outside")),
]


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("resnet50", ["last_stage=conv5"]),
        ("resnet50", ["optimizer=adam", "weight_decay=0"]),
        ("resnet50", ["stem_epochs=0", "stem_rate=1"]),
        ("resnet50", ["mixup=0.4", "lung_margin=0", *WITHOUT_LUNGS]),
        ("resnet50", ["lung_margin=0.1", "outside_weight=0.5", "augmentation.whole=0.2"]),
        ("resnet50", ["augmentation.hide_lungs=0.2", "augmentation.replace_outside=0.2"]),
        ("cnn-softmax", ["mixup=0", "label_smoothing=0"]),
        ("cnn-softmax", ["output=sigmoid", "mixup=0.4", "label_smoothing=0.1"]),
        ("vgg16", ["train_backbone=true", "cached_views=0"]),
        ("vgg16", ["mixup=0.4", "cached_views=0"]),
        ("cnn", ["optimizer=adamw", "weight_decay=0.01", "patience=99"]),
        ("lungs", ["optimizer=adamw", "weight_decay=0.01", "filters=(4, 8)", "imbalance=none"]),
        ("lungs", ["preprocessing=rescale", "precision=mixed_bfloat16", "augmentation.fill=0"]),
        ("cnn", ["filters=(4, 4, 4)", "pool=6", "learning_rate=1"]),
        ("cnn", ["augmentation.blur=1", "augmentation.degrade=1", "augmentation.zoom=(0.5, 2)"]),
    ],
)
def test_compatible_fields_are_accepted(recipe: str, settings: list[str]) -> None:
    check_recipe(apply_settings(find_recipe(recipe), settings), setting_names(settings))


def test_the_kind_of_a_recipe_cannot_be_set() -> None:
    with pytest.raises(RecipeError, match="no field 'kind'"):
        apply_settings(find_recipe("cnn"), ["kind=segmentation"])


def test_a_segmentation_has_no_backbone() -> None:
    with pytest.raises(RecipeError, match="a segmentation and has a backbone"):
        replace(find_recipe("lungs"), backbone="resnet50")


def test_nan_is_refused() -> None:
    recipe = replace(find_recipe("cnn"), augmentation=Augmentation(noise=float("nan")))
    with pytest.raises(RecipeError, match=r"'augmentation\.noise' must be .* Received: nan"):
        check_recipe(recipe)


def test_a_stored_recipe_may_have_fields_without_effect() -> None:
    stored = {**find_recipe("cnn-softmax").to_dict(), "mixup": 0.4, "learning_rate": -1.0}
    assert Recipe.from_dict(stored).mixup == 0.4
