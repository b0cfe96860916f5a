"""`edgekit export`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgekit.cli.common import Format, FormatOption, OutputOption, log, show
from edgekit.errors import UsageError


def export(
    source: Annotated[
        str,
        typer.Argument(help="A zoo name, package.module:factory, or file.py:factory."),
    ],
    output: OutputOption,
    input_shape: Annotated[
        str | None,
        typer.Option("--input", help="Input shape with the batch axis, such as 1,3,224,224."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="A .safetensors or .pth file, or 'none' for random weights."),
    ] = None,
    opset: Annotated[int, typer.Option(help="ONNX operator set, 18 to 23.")] = 20,
    simplify: Annotated[
        bool, typer.Option(help="Simplify the graph with onnxsim, in a child process.")
    ] = True,
    form: FormatOption = Format.TABLE,
) -> None:
    """Export a torch model to ONNX and check that both give the same answers."""
    shape = None if input_shape is None else parse_shape(input_shape)

    from edgekit.export import pytorch
    from edgekit.report.export import render_table

    report = pytorch.export(
        source, output, weights=weights, input_shape=shape, opset=opset, simplify=simplify
    )
    for warning in report.warnings:
        log(f"edgekit: warning: {warning}")
    show(report, render_table, form)


def parse_shape(text: str) -> tuple[int, ...]:
    """`1,3,224,224` or `1x3x224x224` to integers. Raises UsageError."""
    try:
        shape = tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError:
        raise UsageError(
            f"--input {text!r} isn't a shape; give sizes with commas, such as 1,3,224,224"
        ) from None
    if len(shape) < 2 or min(shape) < 1:
        raise UsageError(f"--input {text!r} needs a batch axis and sizes above 0")
    return shape
