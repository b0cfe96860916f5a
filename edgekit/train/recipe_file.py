"""A recipe as a TOML file.

```
[distillation]              one table; leave it out to learn from labels alone
[[stage]]                   one table a stage, in order; `kind` says which
```
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import edgekit_models
from edgekit.errors import PlanError, RecipeError
from edgekit.toml_files import nearest, read_toml, unknown_setting
from edgekit.train.recipe import (
    KINDS,
    SHOWN,
    Distillation,
    Prune,
    Recipe,
    Stage,
    check_beside_pattern,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_KEYS = {"description", "batch_size", "precision", "coder", "stage", "distillation"}

T = TypeVar("T", bound="DataclassInstance")


def read_recipe(recipe: str | os.PathLike[str]) -> Recipe:
    """Read and check a recipe: a file, or the name of one that comes with edgekit.

    Raises RecipeError that names the file and the key.
    """
    path = _find(recipe)
    table = read_toml(path, RecipeError, what="the recipe")
    try:
        return parse_recipe(table, path.stem)
    except (RecipeError, PlanError) as error:
        raise RecipeError(f"{path}: {error}") from error


def parse_recipe(table: Mapping[str, Any], name: str) -> Recipe:
    """A recipe from a parsed TOML file. Raises RecipeError and PlanError."""
    rest = dict(table)
    listed = rest.pop("stage", [])
    taught = rest.pop("distillation", None)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise RecipeError("stages are tables of their own: [[stage]]")
    _check_keys(rest, _KEYS, "the recipe")
    stages = tuple(_stage(entry, number) for number, entry in enumerate(listed, 1))
    distillation = None
    if taught is not None:
        if not isinstance(taught, dict):
            raise RecipeError("distillation is a table: [distillation]")
        distillation = _filled(Distillation, taught, "[distillation]")
    return _filled(
        Recipe,
        {**rest, "name": name, "stages": stages, "distillation": distillation},
        "the recipe",
    )


def _stage(entry: Mapping[str, Any], number: int) -> Stage:
    rest = dict(entry)
    kind = rest.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise RecipeError(
            f"stage {number}: kind must be one of {', '.join(KINDS)}, got {str(kind)[:40]!r}"
            + nearest(str(kind), KINDS)
        )
    try:
        made = _filled(KINDS[kind], rest, "it")
        # What a file gives, even where it is the default, is meant to count.
        if isinstance(made, Prune) and made.pattern:
            check_beside_pattern(rest)
    except (RecipeError, PlanError) as error:
        raise RecipeError(f"stage {number} ({kind}): {error}") from error
    return made


def _filled(made: type[T], values: Mapping[str, Any], where: str) -> T:
    """An object of a dataclass from plain values, their types checked against its defaults."""
    known = {entry.name: entry for entry in fields(made)}
    _check_keys(values, known, where)
    for key, value in values.items():
        default = known[key].default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(default, float):
            fits = is_number
        elif default is None:
            fits = value is None or is_number or isinstance(value, Distillation)
        else:
            # Fields without a default are filled in here, not from the file.
            fits = default is MISSING or type(value) is type(default)
        if not fits:
            raise RecipeError(f"{where}: {key} can't be {repr(value)[:SHOWN]}")
    return made(**values)


def _check_keys(values: Mapping[str, Any], known: Mapping[str, Any] | set[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise RecipeError(f"{where} has {unknown_setting(key, known)}")


def _find(recipe: str | os.PathLike[str]) -> Path:
    """The file of a recipe that comes with edgekit, or the path as it is."""
    known = edgekit_models.recipe_paths()
    name = os.fspath(recipe)
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise RecipeError(
            f"no recipe {name}: name a .toml file or one of {', '.join(known)}"
            f"{nearest(name, known)}"
        )
    return Path(name)
