"""One form for every graph, and the check for what folding left over."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from edgekit.export.canonical import canonicalise, unfolded_norms


def norm_after_conv(*, shared: bool) -> onnx.ModelProto:
    """Conv then BatchNormalization; `shared` uses the convolution's output once more."""
    value = helper.make_tensor_value_info
    outputs = [value("y", TensorProto.FLOAT, None)]
    if shared:
        outputs.append(value("c", TensorProto.FLOAT, None))
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, [1.0])
        for name, shape in (("w", [1, 1, 1, 1]), *((n, [1]) for n in ("s", "b", "m", "v")))
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
            helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], "norm"),
        ],
        "g",
        [value("x", TensorProto.FLOAT, ["n", 1, 4, 4])],
        outputs,
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_norm_that_could_be_folded_is_reported() -> None:
    assert unfolded_norms(norm_after_conv(shared=False)) == ["norm"]


def test_a_norm_whose_convolution_has_other_users_can_t_be_folded() -> None:
    assert unfolded_norms(norm_after_conv(shared=True)) == []


def test_texts_that_differ_between_machines_go() -> None:
    model = norm_after_conv(shared=False)
    model.doc_string = "made on a machine"
    model.graph.node[0].doc_string = "File /home/someone/net.py, line 3"
    prop = model.graph.node[0].metadata_props.add()
    prop.key, prop.value = "stack_trace", "/home/someone"
    before = model.SerializeToString()

    result = canonicalise(model)

    text = result.SerializeToString()
    assert b"someone" not in text
    assert b"machine" not in text
    assert [node.name for node in result.graph.node] == ["Conv_0", "BatchNormalization_0"]
    assert model.SerializeToString() == before


def test_canonicalising_twice_changes_nothing_more() -> None:
    once = canonicalise(norm_after_conv(shared=False))

    assert canonicalise(once).SerializeToString() == once.SerializeToString()
