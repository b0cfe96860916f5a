"""Whatever a report file holds, it is refused in one line or shown; nothing else happens."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from edgekit.bench.reading import report_from_dict
from edgekit.bench.results import BenchReport
from edgekit.errors import InputError
from edgekit.report.latency import render_table
from edgekit.report.latency_page import render_page
from edgekit.report.latency_text import render_csv, render_markdown
from tests.bench.reports import case, report
from tests.report.test_latency_page import FULL

PLAIN: dict[str, Any] = json.loads(json.dumps(FULL.to_dict()))
# Fewer runs: their number isn't the point here.
for _case in PLAIN["cases"]:
    _case["times_s"] = [1e-3]
    _case["warm"] = {
        **dict.fromkeys(_case["warm"], 1e-3),
        "count": 1,
        "std_s": 0.0,
        "median_level": None,
    }

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 1, 1e-9, 1e-200, 1e200, 1e308, 10**30, "", "<b>", "\\", [], {}]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in plain data."""
    keys = range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()
    return [path, *(place for key in keys for place in places(node[key], (*path, key)))][
        bool(not path) :
    ]


PLACES = places(PLAIN)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_a_report_with_any_entries_is_refused_or_shown(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    plain = copy.deepcopy(PLAIN)
    for path, value in changes:
        holder: Any = plain
        try:
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            # An earlier change took this place away.
            continue

    with contextlib.suppress(InputError):
        show(report_from_dict(plain, "r.json"))


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=20), min_size=1, max_size=3),
    st.integers(0, 10**12),
)
def test_times_and_sizes_of_any_scale_are_shown(times: list[list[float]], size: int) -> None:
    cases = [
        replace(case(sample, path=f"{i}.onnx"), file_bytes=size) for i, sample in enumerate(times)
    ]

    show(report(*cases))


def show(shown: BenchReport) -> None:
    """Every form, each well-formed."""
    Console(file=io.StringIO(), width=80).print(render_table(shown))
    assert render_csv([shown])
    assert render_markdown([shown])
    page = render_page([shown])
    assert ">None<" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)  # noqa: S314 - our own text
