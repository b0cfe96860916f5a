"""onnxruntime sessions from packed and plain models, without writing a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgekit.errors import InputError, ModelFileError, UsageError
from edgekit.packfile import layout
from edgekit.packfile.reader import Restored, read_restored

Source = str | os.PathLike[str] | bytes | bytearray | memoryview

MOST_THREADS = 256
"""A larger number is a slip that would take a machine's last thread."""
_BFLOAT16 = 16
"""ONNX's number of that type, which numpy doesn't have."""


def load(
    source: Source,
    *,
    threads: int | None = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    options: ort.SessionOptions | None = None,
) -> ort.InferenceSession:
    """An onnxruntime session from a packed file or an ONNX file, by path or as bytes.

    threads: of one operator; None lets onnxruntime take one a core. providers: execution
    providers, best first. options: session options to extend, for anything else; weights are
    added to them.

    A packed file is checked, its weights are decoded into memory and handed to onnxruntime beside
    the graph; nothing is written to disk. The weights live as long as the session does, because
    onnxruntime reads some of them in place. Idle threads sleep instead of spinning.

    Raises InputError for a source that can't be read, the FormatError of the rule that a packed
    file breaks, and ModelFileError where onnxruntime refuses the graph.
    """
    settings = session_options(threads) if options is None else options
    data = read_source(source)
    if not is_packed(data):
        # By path where there is one, so that external data beside the model are found.
        plain = os.fspath(source) if isinstance(source, str | os.PathLike) else bytes(data)
        return make_session(plain, settings, providers)
    return restored_session(read_restored(data, threads=threads or 1), settings, providers)


def restored_session(
    packed: Restored, options: ort.SessionOptions, providers: Sequence[str]
) -> ort.InferenceSession:
    """A session from a graph and its weights. Raises ModelFileError."""
    kept = add_weights(options, packed.weights)
    session = make_session(packed.skeleton, options, providers)
    # Freed weights would be read all the same, and give wrong answers without an error.
    session.edgekit_weights = kept
    return session


def session_options(threads: int | None) -> ort.SessionOptions:
    """Options as `load` sets them: this many threads an operator, no spinning, errors only.

    Raises UsageError for fewer than 1 or more than MOST_THREADS threads.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"threads must be 1 to {MOST_THREADS}, got {threads}")
    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def add_weights(options: ort.SessionOptions, weights: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Give weights to a session by name; uint16 holds the patterns of bfloat16.

    The values returned must live as long as the session that is made with these options.
    """
    values = [
        ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
        if array.dtype == np.uint16
        else ort.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
        for array in weights.values()
    ]
    options.add_external_initializers(list(weights), values)
    # A hostile graph may name a file where it should leave a weight to us (docs/format.md, 2.3);
    # onnxruntime would look for it from the working directory on.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    return values


def make_session(
    model: str | bytes, options: ort.SessionOptions, providers: Sequence[str]
) -> ort.InferenceSession:
    """An onnxruntime session. Raises ModelFileError with onnxruntime's reason in one line."""
    try:
        return ort.InferenceSession(model, options, providers=list(providers))
    except Exception as error:
        # onnxruntime's exceptions have no common base of their own.
        name = model if isinstance(model, str) else "this model"
        raise ModelFileError(
            f"onnxruntime can't load {name}: {' '.join(str(error).split())}"
        ) from (error)


def read_source(source: Source) -> memoryview:
    """The bytes of a model. Raises InputError."""
    if isinstance(source, bytes | bytearray | memoryview):
        return memoryview(source).cast("B").toreadonly()
    try:
        return memoryview(Path(source).read_bytes())
    except OSError as error:
        raise InputError(f"can't read {os.fspath(source)}: {error.strerror or error}") from error


def is_packed(data: memoryview) -> bool:
    """Whether bytes begin like a packed file, even one that was damaged in a text-mode transfer."""
    return bytes(data[:4]) == layout.MAGIC[:4]
