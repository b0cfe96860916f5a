"""`edgekit models`."""

from __future__ import annotations

import json

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
