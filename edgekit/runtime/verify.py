"""Checks of a packed file: that it is sound, and how far its answers are from the original's."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.codec import native
from edgekit.compress.samples import Data, Samples
from edgekit.data import Labelled, load_labelled
from edgekit.errors import CorruptError, UsageError
from edgekit.graph.inputs import sample_inputs
from edgekit.packfile import open_packfile
from edgekit.packfile.activations import RunForm, recorded_form
from edgekit.packfile.pictures import packed_preprocess
from edgekit.runtime.blame import Blame, blame_layers
from edgekit.runtime.compare import RANDOM_INPUTS, Answers, compare, top_1
from edgekit.runtime.side_by_side import Feed, Model, open_int8, open_model, random_feed
from edgekit.tensors import CodedTensor

_COMPARED_WEIGHTS = 1 << 22
"""That two decoders restore. numpy takes seconds for so many, and a small file may hold more."""
_BLAME_INPUTS = 500
_MOST_PICTURES = 2000
"""Of a folder, so that 1.2 GB hold them at 224x224."""


@dataclass(frozen=True, slots=True)
class Integrity:
    """What was checked of the file alone.

    sha256: of the file, as sha256sum prints it. decoders: those that restored tensors to the same
    bits. compared: weights that all decoders restored; where there are two, the slower one stops at
    some millions, and the faster one alone restored the others.
    """

    file_bytes: int
    sha256: str
    tensors: int
    weights: int
    decoders: tuple[str, ...]
    compared: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Integrity, answers where there is a reference, accuracy alone where there are data alone.

    form: the run form that the file says. int8_answers, int8_accuracy: of its int8 form, None
    where it has none; answers and accuracy are those of the float form. blame: which layers cost
    most, where it was asked for. failures: one line for each wanted bound that isn't met.
    """

    path: str
    integrity: Integrity
    answers: Answers | None
    accuracy: float | None
    form: RunForm
    int8_answers: Answers | None
    int8_accuracy: float | None
    data: str | None
    blame: Blame | None
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, which has no NaN and no infinity: None stands for them."""
        return asdict(self, dict_factory=_json_values)


def verify(
    packed: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    preprocess: str | os.PathLike[str] | None = None,
    layers: bool = False,
    threads: int | None = None,
    seed: int = 0,
    min_agreement: float | None = None,
    max_drop: float | None = None,
    max_difference: float | None = None,
) -> VerifyReport:
    """Check a packed file, and compare its answers with those of another model.

    packed: the packed file. against: the original ONNX file, or another packed one. data: a name
    or path that edgekit.data.load_labelled takes; without it, 8 inputs of normal numbers are drawn
    with `seed`. preprocess: how pictures become inputs, where the packed file doesn't say it.
    layers: also restore the worst layers one by one.
    min_agreement: least share of equal top-1 answers. max_drop: most points of top-1
    accuracy that may be lost. max_difference: largest difference that the first output may have.

    A file with both run forms is checked in both; bounds are for the one that it says.

    Bounds that aren't met are listed in the report's `failures`; nothing is raised for them.
    Answers that aren't finite where the reference's are fail without any bound.
    Raises the FormatError of a rule that the file breaks, InputError, DataError, and UsageError
    for a bound without what it needs.
    """
    if against is None and {min_agreement, max_drop, max_difference} != {None}:
        raise UsageError(
            "a bound on agreement, drop or difference needs a model to compare with: --against"
        )
    if layers and against is None:
        raise UsageError("finding the layer that broke needs the original model: --against")
    integrity = check_integrity(packed)
    labelled = None
    if data is not None:
        pictures = packed_preprocess(open_packfile(packed), preprocess)
        labelled = load_labelled(data, preprocess=pictures, most=_MOST_PICTURES)
    if max_drop is not None and (labelled is None or labelled.labels is None):
        raise UsageError("a bound on the drop of accuracy needs data with labels: --data")
    answers = blame = alone = int8_answers = int8_alone = None
    form, int8 = recorded_form(open_packfile(packed).manifest), open_int8(packed, threads)
    if against is not None:
        reference, other = open_model(against, threads), open_model(packed, threads)
        names = (os.fspath(against), os.fspath(packed))
        answers = compare(reference, other, names, labelled, threads=threads, seed=seed)
        if int8 is not None:
            int8_answers = compare(reference, int8, names, labelled, threads=threads, seed=seed)
        if layers:
            blame = _blame(reference, other, labelled, answers, coded=_coded(packed), seed=seed)
    elif labelled is not None and labelled.labels is not None:
        alone = top_1(open_model(packed, threads), labelled.inputs, labelled.labels)
        if int8 is not None:
            int8_alone = top_1(int8, labelled.inputs, labelled.labels)
    return VerifyReport(
        os.fspath(packed),
        integrity,
        answers,
        alone,
        form,
        int8_answers,
        int8_alone,
        None if labelled is None else f"{labelled.name} {labelled.split}, {labelled.source}",
        blame,
        _failures(
            int8_answers if form == "int8" else answers, min_agreement, max_drop, max_difference
        ),
    )


def check_integrity(packed: str | os.PathLike[str]) -> Integrity:
    """Check every rule of docs/format.md, and that all decoders here restore the same bits."""
    model = open_packfile(packed)
    sizes = [record.elements for record in model.records]
    compiled = model.weights(decoder="native") if native.available else None
    chosen = range(len(sizes)) if compiled is None else _first_of(sizes, _COMPARED_WEIGHTS)
    for name, array in model.numpy_weights(chosen):
        if compiled is not None and array.tobytes() != compiled[name].tobytes():
            raise CorruptError(f"the native and the numpy decoder disagree about {name}")
    return Integrity(
        len(model.data),
        hashlib.sha256(model.data).hexdigest(),
        len(model.records),
        sum(sizes),
        ("numpy",) if compiled is None else ("numpy", "native"),
        sum(sizes[index] for index in chosen),
    )


def _first_of(sizes: Sequence[int], most: int) -> Sequence[int]:
    """Indices of the tensors in order that `most` elements have room for, larger ones left out."""
    chosen = []
    for index, size in enumerate(sizes):
        if size <= most:
            chosen.append(index)
            most -= size
    return chosen


def _coded(packed: str | os.PathLike[str]) -> dict[str, CodedTensor]:
    tensors = open_packfile(packed).model().tensors
    return {tensor.name: tensor for tensor in tensors if isinstance(tensor, CodedTensor)}


def _blame(
    reference: Model,
    other: Model,
    labelled: Labelled | None,
    answers: Answers,
    *,
    coded: Mapping[str, CodedTensor],
    seed: int,
) -> Blame:
    if labelled is not None:
        inputs: Data = labelled.inputs[:_BLAME_INPUTS]
        labels = labelled.labels
    else:
        rng = np.random.default_rng(seed)
        (feed,) = random_feed(reference, RANDOM_INPUTS, rng)
        inputs, labels = _samples(reference, feed), None
    return blame_layers(reference, other, inputs, labels, outputs=answers.layers, coded=coded)


def _samples(model: Model, feed: Feed) -> Data:
    """A feed as samples; an array alone where the model has one input."""
    if len(feed) == 1:
        return next(iter(feed.values()))
    names = sample_inputs(model.proto)[0]
    rows = {name: feed[name] for name in names}
    return Samples(rows, {name: array for name, array in feed.items() if name not in rows})


def _json_values(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in items
    }


def _failures(
    answers: Answers | None,
    min_agreement: float | None,
    max_drop: float | None,
    max_difference: float | None,
) -> tuple[str, ...]:
    failures = []
    if answers is None:
        return ()
    if answers.not_finite:
        failures.append(
            f"{answers.not_finite} of {answers.inputs} answers hold NaN or infinity where "
            "the reference's are finite"
        )
    # Written so that a difference of NaN fails too.
    for output in (answers.output, *answers.others):
        if max_difference is not None and not output.largest <= max_difference:
            name = "the output" if output is answers.output else f"the output {output.name}"
            failures.append(
                f"{name} differs by {output.largest:.4g} on {answers.inputs} inputs, "
                f"more than {max_difference:g}"
            )
    if min_agreement is not None and answers.agreement < min_agreement:
        failures.append(
            f"top-1 agreement {answers.agreement:.4f} on {answers.inputs} inputs is below "
            f"{min_agreement:g}"
        )
    if max_drop is not None and None not in {answers.accuracy, answers.reference_accuracy}:
        drop = 100 * ((answers.reference_accuracy or 0) - (answers.accuracy or 0))
        # Shares of whole inputs: a drop of exactly the bound is within it.
        if drop > max_drop + 1e-9:
            failures.append(
                f"accuracy falls by {drop:.2f} points on {answers.inputs} inputs, more than "
                f"{max_drop:g}"
            )
    return tuple(failures)
