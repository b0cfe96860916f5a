"""Where a benchmark runs: here, or on devices; flags, and how failures are told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.common import log
from edgekit.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from edgekit.bench.remote.run import DeviceOutcome

DeviceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--device", help="Measure on this machine over ssh, such as ssh://pi@board; repeatable."
    ),
]
DevicePythonOption = Annotated[
    str | None,
    typer.Option(help="The devices' Python with numpy and onnxruntime; python3 by default."),
]
SshConfigOption = Annotated[
    Path | None, typer.Option(help="A configuration file for ssh in place of your own.")
]


def check_flags(
    devices: Sequence[str], python: str | None, ssh_config: Path | None, suffixes: Sequence[str]
) -> None:
    """Raises UsageError for flags that need devices, and for several devices in one JSON file."""
    if not devices and (python is not None or ssh_config is not None):
        raise UsageError("--device-python and --ssh-config go with --device; add it")
    if len(devices) > 1 and ".json" in suffixes:
        raise UsageError(
            "JSON holds the report of one device; several go into a table, .html, .md or .csv"
        )


def measure(
    devices: Sequence[str],
    paths: Sequence[Path],
    python: str | None,
    ssh_config: Path | None,
    **settings: Any,
) -> tuple[DeviceOutcome, ...]:
    """Measure on all devices at the same time, or here where there is none.

    Here an error is raised; of devices it is part of the outcome. Progress goes to stderr.
    """
    if devices:
        from edgekit.bench.remote.run import bench_on_all

        return bench_on_all(
            devices, paths, python=python or "python3", ssh_config=ssh_config, say=log, **settings
        )
    from edgekit.bench.measure import bench
    from edgekit.bench.remote.run import DeviceOutcome

    say = log if sys.stderr.isatty() else None
    return (DeviceOutcome("", bench(paths, say=say, **settings), None),)


def tell_failures(outcomes: Sequence[DeviceOutcome]) -> None:
    """Raise the error of an only device; of several, log each and raise DeviceError."""
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if not failed:
        return
    if len(outcomes) == 1:
        raise failed[0]
    for error in failed:
        log(f"edgekit: error: {error}")
    raise DeviceError(f"{len(failed)} of {len(outcomes)} devices failed")
