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
