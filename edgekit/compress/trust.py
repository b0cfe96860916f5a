"""Whether a compressed model still answers like the original, or answers anything at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compress.answers import Answers, total_divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.goal import CalibrationInputs, noise_inputs
from edgekit.errors import CheckFailedError, DataError, ModelFileError
from edgekit.graph import Graph
from edgekit.tensors import CompressedModel, dequantize
from edgekit.top1 import agreement

_LEAST_AGREEMENT = 0.9
_MOST_LOST = 0.6
"""Of what the original's answers tell: that is how far the best answer that is the same for all
inputs is from them."""
_LEAST_SAID = 0.1
"""Nats that the original's answers must tell of its inputs, or there is nothing to compare:
networks that were never trained tell less, trained ones more."""
_NOISE_SEED = 1
"""Not that of calibration: noise that a model was calibrated on is no judge of it."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What a compressed model's answers say of the original's.

    divergence: of the answers, in nats. constant: the divergence of the best answer that is the
    same for all inputs. agreement: share of inputs with the same largest output. inputs: their
    number.
    """

    divergence: float
    constant: float
    agreement: float
    inputs: int

    @property
    def is_lost(self) -> bool:
        """Whether most of what the answers told is gone, and largest outputs have changed.

        Both are asked for: an answer far off may still name the right class. Where the original
        says nearly the same of every input, nothing is lost that could be measured.
        """
        return (
            self.constant >= _LEAST_SAID
            and not self.divergence <= _MOST_LOST * self.constant
            and self.agreement < _LEAST_AGREEMENT
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "divergence": round(self.divergence, 6),
            "constant": round(self.constant, 6),
            "agreement": round(self.agreement, 6),
            "inputs": self.inputs,
        }


UNMEASURED: dict[str, Any] = {"original": Trust(1.234567, 2.345678, 0.987654, 1024).to_dict()}
"""What a manifest will note at the most, for the size of a file that is yet to be measured."""


def trusted(
    original: Graph,
    graph: Graph,
    model: CompressedModel,
    inputs: CalibrationInputs | None,
    what: str | None,
) -> dict[str, Any]:
    """What a manifest notes of how a pruned model's answers compare with the original's.

    graph: that `model` is the compressed form of. inputs: calibration inputs, of which a fifth is
    compared on; fresh 1/f noise takes the place of noise and of None. what: was done, in words;
    None to refuse nothing. Returns nothing for a model that can't be asked with one array of
    floats. Raises CheckFailedError.
    """
    try:
        if inputs is None or inputs.is_noise:
            data = noise_inputs(original, _NOISE_SEED)
            some = data.inputs
        else:
            data, some = inputs, inputs.inputs[::5]
        expected = Probe(original, some).answers()
        weights = {tensor.name: dequantize(tensor) for tensor in model.tensors}
        trust = measure_trust(expected, Probe(graph, some).answers(weights))
    except (DataError, ModelFileError):
        return {}
    if what is not None and trust.is_lost:
        give = "give --calibration, " if data.is_noise else ""
        raise CheckFailedError(
            f"{what}, the model no longer answers like the original: same top-1 on "
            f"{trust.agreement:.0%} of {trust.inputs} inputs ({data.origin}), "
            f"{trust.divergence:.2f} nats apart where one answer for all would be "
            f"{trust.constant:.2f}; remove less, {give}retrain with edgekit finetune, or write it "
            "all the same with --force"
        )
    return {"original": trust.to_dict()}


def measure_trust(reference: Answers, answers: Answers) -> Trust:
    """Compare the answers of a compressed model with those of the original.

    The largest outputs are those of the first (N, ...). Raises DataError for answers that can't be
    compared.
    """
    return Trust(
        total_divergence(reference, answers),
        total_divergence(reference, tuple(map(constant_answer, reference))),
        agreement(reference[0], answers[0]),
        len(reference[0]),
    )


def constant_answer(reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one answer with the least divergence from all of `reference`, in its shape.

    For scores of classes it is the mean of the probabilities, as logarithms; else the mean.
    """
    if reference.ndim == 2 and reference.shape[1] > 1:
        scores = reference.astype(np.float64)
        if scores.min() < 0 or not np.allclose(scores.sum(axis=1), 1, atol=1e-3):
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
            best = np.log(np.maximum(scores.mean(axis=0), 1e-300))
        else:
            best = scores.mean(axis=0)
    else:
        best = reference.mean(axis=0, dtype=np.float64)
    return np.broadcast_to(best.astype(np.float32), reference.shape)
