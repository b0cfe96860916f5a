"""Following the channels of a graph from the layers that make them to those that read them."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from edgekit.graph.channels import layer_rules, value_rules
from edgekit.graph.channels.trace import Rule, Trace, start
from edgekit.graph.walk import nested_graphs, subgraphs, value_names

_LAYERS: dict[str, Rule] = {
    "Conv": layer_rules.convolution,
    "ConvTranspose": layer_rules.transposed_convolution,
    "Gemm": layer_rules.gemm,
    "MatMul": layer_rules.matmul,
}
_RULES: dict[str, Rule] = {
    "BatchNormalization": layer_rules.batch_normalisation,
    "InstanceNormalization": layer_rules.batch_normalisation,
    **value_rules.RULES,
}


def follow(model: ModelProto) -> Trace:
    """The channels of a model, with what ties them and what keeps them.

    model: with its numbers; it isn't changed. Channels of the network's inputs and outputs, and
    those that an operator reads which isn't understood, are fixed.
    """
    trace = start(model)
    for node in trace.model.graph.node:
        known = node.domain in {"", "ai.onnx"}
        is_layer = known and node.op_type in _LAYERS
        marked = [name for name in node.input if name in trace.marks]
        if is_layer or marked:
            rule = _LAYERS.get(node.op_type) or _RULES.get(node.op_type) if known else None
            if rule is None or not rule(trace, node):
                for name in marked:
                    trace.fix(name, f"{node.op_type} {node.name or node.output[0]}")
        for inner in subgraphs(node):
            for name in value_names(inner):
                trace.fix(name, f"{node.op_type} {node.name or node.output[0]}")
    for graph in (trace.model.graph, *nested_graphs(trace.model.graph)):
        for value in graph.output:
            trace.fix(value.name, "output of the network")
    for marks in trace.marks.values():
        if len(marks.ids) == 1:
            # A single channel has nothing to spare.
            trace.tie(marks.ids, np.zeros(1, np.int64))
    return trace
