"""The chain from an ONNX file to a packed file: load, plan, prune, quantize, pack, check."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import onnx

from edgekit import __version__
from edgekit.compress.calibrate import Probe
from edgekit.compress.calibrated import Calibration
from edgekit.compress.carry_out import carry_out
from edgekit.compress.goal import PLAIN, SEED, CalibrationSource, Goal
from edgekit.compress.inputs import check_calibration, check_run_form, choose_inputs
from edgekit.compress.keep import Keep
from edgekit.compress.measure import (
    CompressionReport,
    Fidelity,
    layer_reports,
    measure_fidelity,
)
from edgekit.compress.plan import Method, Plan, Scope, check_recipe, make_plan
from edgekit.compress.quality import Judge, judged_later, quality_wish
from edgekit.compress.rounding import Calibrated
from edgekit.compress.run_form import (
    RunFormReport,
    choose_run_form,
    not_run_as_int8,
    reserved_bytes,
)
from edgekit.compress.search import (
    check_room,
    within_divergence,
    within_entropy,
    within_quality,
    within_size,
)
from edgekit.compress.surgery import check_surgery, described, operate
from edgekit.compress.trust import UNMEASURED, trusted
from edgekit.data import Labelled, load_labelled
from edgekit.errors import UsageError
from edgekit.files import check_apart, check_writable, write_atomic
from edgekit.graph import Graph, load_graph
from edgekit.graph.inputs import input_shapes
from edgekit.packfile.activations import RunAs
from edgekit.packfile.writer import CoderName, measure, pack
from edgekit.preprocess import Preprocess, make_preprocess
from edgekit.tensors import CodedTensor, CompressedModel

NO_GOAL = Goal()
_MOST_EVALUATED = 10_000
"""Pictures of a folder."""
_USUAL_DIVERGENCE, _USUAL_AGREEMENT = 0.192837, 0.465018
"""As long as most of codes whose answers aren't known yet, for the size of their file."""


def compress(
    source: str | os.PathLike[str] | bytes,
    output: str | os.PathLike[str] | None,
    *,
    bits: int = 8,
    method: Method = "uniform",
    sparsity: float = 0.0,
    scope: Scope = "global",
    coder: CoderName = "huffman",
    calibration: CalibrationSource | None = None,
    preprocess: str | os.PathLike[str] | None = None,
    goal: Goal = NO_GOAL,
    evaluation: str | os.PathLike[str] | None = None,
    keep: Mapping[str, Keep] | None = None,
    run_as: RunAs = "float",
    int8_floats: Sequence[str] | None = None,
    channels: float = 1.0,
    low_rank: float | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> CompressionReport:
    """Prune, quantize and entropy-code an ONNX model into one packed file.

    source: an ONNX file, by path or as bytes. output: the packed file; None only in a dry run.
    bits: width of a code, 2 to 8; beside a goal, the most that a code may have.
    method: "uniform", a grid with one step a channel, or "codebook", at most 2^bits shared values a
        layer, over channels that are scaled alike where that errs less for its bytes.
    sparsity: share of the weights that become zero, in [0, 1); those go that matter least over
        all layers together, or with scope "layer" the smallest magnitudes of each.
    coder: "huffman" decodes fastest, "rans" makes the smallest file.
    calibration: unlabelled inputs (edgekit.compress.goal.calibration_inputs says which) to measure
        what each weight tensor matters, to round with error feedback and to correct biases in the
        layers that can be followed (edgekit.graph.layers). Without them 1/f noise is taken where a
        model plainly takes pictures (edgekit.compress.inputs); "noise" asks for it, "none" for
        plain rounding, which also ranks what is pruned by magnitude alone.
    preprocess: how pictures become inputs: a preset of edgekit.preprocess or a .toml file. It is
        kept in the packed file, where verify and embed find it.
    goal: a bound in whose place the bits of each layer are chosen where they hurt least. Without
        calibration inputs it is met on noise.
    evaluation: data that measure the result, as edgekit.data.load_labelled takes them; a goal of
        agreement or accuracy is met on them. It needs calibration.
    keep: layers with bits of their own, finer or coarser, or "float", by name or pattern. They
        aren't pruned.
    run_as: how the file is run: "int8" also calibrates activations, so that layers multiply in 8
        bits; "auto" takes the form that is faster on this machine. Without calibration inputs noise
        stands in.
    int8_floats: layers that stay float in the int8 form, by the names of their weights; without
        them they are looked for, by their errors and by time on this machine. With run_as "float"
        the file has an int8 form too, but says float.
    channels: share of the channels that stay, counted over the outputs of all layers; the least
        important ones leave the graph, and the layers that read them are corrected on the
        calibration inputs, or on noise.
    low_rank: share of each layer's output energy that two thinner layers in its place keep, where
        that saves weights; None splits none.
    force: write a model too whose pruning has cost it the original's answers.
    dry_run: do all but write the file.

    The same source and settings give the same bytes, but for what is chosen by time: the report
    says what was chosen, and int8_floats repeats it. The file is read back and compared before
    it takes the place of an older one. Raises PlanError, ModelFileError, OutputError, and
    CheckFailedError where a goal can't be met or what was pruned can be measured to have cost the
    answers.
    """
    check_recipe(bits=bits, method=method, sparsity=sparsity, scope=scope)
    check_surgery(channels, low_rank)
    _check_output(output, [source, calibration, preprocess, evaluation], dry_run=dry_run)
    check_calibration(calibration, goal, scope, evaluation)
    check_run_form(run_as, int8_floats, calibration, scope, method)
    if calibration is None and scope == "layer":
        # The ranking inside each layer is that of the plain magnitudes.
        calibration = PLAIN
    graph = load_graph(source)
    pictures = None if preprocess is None else make_preprocess(preprocess, _first_shape(graph))
    has_int8 = run_as != "float" or int8_floats is not None
    inputs, uncalibrated = choose_inputs(
        graph, calibration, goal, pictures, keep, is_int8=has_int8 and run_as != "auto"
    )
    judged = _judged_on(evaluation, pictures, uncalibrated if inputs is None else None)
    original = graph
    surgery = operate(graph, inputs, channels=channels, low_rank=low_rank, keep=keep)
    graph = surgery.graph
    plan = make_plan(
        graph.weights,
        bits=bits,
        method=method,
        # With calibration the masks are chosen by sensitivity.
        sparsity=0.0 if inputs is not None else sparsity,
        scope=scope,
        keep=keep,
    )
    name, kept, source_bytes = graph.name, graph.kept, graph.source_bytes
    source_sha256 = graph.source_sha256
    recipe = plan.recipe() | {
        "sparsity": sparsity,
        "coder": coder,
        "calibration": PLAIN if inputs is None else inputs.origin,
        "seed": SEED,
        "run_as": "float",
        **{key: value for key, value in asdict(goal).items() if value is not None},
        **surgery.recipe,
        **({} if judged is None else {"evaluation": judged.title}),
    }
    facts = {
        "recipe": recipe,
        "preprocessing": None if pictures is None else pictures.to_dict(),
    }
    run_form: RunFormReport | None = None
    if inputs is None:
        model, fidelities = apply_plan(graph, plan)
        run_form = not_run_as_int8(f"the file says float: {uncalibrated}") if has_int8 else None
    else:
        later = _measured_later(judged, is_cut=bool(sparsity or surgery.changes))
        packed_bytes = _sizes(
            goal, graph, plan, coder, note=lambda model: _noted(model, facts, later), int8=has_int8
        )
        calibrated = Calibration(
            graph,
            inputs.inputs,
            plan,
            sparsity=sparsity,
            is_noise=inputs.is_noise,
            original=Probe(original, inputs.inputs) if surgery.changes else None,
        )
        judge = None if judged is None else Judge(calibrated, judged)
        found = _meet(goal, plan, calibration=calibrated, judge=judge, packed_bytes=packed_bytes)
        model, fidelities = apply_plan(graph, plan, found)
        if judge is not None:
            model.manifest["metrics"]["evaluation"] = asdict(judge.evaluate(found))
        # They hold second moments of all layers, several times as large as the model.
        del calibrated, judge
        if has_int8:
            run_form = choose_run_form(original, model, inputs.inputs, run_as, int8_floats)
    if sparsity or surgery.changes:
        what = None if force else described(sparsity, channels, low_rank)
        model.manifest["metrics"] |= trusted(original, graph, model, inputs, what)
    if run_form is not None:
        recipe["run_as"] = run_form.form
    model = _noted(model, facts)
    # The float weights aren't needed any more, and a packed file is made in memory.
    del graph, original
    data = pack(model, coder=coder)
    if output is not None and not dry_run:
        write_atomic(output, data)
    packed = measure(data)
    layers, rest = layer_reports(fidelities, packed)
    return CompressionReport(
        name=name,
        output=None if output is None or dry_run else os.fspath(output),
        source_bytes=source_bytes,
        source_sha256=source_sha256,
        file_bytes=packed.file_bytes,
        sha256=hashlib.sha256(data).hexdigest(),
        recipe=recipe,
        metrics=dict(model.manifest["metrics"]),
        layers=layers,
        rest=rest,
        kept=kept,
        run_form=run_form,
        changes=surgery.changes,
        uncalibrated=uncalibrated,
    )


def apply_plan(
    graph: Graph, plan: Plan, found: Calibrated | None = None
) -> tuple[CompressedModel, tuple[Fidelity, ...]]:
    """The compressed model that a plan makes of a graph, and how far each tensor moved.

    found: calibrated weights and biases, which take the place of the plan's.
    """
    coded: dict[str, CodedTensor] = {} if found is None else found.coded
    biases = {} if found is None else found.biases
    # What counts as a bias's error is its rounding; the correction is wanted.
    weights = [
        replace(original, values=biases.get(original.name, original.values))
        for original in graph.weights
    ]
    rest = carry_out([weight for weight in weights if weight.name not in coded], plan)
    made = {tensor.name: tensor for tensor in rest} | coded
    tensors = tuple(made[weight.name] for weight in weights)
    fidelities = tuple(
        measure_fidelity(weight, tensor) for weight, tensor in zip(weights, tensors, strict=True)
    )
    return CompressedModel(tensors, graph.skeleton, _manifest(graph, plan, found)), fidelities


def _judged_on(
    evaluation: str | os.PathLike[str] | None, pictures: Preprocess | None, uncalibrated: str | None
) -> Labelled | None:
    """Evaluation data, if any. uncalibrated: why there is no calibration; None where there is."""
    if evaluation is None:
        return None
    if uncalibrated is not None:
        raise UsageError(f"--eval goes with calibration, and {uncalibrated}")
    return load_labelled(evaluation, preprocess=pictures, most=_MOST_EVALUATED)


def _measured_later(judged: Labelled | None, *, is_cut: bool) -> dict[str, Any]:
    """Metrics that come into the manifest after a size has been met, as long as they can be."""
    return (UNMEASURED if is_cut else {}) | ({} if judged is None else judged_later(judged))


def _sizes(
    goal: Goal,
    graph: Graph,
    plan: Plan,
    coder: CoderName,
    *,
    note: Callable[[CompressedModel], CompressedModel],
    int8: bool,
) -> Callable[[Calibrated], int]:
    """What tells the size of the finished file. note: completes the manifest.

    Raises CheckFailedError at once where a goal's size leaves no room for weights.
    """
    reserved = reserved_bytes(apply_plan(graph, plan)[0]) if int8 else 0

    def packed_bytes(found: Calibrated) -> int:
        return len(pack(note(apply_plan(graph, plan, found)[0]), coder=coder)) + reserved

    if goal.target_bytes is not None:
        check_room(goal.target_bytes, packed_bytes(_all_zero(graph, plan)))
    return packed_bytes


def _meet(
    goal: Goal,
    plan: Plan,
    *,
    calibration: Calibration,
    judge: Judge | None,
    packed_bytes: Callable[[Calibrated], int],
) -> Calibrated:
    if goal.min_agreement is not None or goal.max_drop is not None:
        return within_quality(calibration, quality_wish(goal, judge))
    if goal.bits_per_weight is not None:
        return within_entropy(calibration, goal.bits_per_weight)
    if goal.max_divergence is not None:
        return within_divergence(calibration, goal.max_divergence)
    if goal.target_bytes is not None:
        return within_size(calibration, goal.target_bytes, packed_bytes)
    return calibration.at_bits(plan.bits)


def _noted(
    model: CompressedModel, facts: Mapping[str, Any], metrics: Mapping[str, Any] | None = None
) -> CompressedModel:
    """A model with more facts and metrics in its manifest."""
    measured = model.manifest["metrics"] | dict(metrics or {})
    return replace(model, manifest={**model.manifest, **facts, "metrics": measured})


def _all_zero(graph: Graph, plan: Plan) -> Calibrated:
    """About the smallest that a plan's coded tensors could become, and hardly more than that."""
    dtypes = {weight.name: weight.dtype for weight in graph.weights}
    coded = {}
    for layer in plan.layers:
        axis = layer.axis if layer.method == "uniform" else None
        steps = np.ones(() if axis is None else layer.shape[axis], np.float32)
        codes = np.zeros(layer.shape, np.int8)
        coded[layer.name] = CodedTensor(layer.name, dtypes[layer.name], codes, steps, axis or 0)
    return Calibrated(coded, {}, damping=1.0)


def _manifest(graph: Graph, plan: Plan, found: Calibrated | None) -> dict[str, Any]:
    """Where the file comes from; nothing that two runs would write differently."""
    metrics: dict[str, Any] = {}
    if found is not None:
        metrics = {
            "divergence": round(found.divergence, 6) if found.is_judged else _USUAL_DIVERGENCE,
            "agreement": round(found.agreement, 6) if found.is_judged else _USUAL_AGREEMENT,
            "held_back": found.held_back,
            **({"rejoined": True} if found.is_rejoined else {}),
            **_of_file(found),
            **({"unseen": list(found.unseen)} if found.unseen else {}),
        }
    return {
        "name": graph.name,
        "source_sha256": graph.source_sha256,
        "source_bytes": graph.source_bytes,
        "recipe": plan.recipe(),
        "versions": {
            "edgekit": __version__,
            "numpy": np.__version__,
            "onnx": onnx.__version__,
        },
        "preprocessing": None,
        "metrics": metrics,
    }


def _of_file(found: Calibrated) -> dict[str, Any]:
    if found.of_file is None:
        return {}
    divergence, agreement = found.of_file
    return {"of_file": {"divergence": round(divergence, 6), "agreement": round(agreement, 6)}}


def _first_shape(graph: Graph) -> tuple[int, ...]:
    return next(iter(input_shapes(graph.empty_model()).values()), ())


def _check_output(
    output: str | os.PathLike[str] | None, sources: Sequence[object], *, dry_run: bool
) -> None:
    if output is not None:
        check_writable(output)
        check_apart([output], sources)
    elif not dry_run:
        raise UsageError("compress needs a file to write; only a dry run goes without")
