"""`edgekit bench`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli import devices
from edgekit.cli.common import RunForm, SeedOption, log, stdout
from edgekit.cli.devices import DeviceOption, DevicePythonOption, SshConfigOption
from edgekit.errors import OutputError, UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600}


class BenchFormat(StrEnum):
    """How a latency report is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"
    HTML = "html"


def bench(
    paths: Annotated[list[Path], typer.Argument(help="ONNX and packed files.")],
    warmup: Annotated[int, typer.Option(min=0, help="Runs of each file before timing.")] = 10,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each file.")] = 100,
    threads: Annotated[
        str, typer.Option(help="Threads of one operator; several as in 1,2,4.")
    ] = "1",
    max_seconds: Annotated[
        float | None, typer.Option(help="End the timed runs after this many seconds.")
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(help="End early when the median is known to this share, such as 0.02."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Size of an open first dimension.")] = 1,
    input_shape: Annotated[
        str | None, typer.Option(help="Shape of the input, such as 1,3,224,224.")
    ] = None,
    input_data: Annotated[
        Path | None,
        typer.Option(
            help="Inputs in place of random ones: an .npz file with an array for each, an .npy "
            "file, or a folder of .npy files."
        ),
    ] = None,
    cold: Annotated[bool, typer.Option(help="Also time the start in fresh processes.")] = True,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also time each layer, in runs of their own.")
    ] = False,
    sustain: Annotated[
        str | None,
        typer.Option(help="Also run each file without a pause for this long, such as 90s or 5m."),
    ] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(
            "--eval", help="Also measure top-1 accuracy: fashion-mnist, a folder or an .npz file."
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="How pictures of --eval become inputs, such as imagenet; as a packed file says by "
            "default."
        ),
    ] = None,
    spin: Annotated[
        bool,
        typer.Option("--spin", help="Let idle threads of onnxruntime spin instead of sleep."),
    ] = False,
    run_as: Annotated[
        RunForm | None,
        typer.Option(help="Run form of packed files, where they have both; as each says."),
    ] = None,
    provider: Annotated[str, typer.Option(help="Execution provider of onnxruntime.")] = "cpu",
    affinity: Annotated[
        str | None, typer.Option(help="Cores to run on, such as 0,1; all by default.")
    ] = None,
    seed: SeedOption = 0,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            help="Also write the report to a .json, .csv, .md or .html file; repeatable.",
        ),
    ] = None,
    device: DeviceOption = None,
    device_python: DevicePythonOption = None,
    ssh_config: SshConfigOption = None,
    form: Annotated[
        BenchFormat, typer.Option("--format", help="What to print.")
    ] = BenchFormat.TABLE,
) -> None:
    """Measure load time and latency of models on this machine."""
    from edgekit.files import check_apart, write_atomic
    from edgekit.report import latency_files
    from edgekit.report.latency import render_table

    outputs, on = output or [], device or []
    suffixes = [f".{form.value}", *(path.suffix for path in outputs)]
    devices.check_flags(on, device_python, ssh_config, suffixes)
    # What can't be written, and a package that is missing, is found before the measurement.
    renderers = [latency_files.renderer(path.suffix) for path in outputs]
    for path in outputs:
        if not path.parent.is_dir():
            raise OutputError(f"can't write {path}: there is no folder {path.parent}; create it")
    check_apart(outputs, [*paths, input_data, evaluate, preprocess])
    printer = None if form is BenchFormat.TABLE else latency_files.renderer(f".{form.value}")
    outcomes = devices.measure(
        on,
        paths,
        device_python,
        ssh_config,
        warmup=warmup,
        runs=runs,
        threads=_numbers(threads, "--threads"),
        max_seconds=max_seconds,
        precision=precision,
        batch=batch,
        input_shape=None if input_shape is None else _numbers(input_shape, "--input-shape"),
        input_data=input_data,
        seed=seed,
        cold=cold,
        spinning=spin,
        provider=provider,
        affinity=None if affinity is None else _numbers(affinity, "--affinity", least=0),
        profile=profile,
        sustain_s=None if sustain is None else _seconds(sustain, "--sustain"),
        evaluate=evaluate,
        preprocess=preprocess,
        run_as=None if run_as is None else run_as.value,
    )
    reports = [outcome.report for outcome in outcomes if outcome.report is not None]
    if reports:
        for path, render in zip(outputs, renderers, strict=True):
            write_atomic(path, render(reports).encode())
            log(f"wrote {path}")
        if printer is not None:
            typer.echo(printer(reports), nl=False)
    if printer is None:
        for outcome in outcomes:
            if outcome.report is not None:
                heading = [f"{outcome.device}\n"] if len(on) > 1 else []
                stdout().print(*heading, render_table(outcome.report), sep="")
    devices.tell_failures(outcomes)


def _numbers(text: str, flag: str, *, least: int = 1) -> tuple[int, ...]:
    """Integers with commas between. Raises UsageError that names the flag."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < least:
        kind = "positive integers" if least else "integers from 0 on"
        raise UsageError(f"{flag} takes {kind} with commas between, got {text!r}")
    return numbers


def _seconds(text: str, flag: str) -> float:
    """The seconds of 90, 90s, 5m or 1h. Raises UsageError that names the flag."""
    unit = _UNITS.get(text[-1:], 0)
    try:
        seconds = float(text[:-1] if unit else text) * (unit or 1)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{flag} takes a length of time such as 90s or 5m, got {text!r}")
    return seconds
