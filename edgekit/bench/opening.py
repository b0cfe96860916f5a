"""Open a model as `edgekit.load` does, in steps that are timed apart."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from edgekit.bench.feed import Feed
from edgekit.errors import ModelFileError
from edgekit.packfile import open_packfile
from edgekit.packfile.layout import Type
from edgekit.runtime.session import (
    add_weights,
    is_packed,
    make_session,
    read_source,
    session_options,
)

PROVIDERS = ("CPUExecutionProvider",)
_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Opened:
    """A session and what it took to get it, in seconds.

    decode_s: reading, checking and decoding a packed file; None for a plain ONNX file, which
    onnxruntime reads itself. session_s: making the session.
    """

    session: ort.InferenceSession
    decode_s: float | None
    session_s: float


def open_model(path: Path, *, threads: int, profile: str | None = None) -> Opened:
    """Open a packed or plain model.

    profile: path prefix of the file that onnxruntime then writes its profile to.
    Raises what `edgekit.load` raises.
    """
    options = session_options(threads)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    start = time.perf_counter_ns()
    with path.open("rb") as file:
        packed = is_packed(memoryview(file.read(16)))
    if not packed:
        session = make_session(str(path), options, PROVIDERS)
        return Opened(session, None, (time.perf_counter_ns() - start) * _NS)
    model = open_packfile(read_source(path))
    bfloat16 = {
        name
        for name, record in zip(model.names, model.records, strict=True)
        if record.restored is Type.BFLOAT16
    }
    kept = add_weights(options, model.weights(), bfloat16)
    decoded = time.perf_counter_ns()
    session = make_session(model.skeleton, options, PROVIDERS)
    # The session reads some of them in place.
    session.edgekit_weights = kept
    return Opened(session, (decoded - start) * _NS, (time.perf_counter_ns() - decoded) * _NS)


def run_once(session: ort.InferenceSession, feed: Feed, name: str) -> float:
    """Seconds of one run. Raises ModelFileError with onnxruntime's reason in one line."""
    try:
        start = time.perf_counter_ns()
        session.run(None, feed)
        return (time.perf_counter_ns() - start) * _NS
    except Exception as error:
        # onnxruntime's exceptions have no common base of their own.
        reason = " ".join(str(error).split())
        raise ModelFileError(f"onnxruntime can't run {name}: {reason}") from error
