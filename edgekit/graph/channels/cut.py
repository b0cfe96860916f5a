"""A graph without some of its channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from edgekit.errors import ModelFileError
from edgekit.graph.channels.trace import FIXED, Ids, Trace, finish


@dataclass(frozen=True, slots=True, eq=False)
class Removed:
    """The channels of a value that went: their axis, and their places in the graph before."""

    axis: int
    places: NDArray[np.int64]


def cut(trace: Trace, gone: Ids) -> tuple[ModelProto, Mapping[str, Removed]]:
    """The model without the channels of these marks, and what each value lost.

    The trace is used up. Raises ModelFileError where the result breaks the rules of ONNX, which
    says that an operator was misunderstood.
    """
    roots = set(trace.roots(np.asarray(gone, np.int64)).tolist()) - {FIXED}

    def kept(ids: Ids) -> NDArray[np.bool_]:
        return np.array([int(root) not in roots for root in trace.roots(ids)], np.bool_)

    removed = {}
    for name, marks in trace.marks.items():
        places = np.flatnonzero(~kept(marks.ids))
        if len(places) == len(marks.ids):
            raise AssertionError(f"all channels of {name} would be removed")
        if len(places):
            removed[name] = Removed(marks.axis, places)
    trace.apply(kept)
    model = finish(trace)
    try:
        onnx.checker.check_model(model)
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelFileError(f"channels of this graph can't be removed: {reason}") from error
    return model, removed
