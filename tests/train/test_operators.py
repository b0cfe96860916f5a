"""Every operator of the table against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekit.errors import UntrainableError
from edgekit.train.graph_module import GraphModule
from edgekit.train.operators.table import OPERATORS
from tests.onnx_files import run
from tests.train.operator_cases import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_gives_what_onnxruntime_gives(case: Case) -> None:
    model, feeds = case.model(), case.feeds()
    module = GraphModule(model, trained=())

    found = module(*(torch.from_numpy(x) for x in feeds.values()))

    for ours, theirs in zip(found, run(model, feeds), strict=True):
        assert tuple(ours.shape) == theirs.shape
        assert (ours.dtype == torch.float32) == (theirs.dtype == np.float32)
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)


def test_every_operator_has_a_case() -> None:
    assert OPERATORS.keys() <= {case.op for case in CASES}


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Resize", {"mode": "cubic"}),
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}),
        ("LSTM", {"hidden_size": 3}),
    ],
)
def test_what_cannot_be_trained_is_named(op: str, attributes: dict[str, object]) -> None:
    with pytest.raises(UntrainableError, match=rf"node node: .*{op}.*can't be trained; export"):
        GraphModule(Case(op, ((1, 2, 4, 4),), attributes, opset=19).model(), trained=())


def test_an_even_response_normalisation_reaches_one_channel_further_behind() -> None:
    """As the operator's definition says; onnxruntime takes odd sizes alone."""
    case = Case("LRN", ((2, 6, 3, 3),), {"size": 4, "alpha": 0.1})
    x = case.feeds()["x0"]

    (found,) = GraphModule(case.model(), trained=())(torch.from_numpy(x))

    for channel in range(6):
        squares = (x[:, max(0, channel - 1) : channel + 3] ** 2).sum(axis=1)
        expected = x[:, channel] / (1 + 0.1 / 4 * squares) ** 0.75
        np.testing.assert_allclose(found[:, channel].numpy(), expected, rtol=1e-5)
