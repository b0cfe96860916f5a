"""Simplifies an ONNX graph with onnxsim, in a child process.

onnxsim is native code that can crash or run forever on unusual graphs. Whatever happens there,
the caller keeps its graph and gets a reason.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx

CHILD = Path(__file__).with_name("_simplify_child.py")
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class Simplified:
    """model: the simplified graph, or the original where `failure` says what went wrong."""

    model: onnx.ModelProto
    failure: str | None


def simplify(model: onnx.ModelProto, *, timeout_s: float = TIMEOUT_S) -> Simplified:
    """Fold constants and remove what changes nothing; `model` itself stays as it is.

    The result has the same inputs and outputs, or it is not used.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        source, target = Path(folder, "source.onnx"), Path(folder, "target.onnx")
        source.write_bytes(model.SerializeToString())
        # -P: the script's own folder must not hide modules of the standard library.
        command = [sys.executable, "-P", str(CHILD), str(source), str(target)]
        try:
            done = subprocess.run(  # noqa: S603 - our own script and our own file names
                command, check=False, capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            return Simplified(model, f"onnxsim took longer than {timeout_s:g} s")
        if done.returncode != 0:
            return Simplified(model, f"onnxsim {_ending(done)}")
        try:
            result = onnx.load(target)
            onnx.checker.check_model(result)
        except Exception as error:  # noqa: BLE001 - whatever the child left there, it isn't used
            return Simplified(model, f"onnxsim wrote an invalid model: {_first_line(str(error))}")
    if _interface(result) != _interface(model):
        return Simplified(model, "onnxsim changed the model's inputs or outputs")
    return Simplified(result, None)


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"was ended by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.strip().splitlines()
    return f"failed: {lines[-1]}" if lines else f"failed with exit code {done.returncode}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _interface(model: onnx.ModelProto) -> list[tuple[str, bytes]]:
    """Names and types of inputs and outputs."""
    return [
        (value.name, value.type.SerializeToString(deterministic=True))
        for value in (*model.graph.input, *model.graph.output)
    ]
