"""The chain from an ONNX file to a packed file: load, plan, prune, quantize, pack, check."""

from __future__ import annotations

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
from edgekit.compress.goal import PLAIN, CalibrationSource, Goal
from edgekit.compress.inputs import check_calibration, check_run_form, choose_inputs
from edgekit.compress.keep import Keep
from edgekit.compress.measure import (
    CompressionReport,
    Fidelity,
    layer_reports,
    measure_fidelity,
)
from edgekit.compress.plan import Method, Plan, Scope, check_recipe, make_plan
from edgekit.compress.quality import Judge, quality_wish
from edgekit.compress.rounding import Calibrated
from edgekit.compress.run_form import RunFormReport, choose_run_form, reserved_bytes
from edgekit.compress.search import within_divergence, within_quality, within_size
from edgekit.compress.surgery import check_surgery, described, operate
from edgekit.compress.trust import trusted
from edgekit.data import load_labelled
from edgekit.errors import UsageError
from edgekit.files import check_writable, write_atomic
from edgekit.graph import Graph, load_graph
from edgekit.graph.inputs import input_shapes
from edgekit.packfile.activations import RunAs
from edgekit.packfile.writer import CoderName, measure, pack
from edgekit.preprocess import make_preprocess
from edgekit.tensors import CodedTensor, CompressedModel

NO_GOAL = Goal()
_MOST_EVALUATED = 10_000
"""Pictures of a folder."""


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
    bits: width of a code, 2 to 8. method: "uniform", a grid with one step a channel, or
        "codebook", at most 2^bits shared values a layer, over channels that are scaled alike where
        that errs less for its bytes.
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
    keep: layers that stay finer, by name or pattern: bits of their codes, or "float". They aren't
        pruned.
    run_as: how the file is run: "int8" also calibrates activations, so that layers multiply in 8
        bits; "auto" takes the form that is faster on this machine. It needs calibration inputs.
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
    CheckFailedError where what was pruned can be measured to have cost the answers.
    """
    check_recipe(bits=bits, method=method, sparsity=sparsity, scope=scope)
    check_surgery(channels, low_rank)
    _check_output(output, dry_run=dry_run)
    check_calibration(calibration, goal, scope, evaluation)
    check_run_form(run_as, int8_floats, calibration)
    if calibration is None and scope == "layer":
        # The ranking inside each layer is that of the plain magnitudes.
        calibration = PLAIN
    graph = load_graph(source)
    pictures = None if preprocess is None else make_preprocess(preprocess, _first_shape(graph))
    inputs, uncalibrated = choose_inputs(graph, calibration, goal, pictures, keep)
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
    name, kept = graph.name, graph.kept
    source_bytes, source_sha256 = graph.source_bytes, graph.source_sha256
    recipe = {**plan.recipe(), "coder": coder, **surgery.recipe}
    run_form: RunFormReport | None = None
    if inputs is None:
        if evaluation is not None:
            raise UsageError(f"--eval goes with calibration, and {uncalibrated}")
        model, fidelities = apply_plan(graph, plan)
    else:
        recipe |= {"sparsity": sparsity, "calibration": inputs.origin}
        recipe |= {key: value for key, value in asdict(goal).items() if value is not None}
        judged = (
            None
            if evaluation is None
            else load_labelled(evaluation, preprocess=pictures, most=_MOST_EVALUATED)
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
        has_int8 = run_as != "float" or int8_floats is not None
        reserved = reserved_bytes(apply_plan(graph, plan)[0]) if has_int8 else 0
        found = _meet(
            goal,
            graph,
            plan,
            calibration=calibrated,
            judge=judge,
            packed_bytes=lambda model: len(pack(model, coder=coder)) + reserved,
        )
        model, fidelities = apply_plan(graph, plan, found)
        if judge is not None:
            model.manifest["metrics"]["evaluation"] = asdict(judge.evaluate(found))
        if has_int8:
            run_form = choose_run_form(graph, model, inputs.inputs, run_as, int8_floats)
    if sparsity or surgery.changes:
        what = None if force else described(sparsity, channels, low_rank)
        model.manifest["metrics"] |= trusted(original, graph, model, inputs, what)
    model.manifest["recipe"] |= {"sparsity": sparsity, **surgery.recipe}
    if pictures is not None:
        model.manifest["preprocessing"] = pictures.to_dict()
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
        sha256=packed.digest,
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


def _meet(
    goal: Goal,
    graph: Graph,
    plan: Plan,
    *,
    calibration: Calibration,
    judge: Judge | None,
    packed_bytes: Callable[[CompressedModel], int],
) -> Calibrated:
    if goal.min_agreement is not None or goal.max_drop is not None:
        return within_quality(calibration, quality_wish(goal, judge))
    if goal.bits_per_weight is not None:
        return calibration.at_entropy(goal.bits_per_weight)
    if goal.max_divergence is not None:
        return within_divergence(calibration, goal.max_divergence)
    if goal.target_bytes is not None:
        return within_size(
            calibration,
            goal.target_bytes,
            lambda found: packed_bytes(apply_plan(graph, plan, found)[0]),
        )
    return calibration.at_bits(plan.bits)


def _manifest(graph: Graph, plan: Plan, found: Calibrated | None) -> dict[str, Any]:
    """Where the file comes from; nothing that two runs would write differently."""
    metrics: dict[str, Any] = {}
    if found is not None:
        metrics = {
            "divergence": round(found.divergence, 6),
            "agreement": round(found.agreement, 6),
            "held_back": found.held_back,
            **({"rejoined": True} if found.is_rejoined else {}),
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


def _first_shape(graph: Graph) -> tuple[int, ...]:
    return next(iter(input_shapes(graph.empty_model()).values()), ())


def _check_output(output: str | os.PathLike[str] | None, *, dry_run: bool) -> None:
    if output is not None:
        check_writable(output)
    elif not dry_run:
        raise UsageError("compress needs a file to write; only a dry run goes without")
