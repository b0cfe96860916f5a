"""Blocks: shapes, costs as their formulas say, first weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import edgekit_models
from edgekit_models.alexnet import alexnet
from edgekit_models.blocks import (
    ConvUnit,
    Fire,
    InvertedResidual,
    SqueezeExcite,
    initialise,
    round_channels,
)
from edgekit_models.mobilenet import mobilenet
from edgekit_models.mobilenetv2 import mobilenetv2
from edgekit_models.registry import build
from edgekit_models.resnet import Bottleneck, Residual, resnet
from edgekit_models.resnet_small import PreActivated, Pyramidal, channel_table
from edgekit_models.shufflenet import ShuffleUnit
from edgekit_models.squeezenet import Bypass
from edgekit_models.vgg import vgg16
from edgekit_models.xception import XceptionBlock


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


def _silence(module: nn.Module) -> nn.Module:
    """All weights and biases zero, so that nothing but a shortcut passes."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


SIGNED = torch.arange(-18.0, 126.0).reshape(1, 4, 6, 6)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Bypass(Fire(4, 2, 2, 2)), SIGNED),
        (Residual(4, 4), SIGNED.relu()),
        (Bottleneck(4, 2, 4), SIGNED.relu()),
        (ShuffleUnit(4, 4, groups=1), SIGNED.relu()),
        (PreActivated(4, 4, stride=1), SIGNED),
        (Pyramidal(4, 4, stride=1), SIGNED),
        (XceptionBlock(4, (4, 4), stride=1), SIGNED),
        (InvertedResidual(4, 4, stride=1, expansion=6), SIGNED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_block_of_zero_weights_passes_its_input_on(block: nn.Module, expected: Tensor) -> None:
    assert torch.equal(_silence(block).eval()(SIGNED), expected)


def test_a_strided_shuffle_unit_concatenates_the_mean_of_its_input() -> None:
    unit = _silence(ShuffleUnit(4, 8, groups=1, stride=2)).eval()

    outputs = unit(SIGNED)

    pooled = torch.nn.functional.avg_pool2d(SIGNED, 3, stride=2, padding=1)
    torch.testing.assert_close(outputs[:, :4], pooled.relu())
    assert not outputs[:, 4:].any()


def test_a_bypass_with_a_shortcut_adds_what_that_makes_of_the_input() -> None:
    shortcut = nn.Conv2d(4, 6, 1)
    bypass = Bypass(_silence(Fire(4, 2, 3, 3)), shortcut)  # type: ignore[arg-type]  # it stays a Fire

    torch.testing.assert_close(bypass(SIGNED), shortcut(SIGNED))


def test_squeeze_and_excitation_scales_each_channel_by_its_formula() -> None:
    torch.manual_seed(3)
    block = SqueezeExcite(4, reduction=2)
    reduce, expand = block.reduce.conv, block.expand.conv
    assert reduce.bias is not None
    assert expand.bias is not None

    means = SIGNED.mean((2, 3))
    hidden = torch.relu(means @ reduce.weight.flatten(1).T + reduce.bias)
    gates = torch.sigmoid(hidden @ expand.weight.flatten(1).T + expand.bias)

    torch.testing.assert_close(block(SIGNED), SIGNED * gates[:, :, None, None])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mobilenet(width=-1), "channels must be a number above 0"),
        (lambda: mobilenetv2(width=0), "channels must be a number above 0"),
        (lambda: SqueezeExcite(8), "leaves nothing of 8 channels"),
        (lambda: resnet(19), "no ResNet of 19 layers"),
        (lambda: channel_table("foo"), "no column 'foo'"),
        (lambda: channel_table((8, 8)), "multiple of three"),
        (lambda: build("channel_table", kind="odd"), "kind must be one of"),
        (lambda: alexnet(size=60), "vanish below 67"),
        (lambda: vgg16(size=31), "vanish below 32"),
    ],
)
def test_arguments_that_make_no_network_are_refused(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


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
