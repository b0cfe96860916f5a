"""Counting against numbers worked out by hand."""

from __future__ import annotations

import torch
from torch import nn

import edgekit_models
from edgekit_models.counting import count_layers, count_totals, uncounted


def test_a_grouped_strided_convolution_is_counted_by_use() -> None:
    layer = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4)

    (count,) = edgekit_models.count_layers(layer, (8, 10, 7))

    assert count.output_shape == (12, 5, 4)
    assert count.multiply_adds == 12 * 5 * 4 * 9 * (8 // 4)
    assert count.parameters == 12 * 2 * 9 + 12


def test_a_layer_used_twice_counts_twice_but_holds_its_parameters_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.layer(self.layer(inputs))
            return outputs

    module = Twice()

    assert edgekit_models.count_multiply_adds(module, (6,)) == 72
    assert edgekit_models.count_parameters(module) == 42


def test_running_statistics_and_frozen_weights_are_not_trainable() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))
    module[0].weight.requires_grad_(False)

    assert edgekit_models.count_parameters(module) == 4 + 8


def test_counting_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}

    edgekit_models.count_layers(module, (1, 3, 3))

    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not module[0]._forward_hooks


def test_a_transposed_convolution_counts_uses_of_its_inputs() -> None:
    layer = nn.ConvTranspose2d(3, 5, 2, stride=2)

    assert edgekit_models.count_multiply_adds(layer, (3, 4, 4)) == 16 * 3 * 5 * 4


def test_a_parametrized_weight_is_counted_as_it_is_used() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3, padding=1))

    (found,) = count_layers(layer, (2, 4, 4))

    assert (found.weights, found.biases, found.multiply_adds) == (54, 3, 16 * 54)


def test_tied_weights_count_once_and_their_uses_twice() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight

    totals = count_totals(nn.Sequential(first, second), (4,))

    assert (totals.weights, totals.trainable, totals.fc) == (16, 16, 32)


def test_layers_that_are_not_counted_are_named() -> None:
    assert uncounted(nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2))) == ("1",)


def test_counting_leaves_each_mode_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1).eval(), nn.Dropout())

    count_layers(module, (1, 2, 2))

    assert [part.training for part in module] == [True, False, True]
