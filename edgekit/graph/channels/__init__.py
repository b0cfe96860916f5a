"""Which channels of an ONNX graph belong together, and the graph without some of them."""

from __future__ import annotations

from edgekit.graph.channels.cut import Removed, cut
from edgekit.graph.channels.follow import follow
from edgekit.graph.channels.trace import LayerChannels, Trace

__all__ = ["LayerChannels", "Removed", "Trace", "cut", "follow"]
