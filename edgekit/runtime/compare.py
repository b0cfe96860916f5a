"""The answers of two models beside each other, on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data import Labelled
from edgekit.errors import UsageError
from edgekit.runtime.parity import (
    Difference,
    difference,
    softmax_divergence,
    weight_differences,
)
from edgekit.runtime.side_by_side import (
    Feed,
    Model,
    feeds,
    layer_differences,
    outputs,
    random_feed,
)
from edgekit.top1 import accuracy, agreement

RANDOM_INPUTS = 8
"""Where there are no data."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The packed model's answers in one run form beside the reference's, on the same inputs.

    data, split, source: where the inputs come from. inputs: their number.
    output: difference of the first output. others: of the other floating-point ones. divergence:
    of the first one's softmax in nats, or None where it isn't one row of scores an input.
    not_finite: inputs that give NaN or infinity here and
    finite numbers in the reference. agreement: share of inputs with the same largest output.
    accuracy, reference_accuracy: top-1, or None without labels.
    weights, layers: differences of tensors, and of what each node puts out; of the float form.
    """

    reference: str
    data: str
    split: str
    source: str
    inputs: int
    output: Difference
    others: tuple[Difference, ...]
    divergence: float | None
    not_finite: int
    agreement: float
    accuracy: float | None
    reference_accuracy: float | None
    weights: tuple[Difference, ...]
    layers: tuple[Difference, ...]


def compare(
    reference: Model,
    other: Model,
    names: tuple[str, str],
    labelled: Labelled | None,
    *,
    threads: int | None,
    seed: int,
) -> Answers:
    """Run both models on the same inputs.

    names: of the two, for people. labelled: data; None for 8 random inputs drawn with `seed`.
    threads: of onnxruntime. Raises UsageError for models whose answers differ in shape, and
    DataError for inputs that don't fit.
    """
    if labelled is None:
        batches = random_feed(reference, RANDOM_INPUTS, np.random.default_rng(seed))
    else:
        batches = feeds(reference, labelled.inputs)
    wanted, given = outputs(reference, batches), outputs(other, batches)
    # By place: the forms of one model may name their outputs anew.
    triples = list(zip(given, wanted.values(), given.values(), strict=False))
    _, expected, found = triples[0]
    if expected.shape != found.shape:
        raise UsageError(
            f"{names[0]} answers in shape {expected.shape} and {names[1]} in "
            f"{found.shape}; they aren't forms of one model"
        )
    comparable = [triple for triple in triples[1:] if triple[1].shape == triple[2].shape]
    labels = None if labelled is None or labelled.labels is None else labelled.labels[: len(found)]
    is_scores = expected.ndim == 2 and expected.shape[1] > 1
    return Answers(
        reference=names[0],
        data="random numbers" if labelled is None else labelled.name,
        split=f"seed {seed}" if labelled is None else labelled.split,
        source="" if labelled is None else labelled.source,
        inputs=_count(batches, found),
        output=difference("output", expected, found),
        others=tuple(difference(*triple) for triple in comparable),
        divergence=softmax_divergence(expected, found) if is_scores else None,
        not_finite=_not_finite(
            [(expected, found), *((left, right) for _, left, right in comparable)]
        ),
        agreement=agreement(expected, found),
        accuracy=None if labels is None else accuracy(found, labels),
        reference_accuracy=None if labels is None else accuracy(expected, labels),
        weights=weight_differences(reference.weights, other.weights),
        # The 8-bit graph has no float weights, and other values between its layers.
        layers=layer_differences(reference, other, batches[0], threads) if other.weights else (),
    )


def top_1(model: Model, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """A model's accuracy on labelled inputs (N, ...), labels (N,). Raises DataError."""
    found = next(iter(outputs(model, feeds(model, inputs)).values()))
    return accuracy(found, labels[: len(found)])


def _count(batches: Sequence[Feed], found: NDArray[Any]) -> int:
    """How many inputs were run. Random ones, in one batch, may have it on another axis."""
    if len(batches) == 1:
        return len(found)
    return sum(len(array) for batch in batches for array in batch.values())


def _not_finite(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> int:
    """The most rows of an output that are finite in the first of a pair and not in the second."""
    return max(int(np.sum(_finite_rows(left) & ~_finite_rows(right))) for left, right in pairs)


def _finite_rows(array: NDArray[Any]) -> NDArray[np.bool_]:
    rows: NDArray[np.bool_] = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    return rows
