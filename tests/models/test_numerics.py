"""What the blocks compute, against plain arithmetic."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekit_models import count_multiply_adds, count_parameters
from edgekit_models.blocks import (
    ChannelShuffle,
    ConvUnit,
    DepthwiseSeparable,
    Fire,
    SqueezeExcite,
)
from edgekit_models.clcnet import ChannelLocal
from edgekit_models.googlenet import Inception, NaiveInception
from edgekit_models.resnet import Bottleneck, Residual
from edgekit_models.resnet_small import PaddedShortcut
from edgekit_models.shufflenet import ShuffleUnit
from edgekit_models.squeezenet import Bypass


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(7)


def sees(module: nn.Module, channels: int) -> Tensor:
    """(N, M) bool: which outputs depend on which inputs, by gradients at positive weights."""
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.5)
    inputs = torch.ones(1, channels, 3, 3, requires_grad=True)
    outputs = module.eval()(inputs).sum(dim=(0, 2, 3))
    rows = [
        torch.autograd.grad(output, inputs, retain_graph=True)[0].abs().sum(dim=(0, 2, 3)) > 0
        for output in outputs
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_grouped_convolution_is_split_convolve_concatenate(groups: int) -> None:
    unit = ConvUnit(8, 12, 3, groups=groups, normalised=False, activation=None)
    layer = unit.conv
    assert layer.bias is not None
    nn.init.normal_(layer.bias)
    inputs = torch.randn(2, 8, 6, 5)

    parts = [
        functional.conv2d(part, weight, bias, padding=1)
        for part, weight, bias in zip(
            inputs.chunk(groups, 1),
            layer.weight.chunk(groups),
            layer.bias.chunk(groups),
            strict=True,
        )
    ]

    torch.testing.assert_close(unit(inputs), torch.cat(parts, 1))
    assert layer.weight.numel() == 12 * 8 * 9 // groups


def test_a_depthwise_convolution_filters_each_channel_alone() -> None:
    unit = DepthwiseSeparable(6, 4).eval().depthwise
    inputs = torch.randn(2, 6, 5, 5)

    alone = [
        functional.conv2d(inputs[:, c : c + 1], unit.conv.weight[c : c + 1], padding=1)
        for c in range(6)
    ]

    torch.testing.assert_close(unit.conv(inputs), torch.cat(alone, 1))


def test_a_pointwise_convolution_is_a_matrix_product() -> None:
    unit = ConvUnit(5, 7, 1, normalised=False, activation=None)
    inputs = torch.randn(2, 5, 4, 3)
    assert unit.conv.bias is not None
    nn.init.zeros_(unit.conv.bias)

    product = (unit.conv.weight.flatten(1) @ inputs.flatten(2)).reshape(2, 7, 4, 3)

    torch.testing.assert_close(unit(inputs), product)


def test_dilations_of_one_two_and_four_see_three_seven_and_fifteen() -> None:
    units = [ConvUnit(1, 1, 3, dilation=d, normalised=False, activation=None) for d in (1, 2, 4)]
    layers = [unit.conv for unit in units]
    widths = []
    for depth in (1, 2, 3):
        for layer in layers:
            nn.init.ones_(layer.weight)
        inputs = torch.ones(1, 1, 31, 31, requires_grad=True)
        outputs = nn.Sequential(*units[:depth])(inputs)
        (gradient,) = torch.autograd.grad(outputs[0, 0, 15, 15], inputs)
        widths.append(int((gradient[0, 0, 15] != 0).sum()))

    assert widths == [3, 7, 15]
    assert [layer.weight.numel() for layer in layers] == [9, 9, 9]


def test_a_dilated_layer_sees_what_a_small_one_sees_on_every_second_sample() -> None:
    weight = torch.randn(1, 1, 3, 3)
    inputs = torch.randn(1, 1, 12, 12)

    dense = functional.conv2d(inputs, weight, padding=2, dilation=2)
    sparse = functional.conv2d(inputs[..., ::2, ::2], weight, padding=1)

    torch.testing.assert_close(dense[..., ::2, ::2], sparse)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_linear_residual_blocks_unroll_to_two_to_the_n_paths(depth: int) -> None:
    weights = [torch.randn(4, 4, dtype=torch.float64) for _ in range(depth)]
    inputs = torch.randn(4, dtype=torch.float64)

    outputs = inputs
    for weight in weights:
        outputs = outputs + weight @ outputs
    paths = list(itertools.product((False, True), repeat=depth))
    unrolled = torch.zeros(4, dtype=torch.float64)
    for path in paths:
        term = inputs
        for taken, weight in zip(path, weights, strict=True):
            term = weight @ term if taken else term
        unrolled += term

    assert len(paths) == 2**depth
    torch.testing.assert_close(outputs, unrolled)


def test_a_residual_block_adds_its_input_before_the_relu() -> None:
    block = Residual(4, 4).eval()
    inputs = torch.randn(1, 4, 5, 5)

    expected = torch.relu(inputs + block.body(inputs))

    torch.testing.assert_close(block(inputs), expected)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_the_shuffle_is_a_permutation_that_its_mirror_undoes(groups: int) -> None:
    inputs = torch.arange(12.0).reshape(1, 12, 1, 1)

    shuffled = ChannelShuffle(groups)(inputs)

    assert sorted(shuffled.flatten().tolist()) == list(range(12))
    # Channel k of group i goes to place k g + i.
    assert shuffled.flatten().tolist() == [
        i * (12 // groups) + k for k in range(12 // groups) for i in range(groups)
    ]
    torch.testing.assert_close(ChannelShuffle(12 // groups)(shuffled), inputs)


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_two_grouped_layers_join_all_groups_only_with_a_shuffle_between(groups: int) -> None:
    def stack(*between: nn.Module) -> nn.Module:
        layers = [nn.Conv2d(24, 24, 1, groups=groups, bias=False) for _ in range(2)]
        return nn.Sequential(layers[0], *between, layers[1])

    shuffled = sees(stack(ChannelShuffle(groups)), 24)
    plain = sees(stack(), 24)

    block = 24 // groups
    blocks = torch.kron(torch.eye(groups), torch.ones(block, block)).bool()
    assert shuffled.all()
    assert torch.equal(plain, blocks)


@pytest.mark.parametrize(
    ("g1", "g2", "full"), [(4, 2, True), (8, 2, True), (16, 2, False), (4, 4, True), (8, 4, False)]
)
def test_a_channel_local_block_sees_all_where_g1_times_g2_is_at_most_n(
    g1: int, g2: int, full: bool
) -> None:
    block = ChannelLocal(16, 16, g1=g1, g2=g2)

    assert bool(sees(block, 16).all()) is full


def test_without_the_interlacing_a_channel_local_block_sees_half() -> None:
    block = ChannelLocal(16, 16, g1=8, g2=2)
    block.interlaced.interlace = nn.Identity()  # type: ignore[assignment]  # the control

    assert sees(block, 16).float().mean() == 0.5


@pytest.mark.parametrize("size", [6, 7])
def test_blocks_cost_what_their_formulas_say(size: int) -> None:
    area, half = size * size, ((size + 1) // 2) ** 2
    costs = {
        ConvUnit(6, 10, 3): 6 * area * 9 * 10,
        ConvUnit(6, 10, 3, stride=2): 6 * half * 9 * 10,
        DepthwiseSeparable(6, 10): 6 * area * (9 + 10),
        SqueezeExcite(6, reduction=2): 2 * 6 * 6 // 2,
        Bypass(Fire(6, 2, 3, 3)): area * 2 * (6 + 3 + 9 * 3),
        Residual(6, 10, stride=2): half * (9 * (6 * 10 + 10 * 10) + 6 * 10),
        Bottleneck(6, 4, 10): area * (4 * (6 + 9 * 4 + 10) + 6 * 10),
        Bottleneck(6, 4, 6, groups=2): area * 4 * (6 + 9 * 2 + 6),
        PaddedShortcut(6, 10, 2): 0,
        NaiveInception(6, 2, 3, 4): area * 6 * (2 + 9 * 3 + 25 * 4),
        Inception(6, (2, 3, 4, 5, 6, 7)): area * (6 * (2 + 3 + 5 + 7) + 9 * 12 + 25 * 30),
        ChannelLocal(6, 10, g1=3, g2=2): area * (9 * 36 // 3 + 60 // 2),
    }

    counted = [count_multiply_adds(block, (6, size, size)) for block in costs]

    assert counted == list(costs.values())


@pytest.mark.parametrize("groups", [1, 2])
def test_shuffle_units_cost_what_their_formulas_say(groups: int) -> None:
    same = ShuffleUnit(16, 16, groups=groups)
    strided = ShuffleUnit(16, 32, groups=groups, stride=2)

    assert count_multiply_adds(same, (16, 8, 8)) == 64 * (2 * 16 * 4 // groups + 9 * 4)
    assert count_multiply_adds(strided, (16, 8, 8)) == (
        64 * 16 * 8 // groups + 16 * (9 * 8 + 8 * 16 // groups)
    )
    assert strided(torch.zeros(1, 16, 8, 8)).shape == (1, 32, 4, 4)


def test_a_biased_separable_pair_holds_what_the_formula_says() -> None:
    pair = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 10, 1))

    assert count_parameters(pair) == 6 * (9 + 1) + 10 * (6 + 1)


def test_a_padded_shortcut_widens_with_zeros_and_narrows_by_cutting() -> None:
    inputs = torch.randn(1, 4, 6, 6)

    wide = PaddedShortcut(4, 7, 2)(inputs)
    narrow = PaddedShortcut(4, 3, 1)(inputs)

    torch.testing.assert_close(wide[:, :4], functional.avg_pool2d(inputs, 2))
    assert not wide[:, 4:].any()
    assert torch.equal(narrow, inputs[:, :3])
