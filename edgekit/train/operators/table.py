"""Every operator that can be trained, by its ONNX name."""

from __future__ import annotations

from edgekit.errors import UntrainableError
from edgekit.train.operators import elementwise, resize, shapes, sums, windows
from edgekit.train.operators.node import Builder, Node, Operator

OPERATORS: dict[str, Builder] = {
    **elementwise.BUILDERS,
    **resize.BUILDERS,
    **shapes.BUILDERS,
    **sums.BUILDERS,
    **windows.BUILDERS,
}


def build_operator(node: Node, domain: str) -> Operator:
    """The torch function of a node. Raises UntrainableError where there is none.

    domain: of the operator, empty for ONNX's own.
    """
    if domain not in {"", "ai.onnx"} or node.op not in OPERATORS:
        named = f"{domain}.{node.op}" if domain else node.op
        raise UntrainableError(
            f"node {node.name}: the operator {named} can't be trained; "
            "export the network without it, or compress it without training"
        )
    return OPERATORS[node.op](node)
