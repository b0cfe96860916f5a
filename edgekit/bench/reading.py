"""Read a saved latency report back, trusting nothing in it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from edgekit.bench.findings import Accuracy, Endurance, Profile
from edgekit.bench.host import Host
from edgekit.bench.results import KIND, SCHEMA, BenchReport, Case, ColdStart, Settings
from edgekit.bench.state import State
from edgekit.bench.statistics import summarize
from edgekit.errors import InputError

MOST_BYTES = 256 << 20
"""A report of ten million runs."""

_CLOSE = 1e-9
_LARGEST = 1e300

T = TypeVar("T")


def read_report(path: str | os.PathLike[str]) -> BenchReport:
    """The report that `edgekit bench --format json` wrote. Raises InputError with one line."""
    name = os.fspath(path)
    try:
        if Path(path).stat().st_size > MOST_BYTES:
            raise InputError(f"{name} has more than {MOST_BYTES >> 20} MiB, too much for a report")
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't read {name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} isn't JSON: not UTF-8 text") from error
    try:
        plain = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} isn't JSON: {error}") from error
    return report_from_dict(plain, name)


def report_from_dict(plain: object, name: str = "report") -> BenchReport:
    """A report from `BenchReport.to_dict()` or its JSON.

    name: for messages. Raises InputError for another kind of file, another version, and the first
    entry that is missing or wrong.
    """
    if not isinstance(plain, dict) or plain.get("kind") != KIND:
        raise InputError(
            f"{name} isn't a latency report; `edgekit bench FILE --format json` writes one"
        )
    if plain.get("schema") != SCHEMA:
        raise InputError(
            f"{name} is a latency report of version {plain.get('schema')!r}, this edgekit reads "
            f"{SCHEMA}; measure again, or use the edgekit that wrote it"
        )
    try:
        return _report(plain)
    except _WrongEntryError as error:
        raise InputError(f"{name}: {error}") from error


class _WrongEntryError(Exception):
    """Where in a report something is wrong, and what."""


def _report(plain: dict[str, Any]) -> BenchReport:
    cases = _entry(plain, "cases", list, "")
    if not cases:
        _wrong("cases", "must hold at least one case", cases)
    settings: Settings = _typed(Settings, plain.get("settings"), "settings")
    if not settings.threads or min(settings.threads) < 1 or settings.turn < 1:
        _wrong("settings.threads and settings.turn", "must be at least 1", settings.threads)
    return BenchReport(
        created=_typed(str, plain.get("created"), "created"),
        settings=settings,
        host=_typed(Host, plain.get("host"), "host"),
        before=_typed(State, plain.get("before"), "before"),
        after=_typed(State, plain.get("after"), "after"),
        warnings=_typed(tuple[str, ...], plain.get("warnings"), "warnings"),
        cases=tuple(_case(case, f"cases[{place}]") for place, case in enumerate(cases)),
        others_busy=_typed(float | None, plain.get("others_busy"), "others_busy"),
    )


def _case(plain: object, where: str) -> Case:
    if not isinstance(plain, dict):
        _wrong(where, "must be an object", plain)
    inputs = _entry(plain, "inputs", dict, where)
    shapes, dtypes = {}, {}
    for name, described in inputs.items():
        place = f"{where}.inputs.{name}"
        if not isinstance(described, dict):
            _wrong(place, "must be an object", described)
        shapes[name] = _typed(tuple[int, ...], described.get("shape"), f"{place}.shape")
        dtypes[name] = _typed(str, described.get("dtype"), f"{place}.dtype")
    times = _typed(tuple[float, ...], plain.get("times_s"), f"{where}.times_s")
    if not times or min(times) <= 0:
        _wrong(f"{where}.times_s", "must hold times above 0", list(times)[:3])
    warm = summarize(times)
    stated = _entry(plain, "warm", dict, where)
    for statistic, value in warm.to_dict().items():
        told = stated.get(statistic)
        same = (
            told is value
            if value is None or told is None
            else isinstance(told, int | float) and math.isclose(told, value, rel_tol=_CLOSE)
        )
        if not same:
            _wrong(f"{where}.warm.{statistic}", f"doesn't follow from times_s ({value})", told)
    endurance: Endurance | None = _typed(
        Endurance | None, plain.get("endurance"), f"{where}.endurance"
    )
    if endurance is not None and not endurance.windows:
        _wrong(f"{where}.endurance.windows", "must hold at least one window", [])
    return Case(
        path=_typed(str, plain.get("path"), f"{where}.path"),
        kind=_typed(str, plain.get("kind"), f"{where}.kind"),
        file_bytes=_typed(int, plain.get("file_bytes"), f"{where}.file_bytes"),
        sha256=_typed(str, plain.get("sha256"), f"{where}.sha256"),
        threads=_typed(int, plain.get("threads"), f"{where}.threads"),
        inputs=shapes,
        dtypes=dtypes,
        items=_typed(int, plain.get("items"), f"{where}.items"),
        cold=_typed(tuple[ColdStart, ...], plain.get("cold"), f"{where}.cold"),
        warm=warm,
        times_s=times,
        profile=_typed(Profile | None, plain.get("profile"), f"{where}.profile"),
        endurance=endurance,
        accuracy=_typed(Accuracy | None, plain.get("accuracy"), f"{where}.accuracy"),
    )


def _typed(kind: Any, value: object, where: str) -> Any:
    """`value` as the type `kind`: plain types, tuples, mappings, unions and our dataclasses."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        if value is None and type(None) in arguments:
            return None
        return _typed(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            _wrong(where, "must be a list", value)
        return tuple(_typed(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            _wrong(where, "must be an object", value)
        key_kind, item_kind = arguments
        return {
            _key(key_kind, key, where): _typed(item_kind, item, f"{where}.{key}")
            for key, item in value.items()
        }
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            _wrong(where, "must be an object", value)
        hints = typing.get_type_hints(kind)
        return kind(
            **{
                field.name: _typed(
                    hints[field.name], value.get(field.name), f"{where}.{field.name}"
                )
                for field in dataclasses.fields(kind)
            }
        )
    return _plain(kind, value, where)


def _plain(kind: Any, value: object, where: str) -> Any:
    # JSON's true is an int for Python.
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        # A number with many digits or a large exponent is none that we wrote.
        if not -_LARGEST < value < _LARGEST:
            _wrong(where, "must be a number of a sensible size", value)
        if value < 0 and where.endswith(("_s", "_hz", "seconds", "top1")):
            _wrong(where, "must not be below 0", value)
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if kind in {str, bool} and isinstance(value, kind):
        return value
    wanted = {
        float: "a number",
        int: "a whole number from 0 on",
        str: "text",
        bool: "true or false",
    }
    return _wrong(where, f"must be {wanted[kind]}", value)


def _key(kind: Any, key: str, where: str) -> Any:
    if kind is str:
        return key
    if key.isascii() and key.isdigit():
        return int(key)
    return _wrong(where, "must have whole numbers as keys", key)


def _entry(plain: Mapping[str, object], key: str, kind: type[T], where: str) -> T:
    value = plain.get(key)
    place = f"{where}.{key}".lstrip(".")
    if not isinstance(value, kind):
        _wrong(place, "must be an object" if kind is dict else "must be a list", value)
    return value


def _wrong(where: str, rule: str, value: object) -> NoReturn:
    shown = "missing" if value is None else repr(value)
    raise _WrongEntryError(f"{where} {rule}, found {shown[:60]}")


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
