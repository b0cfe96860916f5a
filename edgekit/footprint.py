"""What an ONNX graph needs to run beside its weights, and how far one output sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onnx import NodeProto

from edgekit.graph import Graph
from edgekit.graph.shapes import Value, value_shapes
from edgekit.graph.walk import integers, subgraphs, value_names

_VIEWS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_IN_PLACE = frozenset(
    {"BatchNormalization", "Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu"}
    | {"Relu", "Sigmoid", "Softmax", "Tanh"}
)
"""Operators of one map that a runtime lets write over it, once nobody else reads it."""
_WINDOWS = frozenset({"AveragePool", "Conv", "LpPool", "MaxPool"})
_MOVERS = frozenset(
    {"ConvTranspose", "DepthToSpace", "GRU", "GridSample", "If", "LSTM", "Loop", "RNN", "Resize"}
    | {"RoiAlign", "Scan", "SpaceToDepth", "Upsample"}
)
"""Operators behind which "so many pixels from one place to the next" means nothing any more."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one input, or the batch that the graph insists on, node after node in its order.

    peak_bytes: of all activations that live at once, at the moment when they are most: a map lives
    from the node that makes it to the last one that reads it, graph inputs and outputs included;
    activations work in place and reshapes take nothing. A runtime's own buffers come on top. None
    where a size is open.
    receptive_field: side of the square of input pixels that one place of the last map sees, before
    global pooling or dense layers; padding counts as pixels, 1 where nothing spreads. None where
    the graph holds an operator that moves places, such as Resize or LSTM.
    """

    peak_bytes: int | None
    receptive_field: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def measure_footprint(
    graph: Graph, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Footprint:
    """Peak of activations and receptive field, from shapes alone.

    input_shapes: by name, where the graph leaves sizes open; open first sizes are taken for the
    batch, which is 1. Raises UsageError for an input that the graph doesn't have.
    """
    model = graph.empty_model()
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    outputs = [value.name for value in model.graph.output]
    nodes = list(model.graph.node)
    kernels = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes = value_shapes(model, input_shapes)
    return Footprint(
        _peak(nodes, inputs, outputs, shapes), _receptive_field(nodes, kernels, shapes)
    )


def _peak(
    nodes: Sequence[NodeProto],
    inputs: Iterable[str],
    outputs: Iterable[str],
    shapes: Mapping[str, Value],
) -> int | None:
    """Bytes by buffer: a view or an activation in place shares the buffer of its input."""
    last_use = {name: step for step, node in enumerate(nodes) for name in _reads(node)}
    last_use |= dict.fromkeys(outputs, len(nodes))
    buffer_of: dict[str, str] = {}
    ends: dict[str, int] = {}
    alive: dict[str, int] = {}

    def hold(name: str, step: int, shared: str | None = None) -> bool:
        buffer = buffer_of[name] = name if shared is None else buffer_of[shared]
        # What nobody reads is made all the same, and goes at once.
        ends[buffer] = max(ends.get(buffer, 0), last_use.get(name, step))
        if shared is None:
            size = shapes[name].bytes if name in shapes else None
            if size is None:
                return False
            alive[buffer] = size
        return True

    if not all(hold(name, 0) for name in inputs):
        return None
    peak = sum(alive.values())
    for step, node in enumerate(nodes):
        source = node.input[0] if node.input else ""
        is_view = node.op_type in _VIEWS and source in buffer_of
        is_in_place = (
            node.op_type in _IN_PLACE and source in buffer_of and ends[buffer_of[source]] == step
        )
        for position, name in enumerate(node.output):
            # A further output that nobody reads, such as Dropout's mask, is never made.
            if not name or (position > 0 and name not in last_use):
                continue
            shared = source if position == 0 and (is_view or is_in_place) else None
            if not hold(name, step, shared):
                return None
        peak = max(peak, sum(alive.values()))
        for buffer in [buffer for buffer in alive if ends[buffer] <= step]:
            del alive[buffer]
    return peak


def _receptive_field(
    nodes: Iterable[NodeProto],
    kernels: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, Value],
) -> int | None:
    """Windows and steps of each value, an axis each; a node's widest input counts."""
    views: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    widest = 1
    for node in nodes:
        if node.op_type in _MOVERS:
            return None
        seen = [views[name] for name in node.input if name in views] or [((), ())]
        fields, steps = _widest([view[0] for view in seen]), _widest([view[1] for view in seen])
        if node.op_type in _WINDOWS and not _is_global(node, shapes):
            kernel = integers(node, "kernel_shape") or list(kernels.get(node.input[1], ())[2:])
            rank = len(kernel)
            fields, steps = _ones(fields, rank), _ones(steps, rank)
            gaps = integers(node, "dilations") or [1] * rank
            strides = integers(node, "strides") or [1] * rank
            spread = zip(fields, steps, kernel, gaps, strict=True)
            fields = tuple(field + (side - 1) * gap * step for field, step, side, gap in spread)
            steps = tuple(step * by for step, by in zip(steps, strides, strict=True))
        widest = max(widest, *fields, 1)
        views |= dict.fromkeys(node.output, (fields, steps))
    return widest


def _widest(views: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Along each axis; those of fewer axes count from the last one."""
    rank = max(map(len, views))
    return tuple(map(max, zip(*(_ones(view, rank) for view in views), strict=True)))


def _ones(numbers: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(numbers)) + numbers


def _is_global(node: NodeProto, shapes: Mapping[str, Value]) -> bool:
    """Whether a pooling leaves one place."""
    output = shapes.get(node.output[0])
    return node.op_type != "Conv" and output is not None and set(output.shape[2:]) == {1}


def _reads(node: NodeProto) -> set[str]:
    """The values that a node reads, those of its subgraphs included."""
    names = set(node.input)
    for inner in subgraphs(node):
        names |= value_names(inner)
    return names
