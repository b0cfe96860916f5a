"""The published schema describes what the benchmark writes: all of it, and nothing looser."""

from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgekit.bench.measure import bench
from edgekit.bench.results import KIND, SCHEMA
from tests.bench.reports import NOBODY, UNKNOWN, case, report
from tests.bench.test_reading import FULL

SCHEMA_TEXT = resources.files("edgekit.bench").joinpath("latency.schema.json").read_text("utf-8")
PUBLISHED: dict[str, Any] = json.loads(SCHEMA_TEXT)
VALIDATOR = jsonschema.Draft202012Validator(PUBLISHED)


def saved(shown: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(shown.to_dict()))
    return plain


def test_the_schema_is_a_schema_of_this_version() -> None:
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)

    assert PUBLISHED["properties"]["schema"]["const"] == SCHEMA
    assert PUBLISHED["properties"]["kind"]["const"] == KIND


@pytest.mark.parametrize("shown", [FULL, report(case([1e-3]), host=NOBODY, state=UNKNOWN)])
def test_reports_of_known_and_unknown_machines_fit_it(shown: Any) -> None:
    VALIDATOR.validate(saved(shown))


def test_a_report_of_this_machine_fits_it(tiny_onnx_path: Path) -> None:
    VALIDATOR.validate(saved(bench(tiny_onnx_path, runs=12, warmup=1, profile=True, sustain_s=0.1)))


def test_it_describes_every_entry() -> None:
    """Closed with additionalProperties, it still takes a full report: no entry is undescribed."""
    closed = copy.deepcopy(PUBLISHED)

    def close(node: Any) -> None:
        if isinstance(node, dict):
            if "properties" in node and "required" in node:
                node["additionalProperties"] = False
                assert set(node["required"]) == set(node["properties"])
            for child in node.values():
                close(child)
        elif isinstance(node, list):
            for child in node:
                close(child)

    close(closed)

    jsonschema.Draft202012Validator(closed).validate(saved(FULL))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), 2),
        (("cases",), []),
        (("cases", 0, "times_s", 0), 0),
        (("cases", 0, "sha256"), "xyz"),
        (("cases", 0, "accuracy", "top1"), 91.2),
        (("settings", "threads"), [0]),
        (("host", "cpu", "flags"), "asimd"),
    ],
)
def test_what_the_reader_would_not_take_breaks_it(
    place: tuple[str | int, ...], value: object
) -> None:
    plain = saved(FULL)
    holder: Any = plain
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value

    assert not VALIDATOR.is_valid(plain)
