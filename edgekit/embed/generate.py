"""Writing a buildable app folder around a packed file."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from edgekit.embed import c, cpp, python, web
from edgekit.embed.app import App, EmbeddedTensor, OutputType, make_app, read_labels
from edgekit.errors import DataError, OutputError, UsageError
from edgekit.files import check_apart, write_atomic
from edgekit.packfile import PackedModel, open_packfile, pack
from edgekit.packfile.activations import RunForm, recorded_form
from edgekit.packfile.layout import Coder
from edgekit.packfile.pictures import first_input_shape, output_shape, packed_preprocess
from edgekit.packfile.qdq import int8_model
from edgekit.packfile.writer import CoderName
from edgekit.preprocess import default_preprocess

TARGETS = {"c": c.files, "cpp": cpp.files, "python": python.files, "web": web.files}
"""Kinds of app, each with the function that makes its files."""

ALL = "*"
_RESERVED = frozenset({"app", "check", "classify", "clean", "index", "main", "worker"})
_PREFIX = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """An app folder.

    packed_bytes: of the packed file in the app. run_form: what the app runs; None for a C app.
    files: names of what was written and their bytes. buffer_bytes: of the buffer that holds each
    tensor in its turn. decoded_bytes: of all tensors together.
    """

    output: str
    target: str
    packed_bytes: int
    buffer_bytes: int
    decoded_bytes: int
    tensors: tuple[EmbeddedTensor, ...]
    files: tuple[tuple[str, int], ...]
    run_form: RunForm | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def embed(
    packed: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    target: str = "c",
    prefix: str = "model",
    tensors: str = ALL,
    output_type: OutputType = OutputType.RESTORED,
    static_buffer: int | None = None,
    preprocess: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    run_as: RunForm | None = None,
) -> EmbedReport:
    """Write an app folder that carries a packed file and decodes it.

    packed: the packed file. output: the folder, made if it isn't there; files of the same names
    in it are replaced. target: a key of TARGETS. prefix: begins the names of files and C symbols.
    tensors, output_type, static_buffer: of the target "c": a pattern of names, what they are
    decoded to, and bytes of the buffer (edgekit.embed.app.make_app).
    preprocess: how a picture becomes an input, as edgekit.preprocess.make_preprocess takes it; by
    default what the packed file says, or pixels to 0..1. labels: a text file with a class's name a
    line, or `fashion-mnist`. run_as: the form that an app with a runtime runs, "float" or "int8";
    None for what the file says. An int8 app carries a packed file of its own, whose graph has the
    8-bit nodes inside. A C app decodes tensors and runs nothing: it takes the file as it is.

    Raises the FormatError of a broken packed file, UsageError for an unknown target or a prefix
    that isn't a C name in lower case, DataError for settings or labels that can't be used, and
    OutputError.
    """
    if target not in TARGETS:
        raise UsageError(f"no target {target!r}; known: {', '.join(TARGETS)}")
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(f"the prefix {prefix!r} isn't a C name in lower case, such as 'model'")
    if prefix in _RESERVED or prefix.startswith(("edgekit", "ekd")):
        raise UsageError(f"apps use themselves the name {prefix!r}; choose another prefix")
    chosen = (tensors, output_type, static_buffer)
    if target != "c" and chosen != (ALL, OutputType.RESTORED, None):
        raise UsageError(
            f"the target {target} decodes every tensor for its runtime; --tensors, --output-type "
            "and --static-buffer go with --to c"
        )
    model = open_packfile(packed)
    given = model.data
    form = _run_form(model, target, run_as)
    if form == "int8":
        model = open_packfile(pack(int8_model(model), coder=_coder(model)))
    # Decoding shows that every chunk is sound before an app is built on it.
    model.weights()
    app = make_app(
        model,
        prefix,
        pattern=tensors,
        output_type=output_type,
        static_buffer=static_buffer,
        preprocess=packed_preprocess(model, preprocess)
        or default_preprocess(first_input_shape(model)),
        labels=() if labels is None else read_labels(labels),
    )
    _check_labels(app)
    contents = TARGETS[target](app)
    folder = Path(output)
    # An app's own copy of the file may be made again from itself.
    check_apart([folder / name for name, data in contents.items() if data != given], [packed])
    for name in contents:
        if (folder / name).is_dir():
            raise OutputError(f"can't write {folder / name}: a folder is in its place")
    try:
        folder.mkdir(exist_ok=True)
        for name in contents:
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
    except OSError as error:
        raise OutputError(f"can't make the folder {folder}: {error.strerror or error}") from error
    for name, data in contents.items():
        write_atomic(folder / name, data)
    return EmbedReport(
        os.fspath(output),
        target,
        len(app.data),
        app.buffer_bytes,
        app.decoded_bytes,
        app.tensors,
        tuple((name, len(data)) for name, data in contents.items()),
        form,
    )


def _run_form(model: PackedModel, target: str, run_as: str | None) -> RunForm | None:
    """The form that an app runs; None for one that runs nothing."""
    if run_as not in {None, *get_args(RunForm)}:
        raise UsageError(f"run_as must be {' or '.join(get_args(RunForm))}, got {run_as!r}")
    if target == "c":
        if run_as is not None:
            raise UsageError(
                "a C app decodes tensors and runs no graph, so it has no run form; --output-type "
                "int8 gives it the codes"
            )
        return None
    if run_as is None:
        return recorded_form(model.manifest)
    return "int8" if run_as == "int8" else "float"


def _coder(model: PackedModel) -> CoderName:
    """What a file is coded with."""
    return "rans" if any(record.coder is Coder.RANS for record in model.records) else "huffman"


def _check_labels(app: App) -> None:
    """Raises DataError where the model's scores are known to be more or fewer than the labels."""
    classes = output_shape(app.packed)[-1:]
    if app.labels and classes and classes[0] not in {0, len(app.labels)}:
        raise DataError(
            f"{len(app.labels)} labels for {classes[0]} scores; give one name a class, in order"
        )
