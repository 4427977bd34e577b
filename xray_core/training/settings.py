"""Recipe settings from the command line: `FIELD=VALUE` parsed, and every field checked.

`Recipe` itself refuses only what no network can be built from, so that older bundles open. A
recipe that is to be trained is checked more strictly: each value must be in its range, and each
field must have an effect together with the others.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from xray_core.errors import RecipeError
from xray_core.model.recipes import CHOICES, INPUT_SIZE, Augmentation, Recipe, as_tuple

FIXED = ("name", "summary", "kind", "backbone", "augmentation")  # fields that cannot be set
_NEVER_OFF = object()


@dataclass(frozen=True)
class FieldRule:
    """The values that one field may have.

    Attributes
    ----------
    valid_values : str
        Completes "must be ...".
    is_valid : callable
        Whether a value is valid; the types of booleans and choices are checked before.
    works_with : str
        Completes "works only with ...".
    has_effect : callable
        Whether the field has an effect in a recipe.
    off : object
        The value that means "not used", which is valid in every recipe.
    classifier_only : bool
        Whether the field has no effect in a segmentation.
    """

    valid_values: str = ""
    is_valid: Callable[[Any], bool] = lambda value: True
    works_with: str = ""
    has_effect: Callable[[Recipe], bool] = lambda recipe: True
    off: Any = _NEVER_OFF
    classifier_only: bool = False


def _share(value: float) -> bool:
    return 0 <= value <= 1


def _below_one(value: float) -> bool:
    return 0 <= value < 1


def _not_negative(value: float) -> bool:
    return value >= 0


def _grey_levels(value: float) -> bool:
    return 0 <= value <= 255


def _factors(value: tuple[float, float]) -> bool:
    return len(value) == 2 and 0 < value[0] <= value[1]


def _has_stem(recipe: Recipe) -> bool:
    return recipe.backbone == "resnet50" and recipe.train_backbone


def _degrades(recipe: Recipe) -> bool:
    return recipe.augmentation.degrade > 0


def _moves(recipe: Recipe) -> bool:
    """Whether the augmentation moves parts of an image beyond its edges."""
    how = recipe.augmentation
    return bool(how.rotation or how.stretch or how.shear or how.shift or how.zoom != (1.0, 1.0))


_DEGRADE_ON = "augmentation.degrade above 0"
_FACTORS = "a pair (low, high) with 0 < low <= high"

RULES: dict[str, FieldRule] = {
    **{name: FieldRule() for name in CHOICES if name not in FIXED},
    "pooling": FieldRule(classifier_only=True),
    "output": FieldRule(classifier_only=True),
    "imbalance": FieldRule(off="none", classifier_only=True),
    "lung_margin": FieldRule("0, or a share from 0 to 1", _share, off=0.0, classifier_only=True),
    "last_stage": FieldRule(
        works_with="the backbone resnet50 (--recipe resnet50 or resnet50-frozen)",
        has_effect=lambda recipe: recipe.backbone == "resnet50",
        classifier_only=True,
    ),
    "filters": FieldRule(
        "whole numbers of at least 1",
        lambda value: len(value) > 0 and min(value) >= 1,
        works_with="a network from scratch (--recipe cnn, cnn-softmax or lungs)",
        has_effect=lambda recipe: recipe.backbone is None,
        off=(),
    ),
    "pool": FieldRule(
        "at least 1",
        lambda value: value >= 1,
        works_with="a network from scratch (--recipe cnn or cnn-softmax)",
        has_effect=lambda recipe: recipe.backbone is None,
        classifier_only=True,
    ),
    "dense": FieldRule("0 or more", _not_negative, off=0, classifier_only=True),
    "batch_norm": FieldRule(off=False, classifier_only=True),
    "dropout": FieldRule("0 or more and below 1", _below_one, off=0.0, classifier_only=True),
    "dropout_first": FieldRule(
        works_with="dropout above 0 and a hidden layer (dense above 0, or batch_norm=true)",
        has_effect=lambda recipe: recipe.dropout > 0 and (recipe.dense > 0 or recipe.batch_norm),
        off=False,
    ),
    "train_backbone": FieldRule(
        works_with="a backbone (--recipe resnet50 or vgg16)",
        has_effect=lambda recipe: recipe.backbone is not None,
        off=False,
    ),
    "stem_rate": FieldRule(
        "above 0 and at most 1, a share of the learning rate",
        lambda value: 0 < value <= 1,
        works_with="the backbone resnet50, train_backbone=true and stem_epochs of 1 or more",
        has_effect=lambda recipe: _has_stem(recipe) and recipe.stem_epochs > 0,
        off=1.0,
    ),
    "stem_epochs": FieldRule(
        "0 or more",
        _not_negative,
        works_with="the backbone resnet50 and train_backbone=true",
        has_effect=_has_stem,
        off=0,
    ),
    "optimizer": FieldRule(
        works_with="weight_decay above 0 (without it, adamw is adam)",
        has_effect=lambda recipe: recipe.optimizer != "adamw" or recipe.weight_decay > 0,
        off="adam",
    ),
    "learning_rate": FieldRule("above 0 and at most 1", lambda value: 0 < value <= 1),
    "weight_decay": FieldRule(
        "0 or more and below 1",
        _below_one,
        works_with="optimizer=adamw",
        has_effect=lambda recipe: recipe.optimizer == "adamw",
        off=0.0,
    ),
    "label_smoothing": FieldRule(
        "0 or more and below 1",
        _below_one,
        works_with="output=sigmoid",
        has_effect=lambda recipe: recipe.output == "sigmoid",
        off=0.0,
        classifier_only=True,
    ),
    "mixup": FieldRule(
        "0 or more",
        _not_negative,
        works_with="output=sigmoid, cached_views=0 and a batch_size of 2 or more",
        has_effect=lambda recipe: (
            recipe.output == "sigmoid" and not recipe.cached_views and recipe.batch_size > 1
        ),
        off=0.0,
        classifier_only=True,
    ),
    "batch_size": FieldRule("at least 1", lambda value: value >= 1),
    "epochs": FieldRule("at least 1", lambda value: value >= 1),
    "patience": FieldRule("at least 1", lambda value: value >= 1),
    "cached_views": FieldRule(
        "0 or more",
        _not_negative,
        works_with="a frozen backbone (--recipe resnet50-frozen or vgg16, train_backbone=false)",
        has_effect=lambda recipe: recipe.backbone is not None and not recipe.train_backbone,
        off=0,
    ),
    "shifted_views": FieldRule("0 or more", _not_negative, off=0, classifier_only=True),
}

AUGMENTATION_RULES: dict[str, FieldRule] = {
    "flip_horizontal": FieldRule(),
    "flip_vertical": FieldRule(),
    "rotation": FieldRule("0 to 180 degrees", lambda value: 0 <= value <= 180),
    "zoom": FieldRule(_FACTORS, _factors),
    "stretch": FieldRule("0 or more", _not_negative),
    "shear": FieldRule("0 or more", _not_negative),
    "shift": FieldRule(
        f"0 or more and below the image's {INPUT_SIZE[0]} pixels",
        lambda value: 0 <= value < INPUT_SIZE[0],
    ),
    "fill": FieldRule(
        "a share from 0 to 1",
        _share,
        works_with="one of augmentation.rotation, zoom, stretch, shear and shift",
        has_effect=_moves,
        off=0.0,
    ),
    "gamma": FieldRule(_FACTORS, _factors),
    "gain": FieldRule(_FACTORS, _factors),
    "offset": FieldRule("0 to 255 grey levels", _grey_levels),
    "blur": FieldRule(
        "0, or 0.3 to 50 pixels (the smallest blur that is applied is 0.3)",
        lambda value: value == 0 or 0.3 <= value <= 50,
        works_with=_DEGRADE_ON,
        has_effect=_degrades,
        off=0.0,
    ),
    "noise": FieldRule(
        "0 to 255 grey levels", _grey_levels, works_with=_DEGRADE_ON, has_effect=_degrades, off=0.0
    ),
    "resolution": FieldRule(
        "0, or 1 to 199 pixels",
        lambda value: 0 <= value < 200,
        works_with=_DEGRADE_ON,
        has_effect=_degrades,
        off=0,
    ),
    "sharpen": FieldRule(
        "0 or more", _not_negative, works_with=_DEGRADE_ON, has_effect=_degrades, off=0.0
    ),
    "erase": FieldRule("a share from 0 to 1", _share),
    "frame": FieldRule("a share from 0 to 1", _share),
    "marker": FieldRule("a share from 0 to 1", _share),
    "degrade": FieldRule(
        "a share from 0 to 1",
        _share,
        works_with="one of augmentation.blur, noise, resolution and sharpen above 0",
        has_effect=lambda recipe: any(
            getattr(recipe.augmentation, name)
            for name in ("blur", "noise", "resolution", "sharpen")
        ),
    ),
}


def check_recipe(recipe: Recipe, named: Collection[str] = ()) -> None:
    """Check that all values are valid and that every field has an effect.

    A field without an effect may have its default value, unless it was set by name.

    Parameters
    ----------
    recipe : Recipe
        The recipe that is to be trained.
    named : collection of str
        The fields set by name, as in `--set` ("augmentation.zoom").

    Raises
    ------
    RecipeError
        One sentence for each invalid field: its name, the value received and valid values.
    """
    problems = [*_values(recipe), *_effects(recipe, named)]
    if not problems:
        problems = list(_combinations(recipe))
    if problems:
        raise RecipeError(" ".join(problems))


def _entries(recipe: Recipe) -> Iterator[tuple[str, FieldRule, Any, Any]]:
    """Name, rule, value and default of every field that can be set."""
    for prefix, record, rules in (
        ("", recipe, RULES),
        ("augmentation.", recipe.augmentation, AUGMENTATION_RULES),
    ):
        defaults = {entry.name: entry.default for entry in fields(record)}
        for name, rule in rules.items():
            yield prefix + name, rule, getattr(record, name), defaults[name]


def _values(recipe: Recipe) -> Iterator[str]:
    for name, rule, value, _ in _entries(recipe):
        if value == rule.off:
            continue
        parts = value if isinstance(value, tuple) else (value,)
        numbers = [part for part in parts if isinstance(part, int | float)]
        if not (all(math.isfinite(part) for part in numbers) and rule.is_valid(value)):
            yield f"Field {name!r} must be {rule.valid_values}. Received: {_text(value)}."


def _effects(recipe: Recipe, named: Collection[str]) -> Iterator[str]:
    for name, rule, value, default in _entries(recipe):
        not_here = rule.classifier_only and recipe.kind != "classifier"
        has_effect = rule.has_effect(recipe) and not not_here
        if value == rule.off or has_effect or (value == default and name not in named):
            continue
        works_with = "a classifier" if not_here else rule.works_with
        instead = (
            "or leave it out" if rule.off is _NEVER_OFF else f"or set {name}={_text(rule.off)}"
        )
        yield (
            f"Field {name!r} works only with {works_with}: choose that, {instead}. "
            f"Received: {_text(value)}."
        )


def _combinations(recipe: Recipe) -> Iterator[str]:
    """Problems of several fields together; each value is valid by itself."""
    for name in ("stem_epochs", "cached_views"):
        if getattr(recipe, name) > recipe.epochs:
            yield (
                f"Field {name!r} must be at most epochs={recipe.epochs}: lower it, or train more "
                f"epochs. Received: {getattr(recipe, name)}."
            )
    if recipe.cached_views > 1 and not _varies(recipe.augmentation):
        yield (
            "Field 'cached_views' above 1 works only with an augmentation, without which all views "
            f"are equal: set cached_views=1. Received: {recipe.cached_views}."
        )
    if recipe.imbalance == "balanced_batches" and recipe.batch_size % 2:
        yield (
            "Field 'batch_size' must be even with imbalance=balanced_batches, which fills one half "
            f"with each class: set {recipe.batch_size + 1}. Received: {recipe.batch_size}."
        )
    if recipe.kind == "classifier" and min(INPUT_SIZE) < recipe.pool ** len(recipe.filters):
        yield (
            f"Field 'pool' must leave some of the {INPUT_SIZE[0]} pixels after "
            f"{len(recipe.filters)} poolings: lower it, or give fewer filters. Received: "
            f"{recipe.pool}."
        )


def _varies(augmentation: Augmentation) -> bool:
    """Whether an augmentation changes any image."""
    return any(
        getattr(augmentation, entry.name) != entry.default
        for entry in fields(augmentation)
        if entry.name != "degrade"
    )


def _text(value: Any) -> str:
    """A value as written in `--set`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def apply_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Replace fields of a recipe.

    Fields of the augmentation are written `augmentation.rotation=15`. Values are parsed as Python
    literals where possible, otherwise as text.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    settings : sequence of str
        Each `FIELD=VALUE`; the last one for a field applies.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        There is no such field, or a value has the wrong type.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        field = field.strip()
        if not equals:
            raise RecipeError(f"A setting has the form FIELD=VALUE. Received: {setting!r}.")
        head, dot, name = field.partition(".")
        nested = bool(dot) and head == "augmentation"
        record = recipe.augmentation if nested else recipe
        changes[field] = _value(record, name if nested else field, text.strip(), field)
    augmentation = {name.partition(".")[2]: value for name, value in changes.items() if "." in name}
    plain = {name: value for name, value in changes.items() if "." not in name}
    return replace(recipe, **plain, augmentation=replace(recipe.augmentation, **augmentation))


def setting_names(settings: Sequence[str]) -> set[str]:
    """Get the names of the fields in settings.

    Parameters
    ----------
    settings : sequence of str
        Each `FIELD=VALUE`.

    Returns
    -------
    set of str
    """
    return {setting.partition("=")[0].strip() for setting in settings}


def _value(record: Any, name: str, text: str, field: str) -> Any:
    """`text` converted to the type of the field `name` of `record`."""
    settable = [entry.name for entry in fields(record) if entry.name not in FIXED]
    if name not in settable:
        near = difflib.get_close_matches(name, settable, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"A recipe has no field {field!r}.{hint} Its fields are: {', '.join(settable)}."
        )
    old = getattr(record, name)
    value = _parsed(text, old)
    if isinstance(old, tuple) and isinstance(value, tuple):
        types = (int,) if name == "filters" else (int, float)
        fits = all(type(part) in types for part in value)
        fits = fits and (name == "filters" or len(value) == len(old))
    else:
        fits = type(value) is type(old)
    if not fits:
        raise RecipeError(f"Field {field!r} must have a value like {old!r}. Received: {text!r}.")
    return value


def _parsed(text: str, old: Any) -> Any:
    """`text` as a value of the type of `old`; the text itself if it cannot be parsed."""
    if isinstance(old, str):
        return text
    if isinstance(old, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return float(value) if isinstance(old, float) and type(value) is int else as_tuple(value)
