"""Open a model as `edgekit.load` does, in steps that are timed apart."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from edgekit.bench.feed import Feed
from edgekit.errors import ModelFileError, UsageError
from edgekit.packfile.activations import RunForm
from edgekit.packfile.reader import read_texts
from edgekit.runtime.forms import chosen_form, restored_as
from edgekit.runtime.session import (
    add_weights,
    is_packed,
    make_session,
    read_source,
    session_options,
)

CPU = "CPUExecutionProvider"
_SUFFIX = "ExecutionProvider"
_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Opened:
    """A session and what it took to get it, in seconds.

    decode_s: reading, checking and decoding a packed file; None for a plain ONNX file, which
    onnxruntime reads itself. session_s: making the session. form: the run form of a packed file.
    """

    session: ort.InferenceSession
    decode_s: float | None
    session_s: float
    form: RunForm | None = None


def open_model(
    path: Path,
    *,
    threads: int,
    spinning: bool = False,
    provider: str = CPU,
    profile: str | None = None,
    run_as: str | None = None,
) -> Opened:
    """Open a packed or plain model.

    profile: path prefix of the file that onnxruntime then writes its profile to. run_as: the form
    of a packed file; None for what it says.
    Raises what `edgekit.load` raises, and ModelFileError where the provider doesn't take part.
    """
    options = _options(threads, spinning=spinning)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    start = time.perf_counter_ns()
    with path.open("rb") as file:
        packed = is_packed(memoryview(file.read(16)))
    if not packed:
        session = make_session(str(path), options, (provider,))
        session_s = (time.perf_counter_ns() - start) * _NS
        _check_provider(session, provider, path)
        return Opened(session, None, session_s)
    texts = read_texts(read_source(path))
    form = chosen_form(texts, run_as)
    model = restored_as(texts, form)
    kept = add_weights(options, model.weights)
    decoded = time.perf_counter_ns()
    session = make_session(model.skeleton, options, (provider,))
    made = time.perf_counter_ns()
    # The session reads some of them in place.
    session.edgekit_weights = kept
    _check_provider(session, provider, path)
    return Opened(session, (decoded - start) * _NS, (made - decoded) * _NS, form)


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


def full_provider_name(text: str) -> str:
    """The execution provider that `text` names, such as cpu or CPUExecutionProvider.

    Raises UsageError that lists what this onnxruntime has.
    """
    available: list[str] = ort.get_available_providers()
    for name in available:
        if text.lower() in {name.lower(), name.removesuffix(_SUFFIX).lower()}:
            return name
    raise UsageError(
        f"this onnxruntime has no provider {text!r}; it has {', '.join(sorted(available))}"
    )


def _options(threads: int, *, spinning: bool) -> ort.SessionOptions:
    if not spinning:
        return session_options(threads)
    # onnxruntime's own default; to set the entry anew would print a warning.
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def _check_provider(session: ort.InferenceSession, provider: str, path: Path) -> None:
    # onnxruntime falls back to the CPU without a word where a provider can't start.
    if provider not in session.get_providers():
        raise ModelFileError(f"{provider} can't be used for {path.name} on this machine")
