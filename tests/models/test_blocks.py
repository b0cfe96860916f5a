"""Blocks: shapes, costs as their formulas say, first weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import edgekit_models
from edgekit_models.blocks import ConvUnit, Fire, InvertedResidual, initialise, round_channels


def test_a_fire_module_concatenates_both_expansions() -> None:
    fire = Fire(16, 4, 8, 12)

    assert fire(torch.zeros(2, 16, 7, 5)).shape == (2, 20, 7, 5)


def test_a_fire_module_costs_what_its_formula_says() -> None:
    fire = Fire(16, 4, 8, 12)

    counted = edgekit_models.count_multiply_adds(fire, (16, 7, 5))

    assert counted == 7 * 5 * 4 * (16 + 8 + 9 * 12)


@pytest.mark.parametrize(("stride", "size"), [(1, 9), (2, 5)])
def test_an_inverted_residual_costs_what_its_formula_says(stride: int, size: int) -> None:
    block = InvertedResidual(8, 24, stride=stride, expansion=6)

    counted = edgekit_models.count_multiply_adds(block, (8, 9, 9))

    assert block(torch.zeros(2, 8, 9, 9)).shape == (2, 24, size, size)
    assert counted == 6 * 8 * (81 * 8 + size * size * (9 + 24))


def test_the_input_is_added_only_where_shapes_allow() -> None:
    assert InvertedResidual(8, 8, stride=1, expansion=2).is_residual
    assert not InvertedResidual(8, 8, stride=2, expansion=2).is_residual
    assert not InvertedResidual(8, 16, stride=1, expansion=2).is_residual


def test_a_residual_block_of_zero_weights_passes_its_input_on() -> None:
    block = InvertedResidual(4, 4, stride=1, expansion=2).eval()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    inputs = torch.arange(36.0).reshape(1, 4, 3, 3)

    assert torch.equal(block(inputs), inputs)


def test_the_bottleneck_is_linear() -> None:
    block = InvertedResidual(8, 24, stride=1, expansion=2)

    assert isinstance(block.project.act, nn.Identity)
    assert isinstance(block.depthwise.act, nn.ReLU6)


def test_a_normalised_convolution_has_no_bias() -> None:
    assert ConvUnit(3, 4, 3).conv.bias is None
    assert ConvUnit(3, 4, 3, normalised=False).conv.bias is not None


def test_he_initialisation_has_the_stated_variance() -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(64, 64, 3)

    initialise(layer)

    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)
    assert layer.bias is not None
    assert not layer.bias.any()


@pytest.mark.parametrize(
    ("channels", "rounded"), [(16, 16), (8.4, 8), (11.2, 16), (33.6, 32), (1, 8), (12, 16)]
)
def test_channels_round_to_eights_and_never_lose_a_tenth(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded
    assert rounded >= 0.9 * channels
