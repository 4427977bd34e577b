"""Fields of a recipe set from the command line, each in its own type."""

from __future__ import annotations

import ast
import dataclasses
import difflib
from dataclasses import replace
from typing import Any

from xray_core.errors import RecipeError
from xray_core.model.recipes import Recipe, as_tuple


def with_settings(recipe: Recipe, settings: list[str]) -> Recipe:
    """`recipe` with fields replaced, each given as `FIELD=VALUE`.

    Fields of the augmentation are written `augmentation.rotation=15`. Values are read as Python
    literals where they are such, otherwise as text.

    Raises:
        RecipeError: no such field, or a value of the wrong kind.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise RecipeError(f"Settings are written FIELD=VALUE. Received: {setting!r}.")
        key = key.strip()
        if key.startswith("augmentation."):
            inner = _replaced(recipe.augmentation, key.partition(".")[2], text, prefix=key)
            recipe = replace(recipe, augmentation=inner)
        else:
            recipe = _replaced(recipe, key, text, prefix=key)
    return recipe


def _replaced(record: Any, name: str, text: str, *, prefix: str) -> Any:
    """`record` with the field `name` set to what `text` says, in the field's own type."""
    fixed = ("name", "summary", "backbone", "augmentation")
    settable = [entry.name for entry in dataclasses.fields(record) if entry.name not in fixed]
    if name not in settable:
        near = difflib.get_close_matches(name, settable, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"A recipe has no field {prefix!r}.{hint} Its fields are: {', '.join(settable)}."
        )
    old = getattr(record, name)
    value = _parsed(text.strip(), old)
    if isinstance(old, tuple) and isinstance(value, tuple):
        kinds = (int,) if name == "filters" else (int, float)
        fits = all(type(part) in kinds for part in value)
        fits = fits and (name == "filters" or len(value) == len(old))
    else:
        fits = type(value) is type(old)
    if not fits:
        raise RecipeError(f"Field {prefix!r} is like {old!r}. Received: {text!r}.")
    return replace(record, **{name: value})


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
