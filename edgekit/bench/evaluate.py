"""How often a model is right, so that a report sets latency and size against it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgekit.bench.findings import Accuracy
from edgekit.data import Labelled, load_labelled
from edgekit.errors import DataError, UsageError
from edgekit.packfile.preprocessing import recorded_preprocess
from edgekit.packfile.reader import read_texts
from edgekit.preprocess import Preprocess, make_preprocess
from edgekit.runtime.session import is_packed, read_source
from edgekit.top1 import accuracy

_BATCH = 250


def choose_preprocess(
    paths: Sequence[Path], preprocess: str | None, shape: tuple[int, ...]
) -> Preprocess | None:
    """How pictures become inputs: as named, else as the packed files among the models say.

    shape: of the networks' input. None where nobody says it. Raises DataError for a name that can't
    be used, and UsageError where the files say different things.
    """
    if preprocess is not None:
        return make_preprocess(preprocess, shape)
    chosen: tuple[Path, Preprocess] | None = None
    for path in paths:
        data = read_source(path)
        found = recorded_preprocess(read_texts(data).manifest) if is_packed(data) else None
        if found is None:
            continue
        if chosen is not None and found != chosen[1]:
            raise UsageError(
                f"{chosen[0].name} and {path.name} take pictures in different ways; say with "
                "--preprocess which one, or measure them one by one"
            )
        chosen = chosen or (path, found)
    return None if chosen is None else chosen[1]


def read_labelled(spec: str, pictures: Preprocess | None) -> Labelled:
    """Data with labels. pictures: how they become inputs. Raises DataError."""
    labelled = load_labelled(spec, preprocess=pictures)
    if labelled.labels is None:
        raise DataError(f"{labelled.source} has no labels, so there is no accuracy to measure")
    return labelled


def evaluate(session: ort.InferenceSession, labelled: Labelled, name: str) -> Accuracy:
    """Top-1 accuracy of a network with one input and class scores as its first output.

    name: of the model, for messages. A fixed batch leaves the last incomplete one out.
    Raises UsageError for another kind of network, DataError for inputs that it refuses.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise UsageError(f"accuracy needs a model with one input; {name} has {len(inputs)}")
    (first,) = inputs
    fixed = first.shape[0] if first.shape and isinstance(first.shape[0], int) else None
    size = fixed or _BATCH
    count = len(labelled.inputs) if fixed is None else len(labelled.inputs) // fixed * fixed
    if count == 0 or labelled.labels is None:
        raise DataError(f"{name} takes batches of {size}, {labelled.source} has too few inputs")
    try:
        outputs = [
            session.run(None, {first.name: labelled.inputs[start : min(start + size, count)]})[0]
            for start in range(0, count, size)
        ]
    except Exception as error:
        # onnxruntime's exceptions have no common base of their own.
        reason = " ".join(str(error).split())
        raise DataError(f"{name} refuses the inputs of {labelled.source}: {reason}") from error
    scores = np.concatenate(outputs)
    if len(scores) != count:
        raise UsageError(f"accuracy needs one row of scores an input; {name} gives {len(scores)}")
    return Accuracy(accuracy(scores, labelled.labels[:count]), count, labelled.name, labelled.split)
