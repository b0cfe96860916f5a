"""Recipes: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import RecipeError
from edgekit.train.recipe import Grid, Prune, Share, parse_pattern, with_bits_per_weight
from edgekit.train.recipe_file import parse_recipe, read_recipe


@pytest.mark.parametrize("name", ["deep-compression", "int8", "narrow", "tiny"])
def test_shipped_recipes_are_whole(name: str) -> None:
    recipe = read_recipe(name)

    assert recipe.name == name
    assert recipe.description
    assert recipe.distillation is not None


def test_the_deep_compression_recipe_is_the_papers_chain() -> None:
    recipe = read_recipe("deep-compression")

    prune, share = recipe.stages
    assert isinstance(prune, Prune)
    assert prune.sparsity >= 0.67
    assert isinstance(share, Share)
    assert share.bits <= 6
    assert share.epochs > 0


def stage(**values: Any) -> dict[str, Any]:
    return {"stage": [{"kind": "grid", **values}]}


def test_settings_are_read_and_the_rest_is_default() -> None:
    recipe = parse_recipe(
        {"batch_size": 32, "distillation": {"share": 1}, **stage(bits_per_weight=2, epochs=3)}, "r"
    )

    assert recipe.batch_size == 32
    assert recipe.distillation is not None
    assert recipe.distillation.share == 1
    assert recipe.stages == (Grid(bits_per_weight=2, epochs=3),)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"batch_sise": 3, **stage()}, "no setting 'batch_sise'; did you mean 'batch_size'"),
        (stage(bit=3), r"stage 1 \(grid\): it has no setting 'bit'; did you mean 'bits'"),
        ({"stage": [{"kind": "prun"}]}, "got 'prun'; did you mean 'prune'"),
        ({"stage": []}, "last stage has to make codes"),
        ({}, "last stage has to make codes"),
        ({"stage": {"kind": "grid"}}, "tables of their own"),
        ({"stage": [{"kind": "prune"}]}, "last stage has to make codes"),
        ({"stage": [{"kind": "share"}, {"kind": "grid"}]}, "nothing can come behind"),
        ({"stage": [{"kind": "grid"}, {"kind": "train"}]}, "only come first"),
        (stage(bits=9), "bits must be from 2 to 8"),
        (stage(bits="8"), "bits can't be '8'"),
        (stage(bits=True), "bits can't be True"),
        (stage(bits_per_weight="2"), "bits_per_weight can't be '2'"),
        (stage(bits_per_weight=-1), "above 0"),
        (stage(bits_per_weight=[1]), r"bits_per_weight can't be \[1\]"),
        (stage(max_drop=1), "give bits_per_weight and epochs with it"),
        (stage(max_drop=-1, bits_per_weight=1), "max_drop must be 0 to 100 points"),
        (stage(max_drop=float("nan"), bits_per_weight=1), "max_drop must be 0 to 100 points"),
        (stage(max_drop="1", bits_per_weight=1), "max_drop can't be '1'"),
        (stage(epochs=[1]), r"epochs can't be \[1\]"),
        (stage(epochs=-1), "epochs must be in"),
        (stage(epochs=float("nan")), "epochs must be in"),
        (stage(learning_rate=0), "learning_rate must be"),
        (stage(steps="row"), "steps must be tensor or channel"),
        ({"stage": [{"kind": "prune", "sparsity": 1.0}, {"kind": "share"}]}, "sparsity"),
        ({"stage": [{"kind": "prune", "pattern": "4:2"}, {"kind": "share"}]}, "such as 2:4"),
        ({"distillation": {"shares": 1}, **stage()}, "did you mean 'share'"),
        ({"distillation": {"temperature": 0}, **stage()}, "temperature must be above 0"),
        ({"distillation": 3, **stage()}, "is a table"),
        ({"precision": "int4", **stage()}, "float32 or bfloat16"),
        ({"stage": [{"kind": [1]}]}, "kind must be one of"),
        ({"distillation": {"flow": float("nan")}, **stage()}, "at least 0 and finite"),
        ({"batch_size": 10**20, **stage()}, "batch_size must be 2 to"),
        ({"stage": [{"kind": "prune", "pattern": "2:" + "9" * 5000}]}, "such as 2:4"),
        (
            {"stage": [{"kind": "prune"}, {"kind": "low-rank"}, {"kind": "grid"}]},
            "without the zeros of a prune stage before it; put low-rank first",
        ),
        (stage(bits=2, bits_per_weight=5), "can't be 5 where codes have 2 bits at most"),
        (stage(bits_per_weight=4, start_bits=3), "so 3 can't be below 4"),
        (stage(steps="x" * 999), "tensor or channel, got 'x{59}$"),
        (stage(epochs=10**99), "epochs must be in .*, got 10{59}$"),
        (stage(learning_rate=10**99), "learning_rate must be .*, got 10{59}$"),
        (stage(bits=10**99), "bits must be from 2 to 8, got 10{59}$"),
        (
            {"stage": [{"kind": "prune", "pattern": "2:4", "sparsity": 0.67}, {"kind": "share"}]},
            "a pattern says which weights stay; leave out sparsity",
        ),
        (
            {"stage": [{"kind": "prune", "pattern": "\u0662:\u0664"}, {"kind": "share"}]},
            "such as 2:4",
        ),
        ({"coder": "zip", **stage()}, "huffman or rans"),
        ({"batch_size": 1, **stage()}, "batch_size must be 2 to"),
        (
            {"distillation": {"flow": 0.1}, "stage": [{"kind": "channels"}, {"kind": "grid"}]},
            "a channels stage narrows them; set both to 0",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(table: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        parse_recipe(table, "r")

    assert "\n" not in str(caught.value)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("kind =")

    with pytest.raises(RecipeError, match=r"r\.toml isn't TOML"):
        read_recipe(path)
    path.write_text(f"batch_size = {'9' * 5000}")
    with pytest.raises(RecipeError, match=r"r\.toml isn't TOML"):
        read_recipe(path)
    path.write_text(f"batch_size = {'[' * 3000}{']' * 3000}")
    with pytest.raises(RecipeError, match=r"r\.toml isn't TOML that can be read: it is nested"):
        read_recipe(path)
    with pytest.raises(RecipeError, match=r"no recipe .*none\.toml"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match=r"no recipe tinny: .*; did you mean 'tiny'"):
        read_recipe("tinny")


def test_patterns_are_small_of_large() -> None:
    assert parse_pattern("2:4") == (2, 4)
    for text in ("", "2", "0:4", "4:4", "a:b", "-1:4", "1:99"):
        with pytest.raises(RecipeError, match="such as 2:4"):
            parse_pattern(text)


def test_a_pattern_leaves_no_other_choice() -> None:
    with pytest.raises(RecipeError, match="leave out sparsity and schedule"):
        Prune(pattern="2:4", sparsity=0.5, schedule="one-shot")


def test_the_bits_of_a_grid_can_be_changed() -> None:
    recipe = read_recipe("tiny")

    changed = with_bits_per_weight(recipe, 2.5)

    assert isinstance(changed.stages[-1], Grid)
    assert changed.stages[-1].bits_per_weight == 2.5
    assert changed.stages[:-1] == recipe.stages[:-1]
    higher = with_bits_per_weight(recipe, 5).stages[-1]
    assert isinstance(higher, Grid)
    assert (higher.start_bits, higher.bits_per_weight) == (5, 5)
    with pytest.raises(RecipeError, match="above 0 and at most 8, got nan"):
        with_bits_per_weight(read_recipe("deep-compression"), float("nan"))
    with pytest.raises(RecipeError, match="no grid stage"):
        with_bits_per_weight(read_recipe("deep-compression"), 2)
