"""Fields of a recipe set from the command line, each in its own type."""

from __future__ import annotations

import ast
import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xray_core.errors import RecipeError
from xray_core.model.recipes import Recipe, as_tuple

FIXED = ("name", "summary", "backbone", "augmentation")  # fields that no setting reaches


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """`recipe` with fields replaced, each given as `FIELD=VALUE`; of two for one field the last.

    Fields of the augmentation are written `augmentation.rotation=15`. Values are read as Python
    literals where they are such, otherwise as text.

    Raises:
        RecipeError: no such field, or a value of the wrong kind.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        field = field.strip()
        if not equals:
            raise RecipeError(f"Settings are written FIELD=VALUE. Received: {setting!r}.")
        head, dot, name = field.partition(".")
        inner = bool(dot) and head == "augmentation"
        record = recipe.augmentation if inner else recipe
        changes[field] = _value(record, name if inner else field, text.strip(), field)
    shape = {name.partition(".")[2]: value for name, value in changes.items() if "." in name}
    plain = {name: value for name, value in changes.items() if "." not in name}
    return replace(recipe, **plain, augmentation=replace(recipe.augmentation, **shape))


def setting_names(settings: Sequence[str]) -> set[str]:
    """The fields that settings name, as `with_settings` takes them."""
    return {setting.partition("=")[0].strip() for setting in settings}


def _value(record: Any, name: str, text: str, field: str) -> Any:
    """What `text` says, in the type that the field `name` of `record` has."""
    settable = [entry.name for entry in dataclasses.fields(record) if entry.name not in FIXED]
    if name not in settable:
        near = difflib.get_close_matches(name, settable, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"A recipe has no field {field!r}.{hint} Its fields are: {', '.join(settable)}."
        )
    old = getattr(record, name)
    value = _parsed(text, old)
    if isinstance(old, tuple) and isinstance(value, tuple):
        kinds = (int,) if name == "filters" else (int, float)
        fits = all(type(part) in kinds for part in value)
        fits = fits and (name == "filters" or len(value) == len(old))
    else:
        fits = type(value) is type(old)
    if not fits:
        raise RecipeError(f"Field {field!r} is like {old!r}. Received: {text!r}.")
    return value


def _parsed(text: str, old: Any) -> Any:
    """The value written in `text`, where the field holds `old` now; the text itself if none."""
    if isinstance(old, str):
        return text
    if isinstance(old, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return float(value) if isinstance(old, float) and type(value) is int else as_tuple(value)
