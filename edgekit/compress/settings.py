"""A run of `compress` as a TOML file that repeats it to the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

from edgekit.compress.goal import Goal
from edgekit.compress.keep import Keep
from edgekit.compress.plan import Method, Scope, check_recipe
from edgekit.compress.surgery import check_surgery
from edgekit.errors import PlanError
from edgekit.files import write_atomic
from edgekit.packfile.activations import RunAs
from edgekit.packfile.writer import CoderName
from edgekit.toml_files import read_toml, unknown_setting

_KINDS: dict[str, type | tuple[type, ...]] = {
    "bits": int,
    "method": str,
    "sparsity": (int, float),
    "scope": str,
    "coder": str,
    "calibration": str,
    "preprocess": str,
    "bits_per_weight": (int, float),
    "target_bytes": int,
    "max_divergence": (int, float),
    "min_agreement": (int, float),
    "max_drop": (int, float),
    "evaluation": str,
    "keep": dict,
    "run_as": str,
    "int8_floats": list,
    "channels": (int, float),
    "low_rank": (int, float),
    "force": bool,
    "source_sha256": str,
}
"""Every key of a plan file and what it holds."""

_GOALS = tuple(entry.name for entry in fields(Goal))


@dataclass(frozen=True, slots=True)
class Settings:
    """What `compress` is asked for, all of it plain data.

    source_sha256: of the ONNX file that the plan was made for; "" for any. The other fields are
    the arguments of edgekit.compress.pipeline.compress.
    """

    bits: int = 8
    method: Method = "uniform"
    sparsity: float = 0.0
    scope: Scope = "global"
    coder: CoderName = "huffman"
    calibration: str | None = None
    preprocess: str | None = None
    goal: Goal = field(default_factory=Goal)
    evaluation: str | None = None
    keep: Mapping[str, Keep] = field(default_factory=dict)
    run_as: RunAs = "float"
    int8_floats: tuple[str, ...] | None = None
    channels: float = 1.0
    low_rank: float | None = None
    force: bool = False
    source_sha256: str = ""

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of `compress`."""
        names = (entry.name for entry in fields(self) if entry.name != "source_sha256")
        return {name: getattr(self, name) for name in names}

    def to_toml(self) -> str:
        """The text of a plan file; what isn't set is left out."""
        values = {"source_sha256": self.source_sha256 or None, **self.arguments()}
        values |= asdict(values.pop("goal"))
        keep = values.pop("keep")
        lines = [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
        if keep:
            entries = [f"{_toml(name)} = {_toml(width)}" for name, width in keep.items()]
            lines += ["", "[keep]", *entries]
        return "\n".join(lines) + "\n"


def write_settings(settings: Settings, path: str | os.PathLike[str]) -> None:
    """Write a plan file. Raises OutputError."""
    write_atomic(path, settings.to_toml().encode())


def read_settings(path: str | os.PathLike[str]) -> Settings:
    """Read a plan file. Raises PlanError that names the key, and the nearest to a misspelt one."""
    name = os.fspath(path)
    table = read_toml(path, PlanError, what="the plan")
    for key, value in table.items():
        if key not in _KINDS:
            raise PlanError(f"{name}: {unknown_setting(key, _KINDS)}")
        kind = _KINDS[key]
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
            raise PlanError(f"{name}: {key} can't be {value!r}")
    for layer, width in table.get("keep", {}).items():
        if width != "float" and type(width) is not int:
            raise PlanError(f"{name}: keep {layer}: bits or 'float', not {width!r}")
    if table.get("coder", "huffman") not in get_args(CoderName):
        raise PlanError(f"{name}: coder must be {' or '.join(get_args(CoderName))}")
    if table.get("run_as", "float") not in get_args(RunAs):
        raise PlanError(f"{name}: run_as must be {' or '.join(get_args(RunAs))}")
    if "int8_floats" in table:
        floats = table["int8_floats"] = tuple(table["int8_floats"])
        if not all(isinstance(layer, str) for layer in floats):
            raise PlanError(f"{name}: int8_floats must be names of layers")
    try:
        goal = Goal(**{key: table.pop(key) for key in _GOALS if key in table})
        settings = Settings(**table, goal=goal)
        check_recipe(
            bits=settings.bits,
            method=settings.method,
            sparsity=settings.sparsity,
            scope=settings.scope,
        )
        check_surgery(settings.channels, settings.low_rank)
    except PlanError as error:
        raise PlanError(f"{name}: {error}") from error
    return settings


def _toml(value: object) -> str:
    # Basic strings of TOML take JSON's escapes; integers and floats are written alike.
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON writes true and false as TOML does, too.
    is_json = isinstance(value, str | bool)
    return json.dumps(value, ensure_ascii=False) if is_json else repr(value)
