"""Pruning while training: layers see zeros where weights are pruned, in training too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.train.graph_module import GraphModule
from edgekit.train.methods.pruning import Pruning
from edgekit.train.recipe import Prune
from tests.train.nets import tiny_model


@pytest.mark.parametrize("is_training", [True, False])
def test_layers_see_no_pruned_weight(is_training: bool) -> None:
    module = GraphModule(tiny_model())
    method = Pruning(module, {}, Prune(sparsity=0.5, schedule="one-shot"))
    method.train(is_training)
    method.before_step(1.0)

    masks = method.masks()
    pruned = 0
    for name in method.coded_names:
        with torch.no_grad():
            seen = module.transforms[name](module.weights[name]).numpy()
        assert not np.any(seen[~masks[name]])
        assert np.all(module.weights[name].detach().numpy()[~masks[name]])
        pruned += int(np.count_nonzero(~masks[name]))
    total = sum(module.weights[name].numel() for name in method.coded_names)
    assert pruned == round(0.5 * total)


def test_what_was_pruned_before_stays_so() -> None:
    module = GraphModule(tiny_model())
    (name, *_) = Pruning(module, {}, Prune()).coded_names
    before = np.arange(module.weights[name].numel()).reshape(module.weights[name].shape) % 3 > 0
    method = Pruning(module, {name: before}, Prune(sparsity=0.0))

    method.before_step(1.0)

    np.testing.assert_array_equal(method.masks()[name], before)
