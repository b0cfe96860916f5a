"""ONNX graphs as torch modules: same answers, right gradients, transforms, taps, names."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import edgekit_models
from edgekit.api import export
from edgekit.errors import UsageError
from edgekit.graph import load_graph
from edgekit.graph.inputs import input_shapes
from edgekit.train.graph_module import GraphModule, trainable
from tests.onnx_files import constant, make_model, run

_QUICK = ["squeezenet_fashion", "mobilenetv2_fashion", "shufflenet_fashion", "resnet20"]
_SLOW = [name for name in edgekit_models.names() if name not in _QUICK]


@pytest.mark.parametrize(
    "name", [*_QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in _SLOW)]
)
def test_a_network_of_the_zoo_answers_as_in_onnxruntime(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export(name, path, weights="none")
    module = GraphModule(load_graph(path).model())
    shape = next(iter(input_shapes(onnx.load(path)).values()))
    inputs = np.random.default_rng(1).normal(0, 1, (2, *shape[1:])).astype(np.float32)

    with torch.no_grad():
        (found,) = module(torch.from_numpy(inputs))

    (expected,) = run(path.read_bytes(), {"input": inputs})
    assert np.abs(found.numpy() - expected).max() <= 1e-4 * np.abs(expected).max()


def test_weights_have_the_names_that_packing_uses(tiny_model: onnx.ModelProto) -> None:
    graph = load_graph(tiny_model.SerializeToString())

    module = GraphModule(graph.model())

    assert {weight.name for weight in graph.weights} <= module.weights.keys()
    assert module.weights["conv.weight"].shape == (32, 1, 3, 3)
    assert len(list(module.parameters())) == len(module.weights) == 8


def test_the_graph_comes_back_with_the_trained_numbers(tiny_model: onnx.ModelProto) -> None:
    module = GraphModule(tiny_model)
    with torch.no_grad():
        module.weights["conv.weight"].mul_(2)

    changed = module.model()

    onnx.checker.check_model(changed, full_check=True)
    before, after = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (tiny_model, changed)
    )
    np.testing.assert_array_equal(after["conv.weight"], 2 * before["conv.weight"])
    assert all((after[n] == before[n]).all() for n in before if n != "conv.weight")
    assert all((after[name] == values).all() for name, values in module.numbers().items())
    inputs = np.ones((3, 1, 12, 12), np.float32)
    (found,) = module(torch.from_numpy(inputs))
    np.testing.assert_allclose(
        found.detach().numpy(), run(changed, {"input": inputs})[0], rtol=1e-4, atol=1e-5
    )


def test_an_untouched_graph_comes_back_bit_for_bit(tiny_model: onnx.ModelProto) -> None:
    module = GraphModule(tiny_model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    assert module.model() == tiny_model


@pytest.mark.parametrize("name", ["conv.weight", "depthwise.bias", "gemm.weight"])
def test_gradients_are_those_of_finite_differences(tiny_model: onnx.ModelProto, name: str) -> None:
    module = GraphModule(tiny_model).double()
    rng = np.random.default_rng(2)
    inputs = torch.from_numpy(rng.normal(0, 1, (2, 1, 12, 12)))
    weight = module.weights[name]

    def loss() -> Tensor:
        total: Tensor = module(inputs)[0].square().sum()
        return total

    torch.autograd.backward(loss())
    assert weight.grad is not None
    for index in rng.choice(weight.numel(), 5, replace=False):
        place, step = np.unravel_index(index, weight.shape), 1e-6
        with torch.no_grad():
            weight[place] += step
            above = loss().item()
            weight[place] -= 2 * step
            below = loss().item()
            weight[place] += step
        slope = (above - below) / (2 * step)
        assert weight.grad[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_a_weight_is_transformed_on_its_way_to_the_operator(tiny_model: onnx.ModelProto) -> None:
    module = GraphModule(tiny_model)
    inputs = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(600).reshape(10, 60) % 3 == 0
    module.transforms["gemm.weight"] = lambda weight: weight * mask

    (masked,) = module(inputs)
    masked.sum().backward()

    gradient = module.weights["gemm.weight"].grad
    assert gradient is not None
    assert not gradient[~mask].any()
    assert gradient[mask].any()
    assert module.numbers()["gemm.weight"].all()
    with torch.no_grad():
        module.weights["gemm.weight"].mul_(mask)
    module.transforms.clear()
    torch.testing.assert_close(module(inputs)[0], masked)


def test_activations_are_transformed_where_they_are_produced(tiny_model: onnx.ModelProto) -> None:
    module = GraphModule(tiny_model)
    inputs = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    plain = module.tensors([inputs], ["r1", "r2"])
    seen: dict[str, Tensor] = {}

    def halve(value: Tensor) -> Tensor:
        seen["r1"] = value
        return value / 2

    module.activation_transforms["r1"] = halve
    module.activation_transforms["input"] = lambda value: value * 2
    changed = module.tensors([inputs], ["input", "r1", "r2"])

    torch.testing.assert_close(changed["input"], inputs * 2)
    torch.testing.assert_close(changed["r1"], seen["r1"] / 2)
    assert not torch.allclose(seen["r1"], plain["r1"])
    assert not torch.allclose(changed["r2"], plain["r2"])


def test_taps_give_the_values_inside(tiny_model: onnx.ModelProto) -> None:
    inputs = np.random.default_rng(4).normal(0, 1, (2, 1, 12, 12)).astype(np.float32)
    names = ["c1", "r2", "pooled", "output"]
    wide = onnx.ModelProto()
    wide.CopyFrom(tiny_model)
    del wide.graph.output[:]
    wide.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)

    found = GraphModule(tiny_model).tensors([torch.from_numpy(inputs)], names)

    for name, expected in zip(names, run(wide, {"input": inputs}), strict=True):
        np.testing.assert_allclose(found[name].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_names_and_counts_that_do_not_fit_are_named(tiny_model: onnx.ModelProto) -> None:
    inputs = torch.zeros(1, 1, 12, 12)
    module = GraphModule(tiny_model, trained=["gemm.weight"])

    with pytest.raises(UsageError, match="can't train gemm: it isn't a float initializer"):
        GraphModule(tiny_model, trained=["gemm"])
    with pytest.raises(UsageError, match="no computed value named c9"):
        module.tensors([inputs], ["c9"])
    with pytest.raises(UsageError, match=r"has 1 inputs \(input\), got 2"):
        module(inputs, inputs)
    with pytest.raises(UsageError, match="node conv: Conv can't take inputs of shape"):
        GraphModule(tiny_model)(torch.zeros(1, 1, 12, 0))
    module.transforms["conv.weight"] = torch.abs
    with pytest.raises(
        UsageError, match=r"can't transform conv.weight: it isn't among the trained"
    ):
        module(inputs)
    module.transforms.clear()
    module.activation_transforms["conv.weight"] = torch.abs
    with pytest.raises(UsageError, match=r"no computed value named conv.weight"):
        module(inputs)


def test_the_statistics_of_batch_norm_are_not_trained() -> None:
    ones = np.ones(3, np.float32)
    norm = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
    model = make_model(
        [norm], {"x": ["N", 3, 4, 4]}, {"y": ["N", 3, 4, 4]}, dict.fromkeys("sbmv", ones)
    )

    assert trainable(model) == ("s", "b")


def test_a_graph_of_batch_1_takes_more() -> None:
    """A flatten that was traced as constants, as older exporters write it."""
    rng = np.random.default_rng(6)
    weights: dict[str, NDArray[Any]] = {
        "w": rng.normal(0, 1, (4, 1, 3, 3)).astype(np.float32),
        "shape": np.array([1, -1], np.int64),
        "m": rng.normal(0, 1, (16, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]
    model = make_model(nodes, {"x": [1, 1, 4, 4]}, {"y": [1, 3]}, weights)
    inputs = rng.normal(0, 1, (5, 1, 4, 4)).astype(np.float32)

    (found,) = GraphModule(model)(torch.from_numpy(inputs))

    expected = np.concatenate([run(model, {"x": row[None]})[0] for row in inputs])
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_constant_nodes_and_other_float_types_count_as_numbers() -> None:
    model = make_model(
        [
            constant("half", np.array([0.5], np.float32)),
            helper.make_node("Mul", ["x", "half"], ["h"]),
            helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["h", "wide"], ["y"]),
        ],
        {"x": ["N", 4]},
        {"y": ["N", 5]},
        {"w": np.linspace(-1, 1, 20).reshape(4, 5).astype(np.float16)},
    )
    module = GraphModule(model)
    inputs = np.ones((2, 4), np.float32)

    (found,) = module(torch.from_numpy(inputs))

    assert list(module.weights) == ["w"]
    assert module.weights["w"].dtype == torch.float32
    np.testing.assert_allclose(found.detach().numpy(), run(model, {"x": inputs})[0], rtol=1e-5)
    assert module.model().graph.initializer[0].data_type == TensorProto.FLOAT16
    assert module.model() == model


def test_awkward_names_become_parameters_and_come_back() -> None:
    names = ["a.b", "a%2Eb", "weights", "forward"]
    model = make_model(
        [
            helper.make_node("MatMul", [["x", "v0", "v1", "v2"][i], name], [f"v{i}"])
            for i, name in enumerate(names)
        ],
        {"x": ["N", 4]},
        {"v3": ["N", 4]},
        {name: np.eye(4, dtype=np.float32) * i for i, name in enumerate(names, 1)},
    )
    module = GraphModule(model)

    again = GraphModule(model)
    again.load_state_dict(module.state_dict())

    assert list(module.weights) == names
    assert module.weights["forward"][0, 0].item() == 4
    (found,) = again(torch.eye(4))
    torch.testing.assert_close(found, 24 * torch.eye(4))


def test_it_trains_the_same_in_every_run(tiny_model: onnx.ModelProto) -> None:
    def trained() -> dict[str, Tensor]:
        module = GraphModule(tiny_model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
        generator = torch.Generator().manual_seed(3)
        for _ in range(4):
            inputs = torch.randn(8, 1, 12, 12, generator=generator)
            labels = torch.randint(0, 10, (8,), generator=generator)
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(module(inputs)[0], labels))
            optimizer.step()
        return {name: weight.detach() for name, weight in module.weights.items()}

    first, second = trained(), trained()

    original = GraphModule(tiny_model).weights
    for name, weight in first.items():
        assert torch.equal(weight, second[name])
        assert not torch.equal(weight, original[name])


def test_it_runs_in_bfloat16_where_that_is_asked_for(tiny_model: onnx.ModelProto) -> None:
    module = GraphModule(tiny_model)
    inputs = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(1))

    with torch.autocast("cpu", torch.bfloat16):
        (rough,) = module(inputs)
    rough.float().sum().backward()

    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), module(inputs)[0], rtol=0.05, atol=0.05)
    assert all(weight.grad is not None for weight in module.parameters())


def test_a_copy_is_a_module_of_its_own(tiny_model: onnx.ModelProto) -> None:
    module = GraphModule(tiny_model)
    twin = copy.deepcopy(module)
    inputs = torch.ones(1, 1, 12, 12)

    with torch.no_grad():
        twin.weights["gemm.weight"].zero_()

    assert module.numbers()["gemm.weight"].all()
    assert not torch.equal(twin(inputs)[0], module(inputs)[0])
