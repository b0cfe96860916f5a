"""Grids of activations, and the manifest entry that carries them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import CorruptError, UsageError
from edgekit.packfile.activations import (
    MAX_TENSORS,
    Activations,
    activations_from_ranges,
    grid_of,
    read_activations,
    record,
    recorded_form,
)

FINITE = st.floats(-1e6, 1e6)


@given(FINITE, FINITE)
def test_a_grid_reaches_both_ends_within_half_a_step_and_holds_zero(
    first: float, second: float
) -> None:
    low, high = sorted((first, second))

    grid = grid_of(low, high)

    assert 0 <= grid.zero_point <= 255
    if max(abs(low), abs(high)) > 1e-25:
        slack = 0.51 * grid.scale + 1e-4 * (max(high, 0) - min(low, 0))
        assert (255 - grid.zero_point) * grid.scale >= high - slack
        assert -grid.zero_point * grid.scale <= low + slack


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.floats(-9, 0), st.floats(0, 9))))
def test_activations_survive_the_manifest(ranges: dict[str, tuple[float, float]]) -> None:
    activations = activations_from_ranges(ranges, ["b", "a"])
    manifest: dict[str, Any] = {}

    record(manifest, activations, "int8")
    back = read_activations(json.loads(json.dumps(manifest)))

    assert back is not None
    assert back.tensors == dict(activations.tensors)
    assert sorted(back.floats) == ["a", "b"]
    assert recorded_form(manifest) == "int8"


@pytest.mark.parametrize("high", [6.0, 5.9, 0.3, 6.4])
def test_saturation_stands_for_a_clip_exactly_where_it_gives_the_same_numbers(high: float) -> None:
    grid = grid_of(0.0, high)
    x = np.linspace(-20, 20, 100_001)

    def quantized(values: Any) -> Any:
        return np.clip(np.rint(values / grid.scale) + grid.zero_point, 0, 255)

    same = bool(np.array_equal(quantized(x), quantized(np.clip(x, 0, 6))))
    assert grid.saturates(0.0, 6.0) == same


@pytest.mark.parametrize("pair", [(0.0, np.inf), (np.nan, 1.0), (2.0, 1.0)])
def test_an_impossible_range_is_refused_with_its_name(pair: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="relu_1"):
        activations_from_ranges({"relu_1": pair})


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {"tensors": []},
        {"tensors": {}, "float": {}},
        {"tensors": {}, "float": [3]},
        {"tensors": {"x": 1.0}},
        {"tensors": {"x": [1.0]}},
        {"tensors": {"x": ["1", 0]}},
        {"tensors": {"x": [float("nan"), 0]}},
        {"tensors": {"x": [float("inf"), 0]}},
        {"tensors": {"x": [0.0, 0]}},
        {"tensors": {"x": [-1.0, 0]}},
        {"tensors": {"x": [True, 0]}},
        {"tensors": {"x": [10**400, 0]}},
        {"tensors": {"x": [1.0, 256]}},
        {"tensors": {"x": [1.0, -1]}},
        {"tensors": {"x": [1.0, 0.5]}},
        {"tensors": {}, "float": ["x"] * (MAX_TENSORS + 1)},
    ],
)
def test_a_broken_entry_is_refused_in_one_line(entry: object) -> None:
    with pytest.raises(CorruptError) as caught:
        read_activations({"activations": entry})

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "manifest", [{"run_as": "auto"}, {"run_as": 3}, {"run_as": "int8"}, {"run_as": ["float"]}]
)
def test_a_form_that_the_file_has_not_is_refused(manifest: dict[str, Any]) -> None:
    with pytest.raises(CorruptError):
        recorded_form(manifest)


def test_a_file_without_an_entry_runs_as_float() -> None:
    assert read_activations({}) is None
    assert recorded_form({}) == "float"
    assert Activations({}).to_dict() == {"tensors": {}, "float": []}
