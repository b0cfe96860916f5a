"""Brings an exported graph into one form: no traces of the machine, fixed names, fixed bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import onnx

from edgekit import __version__


def canonicalise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without doc strings, metadata and intermediate shapes; nodes named for their place.

    Exporters leave stack traces with file paths in the metadata. The shapes of intermediate
    values can be inferred again, and cost bytes in a small model.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.producer_name, result.producer_version = "edgekit", __version__
    result.doc_string = result.domain = ""
    result.model_version = 0
    del result.metadata_props[:]
    for function in result.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        _strip_nodes(function.node, function.name)
    for graph, prefix in _graphs(result.graph, ""):
        graph.name = "main" if not prefix else "body"
        graph.doc_string = ""
        del graph.metadata_props[:]
        del graph.value_info[:]
        del graph.quantization_annotation[:]
        for value in (*graph.input, *graph.output):
            value.doc_string = ""
            del value.metadata_props[:]
        for tensor in graph.initializer:
            tensor.doc_string = ""
            del tensor.metadata_props[:]
        _strip_nodes(graph.node, prefix)
    _name_folded_biases(result.graph)
    return result


def name_by_scope(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which weights that TorchScript left anonymous are named after their module.

    That exporter calls a folded convolution's weights `onnx::Conv_26`, but its node is named
    `/first/Conv` for the module `first`.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in result.graph.initializer}
    taken = set(tensors)
    for node in result.graph.node:
        scope = node.name.strip("/").rpartition("/")[0].replace("/", ".")
        for position, role in ((1, "weight"), (2, "bias")):
            used = node.input[position] if position < len(node.input) else ""
            name = f"{scope}.{role}"
            if not used.startswith("onnx::") or used not in tensors or name in taken or not scope:
                continue
            taken.add(name)
            _rename(result.graph, tensors[used], name)
    return result


def unfolded_norms(model: onnx.ModelProto) -> list[str]:
    """Names of BatchNormalization nodes that could still be folded into a convolution before them.

    That is, whose input is the output of a Conv that nothing else uses.
    """
    graph = model.graph
    uses = Counter(name for node in graph.node for name in node.input)
    convolved = {
        node.output[0] for node in graph.node if node.op_type in {"Conv", "ConvTranspose"}
    } - {value.name for value in graph.output}
    return [
        node.name or node.output[0]
        for node in graph.node
        if node.op_type == "BatchNormalization"
        and node.input[0] in convolved
        and uses[node.input[0]] == 1
    ]


def _name_folded_biases(graph: onnx.GraphProto) -> None:
    """A bias that folding a BatchNorm made: `conv.weight_bias` becomes `conv.bias`."""
    taken = {tensor.name for tensor in graph.initializer}
    for tensor in graph.initializer:
        layer = tensor.name.removesuffix(".weight_bias")
        name = f"{layer}.bias"
        if layer == tensor.name or name in taken:
            continue
        _rename(graph, tensor, name)


def _rename(graph: onnx.GraphProto, tensor: onnx.TensorProto, name: str) -> None:
    """Give an initializer another name, here and where the graph's own nodes use it."""
    for node in graph.node:
        for position, used in enumerate(node.input):
            if used == tensor.name:
                node.input[position] = name
    tensor.name = name


def _strip_nodes(nodes: Iterable[onnx.NodeProto], prefix: str) -> None:
    seen: Counter[str] = Counter()
    for node in nodes:
        node.name = f"{prefix}{node.op_type}_{seen[node.op_type]}"
        seen[node.op_type] += 1
        node.doc_string = ""
        del node.metadata_props[:]


def _graphs(graph: onnx.GraphProto, prefix: str) -> Iterator[tuple[onnx.GraphProto, str]]:
    """The graph and all graphs inside its nodes, each with a prefix for its node names."""
    yield graph, prefix
    for index, node in enumerate(graph.node):
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner, f"{prefix}{index}.{attribute.name}.")
