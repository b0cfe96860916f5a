"""Which inputs a run is calibrated on: those asked for, or noise where a model takes pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import followed_layers
from edgekit.compress.goal import (
    NOISE,
    CalibrationInputs,
    CalibrationSource,
    Goal,
    calibration_inputs,
    is_plain,
)
from edgekit.compress.keep import Keep, kept_layers
from edgekit.compress.plan import Method, Scope, is_coded
from edgekit.errors import DataError, ModelFileError, PlanError, UsageError
from edgekit.graph import Graph
from edgekit.graph.inputs import input_shapes, input_types
from edgekit.graph.walk import all_nodes
from edgekit.packfile.activations import RunAs, check_run_as
from edgekit.preprocess import Preprocess

_MOST_WEIGHTS = 2**24
_MOST_ELEMENTS = 3 * 640 * 640
"""Of a picture. In a larger model, or with larger pictures, noise would take minutes and
gigabytes."""
_ASK = "--calibration noise does it all the same"
_ALL_FLOAT = "every layer stays float"
_UNFIT = {
    *("Bernoulli", "Multinomial"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Compress", "NonMaxSuppression", "NonZero", "Unique"),
}
"""Operators that answer anew each time, or in shapes that depend on values: before and after
rounding can't be compared."""


def check_calibration(
    calibration: CalibrationSource | None, goal: Goal, scope: Scope, evaluation: object
) -> None:
    """Raise PlanError or UsageError for a calibration that can't do what else is asked for."""
    if is_plain(calibration):
        if goal.is_set:
            raise UsageError("a bound is met by calibration: leave out --calibration none")
    elif (calibration is not None or goal.is_set) and scope != "global":
        raise PlanError("calibration works with the global scope")
    if goal.max_drop is not None and evaluation is None:
        raise UsageError("a bound on the drop of accuracy needs labelled data: --eval")
    if evaluation is not None and (is_plain(calibration) or scope != "global"):
        raise UsageError("--eval goes with calibration; edgekit verify --data measures any file")


def check_run_form(
    run_as: RunAs,
    int8_floats: Sequence[str] | None,
    calibration: CalibrationSource | None,
    scope: Scope,
    method: Method,
) -> None:
    """Raise UsageError for a run form that these settings rule out, before any work."""
    check_run_as(run_as)
    if run_as == "float" and int8_floats is None:
        return
    if is_plain(calibration) or (calibration is None and scope != "global"):
        raise UsageError(
            "8-bit activations are calibrated: leave out --calibration none and --scope layer"
        )
    if method == "codebook" and run_as != "auto":
        raise UsageError(
            "a codebook's weights can't be multiplied in 8 bits: leave out --method codebook, or "
            "--run-as int8"
        )


def choose_inputs(
    graph: Graph,
    calibration: CalibrationSource | None,
    goal: Goal,
    pictures: Preprocess | None,
    keep: Mapping[str, Keep] | None,
    *,
    is_int8: bool = False,
) -> tuple[CalibrationInputs | None, str]:
    """Inputs as asked for, or noise; or none, and why none.

    goal: without inputs it is met on noise. pictures: how pictures become inputs. keep: layers with
    bits of their own, or float. is_int8: whether activations are calibrated too, without inputs on
    noise. Raises DataError, and PlanError for a layer to keep that there isn't, and where no layer
    is left to calibrate.
    """
    if is_plain(calibration):
        return None, ""
    if calibration is not None or goal.is_set or is_int8:
        if _all_float(graph, keep or {}):
            raise PlanError(
                f"{_ALL_FLOAT}, so there is nothing to calibrate: keep fewer, or leave out "
                "--calibration, bounds and --run-as"
            )
        return calibration_inputs(
            graph, NOISE if calibration is None else calibration, pictures
        ), ""
    return _noise_unasked(graph, keep or {})


def _noise_unasked(graph: Graph, keep: Mapping[str, Keep]) -> tuple[CalibrationInputs | None, str]:
    """1/f noise for a model whose one input is pictures of a fixed size, else why there is none.

    The model has run on some of it, with finite answers.
    """
    reason = _unsuited(graph, keep)
    if reason:
        return None, reason
    try:
        inputs = calibration_inputs(graph, NOISE)
        probe = Probe(graph, inputs.inputs)
        # A fifth is held back, and has to fill a batch too.
        some = next(probe.batches(inputs.inputs[::5])).arrays[probe.input_name]
    except DataError as error:
        return None, str(error)
    try:
        answers = probe.answers(inputs=some)
    except (DataError, ModelFileError):
        # onnxruntime's own words run over lines.
        return None, f"the model doesn't run on noise of shape {some.shape}"
    if not all(np.isfinite(array).all() for array in answers):
        return None, "the model's answers to noise aren't finite"
    return inputs, ""


def _unsuited(graph: Graph, keep: Mapping[str, Keep]) -> str:
    if sum(weight.values.size for weight in graph.weights) > _MOST_WEIGHTS:
        return f"the model has over {_MOST_WEIGHTS:,} weights; {_ASK}"
    model = graph.empty_model()
    shapes = input_shapes(model)
    if len(shapes) != 1:
        return f"the model has {len(shapes)} inputs"
    [(name, sizes)] = shapes.items()
    if input_types(model)[name] != np.float32:
        return f"input {name} isn't float32"
    if len(sizes) != 4 or min(sizes[1:]) < 1:
        return f"input {name} isn't pictures of a fixed size; --calibration takes data"
    if math.prod(sizes[1:]) > _MOST_ELEMENTS:
        return f"pictures of {sizes[2]}x{sizes[3]} take long; {_ASK}"
    unfit = sorted({node.op_type for node in all_nodes(model.graph)} & _UNFIT)
    if unfit:
        return f"the model has {unfit[0]}, so its answers can't be compared"
    if _all_float(graph, keep):
        return _ALL_FLOAT
    coded = [weight.name for weight in graph.weights if is_coded(weight)]
    if not followed_layers(graph, kept_layers(keep, coded)):
        return "calibration can follow none of the model's layers"
    return ""


def _all_float(graph: Graph, keep: Mapping[str, Keep]) -> bool:
    """Whether `keep` leaves no layer to be coded."""
    coded = [weight.name for weight in graph.weights if is_coded(weight)]
    kept = kept_layers(keep, coded)
    return bool(coded) and all(kept.get(name) == "float" for name in coded)
