"""`edgekit compress`."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from edgekit.cli.common import Format, FormatOption, PreprocessOption, log, show
from edgekit.errors import UsageError


class Method(StrEnum):
    """How weights become codes."""

    UNIFORM = "uniform"
    CODEBOOK = "codebook"


class Scope(StrEnum):
    """Over what the smallest weights are ranked."""

    GLOBAL = "global"
    LAYER = "layer"


class RunAs(StrEnum):
    """How a packed file is run."""

    FLOAT = "float"
    INT8 = "int8"
    AUTO = "auto"


class Coder(StrEnum):
    """How codes become bits."""

    HUFFMAN = "huffman"
    RANS = "rans"


def compress(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(help="An ONNX file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The packed file to write.")
    ] = None,
    bits: Annotated[
        int, typer.Option(help="Bits of a weight's code, 2 to 8; at most so many beside a bound.")
    ] = 8,
    method: Annotated[
        Method,
        typer.Option(help="A uniform grid with a step for each channel, or shared values."),
    ] = Method.UNIFORM,
    sparsity: Annotated[
        float, typer.Option(help="Share of the weights to set to zero, from 0 to below 1.")
    ] = 0.0,
    scope: Annotated[
        Scope,
        typer.Option(help="Prune the smallest weights of the whole model or of each layer."),
    ] = Scope.GLOBAL,
    coder: Annotated[
        Coder, typer.Option(help="huffman decodes fastest, rans makes the smallest file.")
    ] = Coder.HUFFMAN,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Unlabelled inputs: an .npz file with an array for each input, an .npy file, a "
            "folder of pictures or of .npy files, fashion-mnist, or noise, which a model of "
            "pictures gets without this; none rounds plainly."
        ),
    ] = None,
    preprocess: PreprocessOption = None,
    bits_per_weight: Annotated[
        float | None,
        typer.Option(help="Spend this many bits a weight, where they matter most."),
    ] = None,
    target_size: Annotated[
        str | None, typer.Option(help="Largest finished file, such as 1.5MB (10^6 bytes).")
    ] = None,
    max_kl: Annotated[
        float | None,
        typer.Option(help="Largest divergence of the outputs in nats, on held-back inputs."),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(help="Least share of equal top-1 answers, on --eval or held-back inputs."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Most points of top-1 accuracy that may be lost on --eval."),
    ] = None,
    evaluation: Annotated[
        str | None,
        typer.Option("--eval", help="Labelled data that measure the result, as for verify --data."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="Layers with bits of their own, or float, such as 'conv1:8,fc:float'."),
    ] = None,
    run_as: Annotated[
        RunAs,
        typer.Option(
            help="How the file is run: int8 calibrates 8-bit activations too, auto takes what is "
            "faster on this machine."
        ),
    ] = RunAs.FLOAT,
    channels: Annotated[
        float,
        typer.Option(
            help="Share of the channels that stay; the least important ones leave the graph, which "
            "then runs faster."
        ),
    ] = 1.0,
    low_rank: Annotated[
        float | None,
        typer.Option(
            help="Split fully-connected and pointwise layers in two where that saves weights, at "
            "this share of their outputs' energy."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write a pruned model too that has lost its answers."),
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option(help="Settings from a file that --save-plan wrote; flags given here win."),
    ] = None,
    save_plan: Annotated[
        Path | None, typer.Option(help="Write this run's settings as TOML, to repeat it.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the table, write no file.")
    ] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Prune, quantize and Huffman-code an ONNX model into one packed file."""
    if output is None and not dry_run:
        raise UsageError("say where to write with -o model.ekp, or try with --dry-run")

    from edgekit.compress import pipeline
    from edgekit.compress.goal import Goal, parse_size
    from edgekit.compress.keep import parse_keep
    from edgekit.compress.settings import Settings, read_settings, write_settings
    from edgekit.files import check_apart, check_writable
    from edgekit.report.compression import render_table

    if save_plan is not None:
        check_writable(save_plan)
    base = Settings() if plan is None else read_settings(plan)
    bounds: dict[str, Any] = {
        "bits_per_weight": bits_per_weight,
        "target_bytes": None if target_size is None else parse_size(target_size),
        "max_divergence": max_kl,
        "min_agreement": min_agreement,
        "max_drop": max_drop,
    }
    flags: dict[str, Any] = {
        "bits": bits,
        "method": method.value,
        "sparsity": sparsity,
        "scope": scope.value,
        "coder": coder.value,
        "calibration": calibration,
        "preprocess": preprocess,
        "evaluation": evaluation,
        "keep": None if keep is None else parse_keep(keep),
        "run_as": run_as.value,
        "channels": channels,
        "low_rank": low_rank,
        "force": force,
    }
    given = {name: value for name, value in flags.items() if _is_given(ctx, name)}
    # One bound takes the place of another.
    goal = Goal(**bounds) if any(bound is not None for bound in bounds.values()) else base.goal
    settings = replace(base, **given, goal=goal)
    if "run_as" in given:
        # What a plan found was for its own form.
        settings = replace(settings, int8_floats=None)
    # A plan may be written anew in its own place.
    check_apart([output], [plan])
    check_apart(
        [output, save_plan],
        [source, settings.calibration, settings.preprocess, settings.evaluation],
    )
    report = pipeline.compress(source, output, **settings.arguments(), dry_run=dry_run)
    if settings.source_sha256 not in {"", report.source_sha256}:
        log(f"edgekit: warning: {plan} was made for another model than {source}")
    if report.run_form is not None and report.run_form.note:
        log(f"edgekit: note: {report.run_form.note}")
    if save_plan is not None:
        found = replace(settings, source_sha256=report.source_sha256)
        if report.run_form is not None and not report.run_form.layers:
            found = replace(found, run_as="float")
        elif report.run_form is not None:
            # What was chosen by time is written down, so that the plan gives the same bytes.
            found = replace(found, run_as=report.run_form.form, int8_floats=report.run_form.floats)
        write_settings(found, save_plan)
    show(report, render_table, form)


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
