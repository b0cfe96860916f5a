"""`edgekit models`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import edgekit_models
from tests.support import Cli


def test_all_networks_are_listed(cli: Cli) -> None:
    outcome = cli("models")

    assert outcome.exit_code == 0
    assert all(name in outcome.stdout for name in edgekit_models.names())
    assert "3,504,872" in outcome.stdout


def test_a_card_shows_counted_stated_and_printed_numbers(cli: Cli) -> None:
    outcome = cli("models", "mobilenetv2")

    assert outcome.exit_code == 0
    assert outcome.stdout.count("300,774,272") == 2
    assert "300M (table 4)" in outcome.stdout


def test_json_has_integers(cli: Cli) -> None:
    listed = json.loads(cli("models", "--format", "json").stdout)
    card = json.loads(cli("models", "squeezenet1_0", "--format", "json").stdout)

    assert len(listed["models"]) == len(edgekit_models.names())
    assert card["parameters"] == card["stated_parameters"] == 1_248_424
    assert card["input_shape"] == [3, 224, 224]


def test_an_unknown_name_is_a_usage_error(cli: Cli) -> None:
    outcome = cli("models", "mobilenet_v2")

    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert "did you mean mobilenetv2" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_the_comparison_names_its_rules_and_verdicts(cli: Cli) -> None:
    table = cli("models", "--compare")
    markdown = cli("models", "--compare", "--format", "markdown")
    figures = json.loads(cli("models", "--compare", "--format", "json").stdout)["rows"]

    assert "299 should be 229" in table.stdout
    assert markdown.stdout.count("\n| A") == sum(f["row"].startswith("A") for f in figures)
    assert {"stated", "counted", "rule", "verdict", "reason"} <= set(figures[0])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("models", "vgg16", "--compare"), "leave the name out"),
        (("models", "--format", "markdown"), "goes with --compare only"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(
    cli: Cli, arguments: tuple[str, ...], told: str
) -> None:
    outcome = cli(*arguments)

    assert outcome.exit_code == 2
    assert told in outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "shape"), [("vgg16", "1,3,64,64"), ("mobilenet", "1,1,28,28"), ("resnet18", "1,3")]
)
def test_an_input_that_a_network_cannot_take_is_one_line(cli: Cli, name: str, shape: str) -> None:
    outcome = cli("models", name, "--input", shape)

    assert outcome.exit_code == 1
    assert f"{name} fails on an input of shape" in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_a_card_keeps_brackets_and_what_a_factory_prints_apart(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        '    """Maps [batch, [/x] channels] pictures."""\n'
        "def build():\n    print('hello')\n    return Net(4, 4)\n"
        "def leave():\n    raise SystemExit(3)\n"
    )

    shown = cli("models", f"{tmp_path / 'net.py'}:build", "--input", "1,4")
    left = cli("models", f"{tmp_path / 'net.py'}:leave", "--input", "1,4")

    assert "Maps [batch, [/x] channels] pictures." in shown.stdout
    assert "hello" not in shown.stdout
    assert left.exit_code == 2
    assert "a factory takes no arguments" in left.stderr
