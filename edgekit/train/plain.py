"""Flat records from plain values, as JSON gives them, each field looked at."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def record(made: type[T], values: object) -> T:
    """A dataclass of whole numbers, numbers and texts, which may be None where that fits.

    Fields with a default may be missing. Raises ValueError for another set of fields, a value of
    another type, a number that isn't finite, and a whole number below zero.
    """
    types = get_type_hints(made)
    names = {field.name for field in fields(made)}
    needed = {field.name for field in fields(made) if field.default is MISSING}
    if not isinstance(values, dict) or not needed <= values.keys() <= names:
        raise ValueError(f"it must hold {', '.join(sorted(names))}")
    for name, value in values.items():
        if not _fits(value, types[name]):
            raise ValueError(f"{name} can't be {str(value)[:40]!r}")
    return made(**values)


def _fits(value: object, wanted: Any) -> bool:
    if value is None:
        return isinstance(None, wanted)
    if type(value) is str:
        return issubclass(str, wanted)
    if type(value) not in {int, float} or (wanted is int and type(value) is not int):
        return False
    if isinstance(value, int):
        return value >= 0
    return isinstance(value, float) and math.isfinite(value)
