"""Packed files in each of their run forms: float, int8, or whichever is faster here.

```
packed file ─┬─ float: weights restored ─────────────────→ session
             └─ int8: the codes as they are, 8-bit graph ─→ session
```

Both are made of the same codes (edgekit.packfile.qdq).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgekit.errors import ModelFileError, UsageError
from edgekit.packfile.activations import (
    RunAs,
    RunForm,
    check_run_as,
    read_activations,
    recorded_form,
)
from edgekit.packfile.reader import PackedModel, Restored, Texts, packed_model, read_texts, restore
from edgekit.race import race
from edgekit.runtime.session import (
    Source,
    is_packed,
    make_session,
    read_source,
    restored_session,
    session_options,
)
from edgekit.tensors import CompressedModel, dequantize

_PROBE_S = 0.5
"""What `auto` may spend on runs when a file is opened."""


def load(
    source: Source,
    *,
    run_as: RunAs | None = None,
    threads: int | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    options: ort.SessionOptions | None = None,
) -> ort.InferenceSession:
    """An onnxruntime session from a packed file or an ONNX file, by path or as bytes.

    run_as: "float" restores the weights; "int8" runs the packed codes in 8 bits, where the file
    was compressed for that; "auto" tries both for half a second and keeps the faster; None takes
    what the file says. Of an ONNX file there is one form alone.
    threads: of one operator; None lets onnxruntime take one a core. providers: execution
    providers, best first. options: session options to extend, for anything else; weights are
    added to them, so "auto" doesn't go with them.

    A packed file is checked, its weights are decoded into memory and handed to onnxruntime beside
    the graph; nothing is written to disk. The weights live as long as the session does, because
    onnxruntime reads some of them in place. Idle threads sleep instead of spinning.

    Raises InputError for a source that can't be read, the FormatError of the rule that a packed
    file breaks, UsageError for a form that it doesn't have, and ModelFileError where onnxruntime
    refuses the graph.
    """
    check_run_as(run_as)
    data = read_source(source)
    if not is_packed(data):
        check_plain(run_as)
        settings = session_options(threads) if options is None else options
        # By path where there is one, so that external data beside the model are found.
        plain = os.fspath(source) if isinstance(source, str | os.PathLike) else bytes(data)
        return make_session(plain, settings, providers)
    texts = read_texts(data)
    if run_as == "auto" and read_activations(texts.manifest) is not None:
        if options is not None:
            raise UsageError("run_as='auto' makes two sessions, which can't share options")
        forms: tuple[RunForm, ...] = ("float", "int8")
        return _faster(
            [
                restored_session(
                    restored_as(texts, form, threads=threads), session_options(threads), providers
                )
                for form in forms
            ]
        )
    settings = session_options(threads) if options is None else options
    restored = restored_as(texts, chosen_form(texts, run_as), threads=threads)
    return restored_session(restored, settings, providers)


def chosen_form(texts: Texts, run_as: str | None) -> RunForm:
    """The form to open a file in; "auto" is what the file says, or float without activations."""
    if run_as == "float":
        return "float"
    return "int8" if run_as == "int8" else recorded_form(texts.manifest)


def restored_as(texts: Texts, form: RunForm, *, threads: int | None = None) -> Restored:
    """Graph and weights of one form of a packed file. Raises as `load`."""
    if form == "float":
        return restore(texts, threads=threads or 1)
    model = int8_model(packed_model(texts))
    return Restored(model.skeleton, {tensor.name: dequantize(tensor) for tensor in model.tensors})


def int8_model(packed: PackedModel) -> CompressedModel:
    """The int8 run form of a packed file. Raises UsageError where it has none."""
    try:
        # It is heavy, and a float session needs none of it.
        from edgekit.packfile import qdq
    except ModuleNotFoundError as error:
        # A device may have onnxruntime alone.
        raise UsageError(
            f"the int8 form is made with onnx, and {error.name} isn't installed here; install it, "
            "or run the file as float"
        ) from error
    return qdq.int8_model(packed)


def check_plain(run_as: RunAs | None) -> None:
    """Raise UsageError where an ONNX file is asked for another form than its own."""
    if run_as == "int8":
        raise UsageError("an ONNX file runs as it is; only packed files have an int8 form")


def _faster(sessions: list[ort.InferenceSession]) -> ort.InferenceSession:
    """The session that answers one input of zeros in the least time."""
    feed = {}
    for value in sessions[0].get_inputs():
        if value.type != "tensor(float)":
            return sessions[0]
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in value.shape]
        feed[value.name] = np.zeros(shape, np.float32)
    runners = [partial(_run, session, feed) for session in sessions]
    try:
        # Sessions of several threads work in others than this one.
        times = race(runners, budget_s=_PROBE_S, clock=time.perf_counter)
    except ModelFileError:
        # An open size that can't be 1: nothing was measured.
        return sessions[0]
    return sessions[int(np.argmin(times))]


def _run(session: ort.InferenceSession, feed: Mapping[str, NDArray[np.float32]]) -> None:
    try:
        session.run(None, feed)
    except Exception as error:
        # onnxruntime's exceptions have no common base of their own.
        raise ModelFileError(f"the model can't be run on zeros: {error}") from error
