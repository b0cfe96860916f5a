"""Walking over the nodes and graphs of a model, those of control flow included."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, NodeProto


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds: the branches of If, the bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def nested_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """All graphs below `graph`, at any depth, itself left out."""
    for node in graph.node:
        for inner in subgraphs(node):
            yield inner
            yield from nested_graphs(inner)


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes, those of subgraphs behind the node that holds them."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def value_names(graph: GraphProto) -> set[str]:
    """Every name that stands for a value anywhere in the model."""
    names: set[str] = set()
    for part in (graph, *nested_graphs(graph)):
        names.update(value.name for value in (*part.input, *part.output, *part.value_info))
        names.update(tensor.name for tensor in part.initializer)
        names.update(tensor.values.name for tensor in part.sparse_initializer)
        for node in part.node:
            names.update(node.input)
            names.update(node.output)
    return names


def integer(node: NodeProto, name: str, default: int) -> int:
    """An integer attribute of a node."""
    return next((item.i for item in node.attribute if item.name == name), default)


def integers(node: NodeProto, name: str) -> list[int] | None:
    """A list attribute of a node, or None where it isn't given."""
    return next((list(item.ints) for item in node.attribute if item.name == name), None)
