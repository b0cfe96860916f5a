"""Peak memory and receptive fields worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import edgekit_models
from edgekit_models.blocks import ConvUnit, DepthwiseSeparable
from edgekit_models.footprint import measure_footprint
from edgekit_models.resnet import Residual

FLOAT = 4


def test_a_chain_holds_two_maps_at_most() -> None:
    chain = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(5)))

    # The caller keeps the input, so the third map joins it and the second.
    assert measure_footprint(chain, (8, 10, 10)).peak_bytes == 3 * 8 * 100 * FLOAT


def test_a_relu_in_place_needs_no_map_of_its_own() -> None:
    apart, in_place = (nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(inplace=p)) for p in (False, True))

    assert measure_footprint(apart, (8, 5, 5)).peak_bytes == 3 * 8 * 25 * FLOAT
    assert measure_footprint(in_place, (8, 5, 5)).peak_bytes == 2 * 8 * 25 * FLOAT


def test_views_of_a_map_take_no_memory() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (4, 9)))

    assert measure_footprint(module, (4, 3, 3)).peak_bytes == 36 * FLOAT


@pytest.mark.parametrize(
    ("module", "field"),
    [
        (nn.Identity(), 1),
        (nn.Conv2d(2, 2, 1), 1),
        (nn.Sequential(*(ConvUnit(2, 2, 3, dilation=d) for d in (1, 2, 4))), 15),
        (nn.Sequential(ConvUnit(2, 2, 3, stride=2), ConvUnit(2, 2, 3)), 7),
        (nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2), DepthwiseSeparable(2, 4)), 12),
        (Residual(2, 2), 5),
        (nn.Conv2d(2, 2, (1, 3), dilation=(4, 1)), 3),
        (nn.Sequential(nn.Conv2d(2, 2, 1, stride=(2, 1)), nn.Conv2d(2, 2, (1, 3))), 3),
        (nn.MaxPool2d(3, dilation=2), 5),
        (nn.Upsample(scale_factor=2), None),
        (nn.ConvTranspose2d(2, 2, 3), None),
    ],
)
def test_receptive_fields_are_those_of_the_arithmetic(module: nn.Module, field: int | None) -> None:
    assert measure_footprint(module, (2, 32, 32)).receptive_field == field


@pytest.mark.parametrize(("name", "field"), [("vgg16", 212), ("alexnet", 195), ("resnet18", 435)])
def test_known_networks_see_as_far_as_is_known(name: str, field: int) -> None:
    with torch.device("meta"):
        module = edgekit_models.build(name)

    found = measure_footprint(module, edgekit_models.spec(name).input_shape)

    assert found.receptive_field == field


def test_measuring_leaves_the_mode_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 1)).train()

    measure_footprint(module, (1, 2, 2))

    assert module.training
