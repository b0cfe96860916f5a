"""The int8 run form of a compressed model: its grids, the layers that stay float, and its speed.

```
values ─→ histograms ─┬─ share cut off, by divergence ─→ layers left float ─→ float or int8
                      └─ every candidate is run as a whole: answers, and time on this machine
```

Times of single layers don't add up, because layouts and number formats change at every border
between float and int8. So whole graphs are compared.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.compress.activations import Histogram, Values, find_values, measure_values, place_grids
from edgekit.compress.answers import Answers, total_divergence
from edgekit.compress.calibrate import Probe
from edgekit.compress.samples import Data
from edgekit.errors import UsageError
from edgekit.graph import Graph, Role, Weight
from edgekit.packfile.activations import Activations, RunAs, RunForm, record
from edgekit.packfile.int8_layers import int8_layers
from edgekit.packfile.qdq import as_int8, check_opset
from edgekit.race import race
from edgekit.tensors import CompressedModel, dequantize
from edgekit.top1 import agreement

SHARES = (0.0, 1e-5, 1e-4, 3e-4, 1e-3)
"""Of a value's numbers that may be cut off at either end, one of which is chosen for all."""

_FIRST_LAYERS = 6
"""How many of the first layers are tried in float: they see few channels and large pictures, where
8-bit kernels gain least and rounding hurts most."""

_WORTH = 0.15
"""Another layer stays float if that alone wins back this share of what 8 bits cost."""
_MOST_BLAMED = 4
_SCREENED = 10
_JUDGED = 100
_HARMLESS = 0.002
"""Nats that 8-bit activations may cost before single layers are looked at."""

_NATS = 5.0
"""What a candidate's divergence weighs: 0.01 nats as much as 5 % of the time."""
_SLACK = 64
_FASTER = 0.98
"""Share of float's time that int8 must stay below to be called faster."""


@dataclass(frozen=True, slots=True)
class RunFormReport:
    """What was found about running the model in 8 bits.

    form: what the file says. layers, floats: how many layers could run in 8 bits, and which of
    them stay float. cut: share of an activation's numbers beyond either end of its grid.
    divergence, agreement: of the int8 form on inputs that were held back; float_divergence: of the
    float form on the same; None where no layer can run in 8 bits. inputs: their number. speed:
    float's time over int8's here, on one thread; None where it wasn't measured. note: one line for
    people, or "".
    """

    form: RunForm
    layers: int
    floats: tuple[str, ...]
    cut: float
    divergence: float | None
    agreement: float | None
    float_divergence: float | None
    inputs: int
    speed: float | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A set of layers left float, its grids, its model, and how far its answers are off."""

    floats: tuple[str, ...]
    activations: Activations
    probe: Probe
    divergence: float


def choose_run_form(
    graph: Graph,
    model: CompressedModel,
    inputs: Data,
    run_as: RunAs,
    floats: Sequence[str] | None = None,
) -> RunFormReport:
    """Calibrate the int8 form of a model and write it into the model's manifest.

    graph: the original, whose answers are the reference. inputs: of calibration; a fifth of them
    judges. run_as: the form that the file is to say; "auto" is the faster one on this machine.
    floats: layers that stay float in the int8 form; None looks for them, by their divergence and by
    time on this machine.

    Raises UsageError for a model without a layer that can run in 8 bits, or whose opset has none;
    with "auto" its form is float, and the report says why.
    """
    try:
        names = _able(graph, model)
    except UsageError as error:
        if run_as != "auto":
            raise
        return not_run_as_int8(str(error))
    unknown = sorted(set(floats or ()) - set(names))
    if unknown:
        raise UsageError(f"{unknown[0]} isn't a layer that could run in 8 bits")
    search = _Search(graph, model, inputs)
    best = search.cut(tuple(floats)) if floats is not None else search.best(names)
    form: RunForm = "int8" if run_as == "int8" else "float"
    speed = None
    if floats is None:
        float_s, int8_s = race([search.float_form.runner(), best.probe.runner()])
        speed = float_s / int8_s
        if run_as == "auto" and int8_s < _FASTER * float_s:
            form = "int8"
    record(model.manifest, best.activations, form)
    held_back = inputs[::5]
    expected = search.original.answers(inputs=held_back)
    answers = best.probe.answers(inputs=held_back)
    return RunFormReport(
        form,
        len(names),
        best.floats,
        search.share,
        total_divergence(expected, answers),
        agreement(expected[0], answers[0]),
        total_divergence(expected, search.float_form.answers(inputs=held_back)),
        sum(map(len, best.probe.batches(held_back))),
        speed,
        _note(run_as, form, speed),
    )


def not_run_as_int8(why: str) -> RunFormReport:
    """The report of a model that has no int8 form."""
    return RunFormReport("float", 0, (), 0.0, None, None, None, 0, None, why)


def _able(graph: Graph, model: CompressedModel) -> list[str]:
    """The layers that can run in 8 bits. Raises UsageError where there is none."""
    check_opset(graph.empty_model())
    names = [layer.weight.name for layer in int8_layers(model)]
    if not names:
        raise UsageError(
            "no layer of this model can run in 8 bits: that takes convolutions or matrix products "
            "with int8 codes on a uniform grid (not codebooks), each with weights of its own"
        )
    return names


class _Search:
    def __init__(self, graph: Graph, model: CompressedModel, inputs: Data) -> None:
        """Histograms of all inputs but a fifth, and the reference's answers.

        Candidates are judged on all inputs: with a fifth of few, noise would choose.
        """
        self.model = model
        self.inputs = inputs[:: -(-len(inputs) // _JUDGED)]
        self.original = Probe(graph, self.inputs)
        self._reference: dict[int, Answers] = {}
        # A batch of a fixed size has to be full.
        self._few = max(_SCREENED, len(next(self.original.batches(self.inputs))))
        self.float_form = Probe(graph_of(model), self.inputs, threads=1)
        others = inputs[np.arange(len(inputs)) % 5 != 0] if len(inputs) > 1 else inputs
        self._values: dict[tuple[str, ...], Values] = {}
        values = self._values[()] = find_values(model)
        self.histograms: dict[str, Histogram] = measure_values(
            Probe(graph_of(model), others), list(values.sources)
        )
        self.share = 0.0

    def cut(self, floats: tuple[str, ...]) -> _Candidate:
        """Choose the share of the values' numbers to cut off: the one with the best answers."""
        found = []
        for share in SHARES:
            self.share = share
            found.append(self.candidate(floats))
        best = int(np.argmin([candidate.divergence for candidate in found]))
        self.share = SHARES[best]
        return found[best]

    def candidate(self, floats: tuple[str, ...], most: int | None = None) -> _Candidate:
        """The int8 form with these layers left float, judged on at most this many inputs."""
        if floats not in self._values:
            self._values[floats] = find_values(self.model, floats)
        activations = place_grids(self._values[floats], self.histograms, self.share, floats)
        probe = Probe(graph_of(as_int8(self.model, activations)), self.inputs, threads=1)
        return _Candidate(floats, activations, probe, self._off(probe, most))

    def _off(self, probe: Probe, most: int | None = None) -> float:
        """How far a form's answers are from the original's, on at most this many inputs."""
        some = self.inputs[:most]
        if len(some) not in self._reference:
            self._reference[len(some)] = self.original.answers(inputs=some)
        return total_divergence(self._reference[len(some)], probe.answers(inputs=some))

    def best(self, names: Sequence[str]) -> _Candidate:
        """The candidate whose time and divergence together are least."""
        self.cut(())
        most = min(_FIRST_LAYERS, len(names) - 1)
        tried = [self.candidate(tuple(names[:count])) for count in range(most + 1)]
        chosen = _least(tried)
        blamed = self._blamed(chosen, names)
        if blamed:
            chosen = _least([chosen, self.candidate((*chosen.floats, *blamed))])
        return self.cut(chosen.floats)

    def _blamed(self, chosen: _Candidate, names: Sequence[str]) -> list[str]:
        """Layers that alone win back a large share of what 8-bit activations cost."""
        least = self._off(self.float_form, self._few)
        base = self._off(chosen.probe, self._few)
        left = [name for name in names if name not in chosen.floats]
        if base - least < _HARMLESS or len(left) < 2:
            return []
        won = {
            name: base - self.candidate((*chosen.floats, name), self._few).divergence
            for name in left
        }
        worth = [name for name in left if won[name] >= _WORTH * (base - least)]
        return sorted(worth, key=lambda name: -won[name])[:_MOST_BLAMED]


def reserved_bytes(model: CompressedModel) -> int:
    """About what the activations will take in a file: a manifest entry of as many numbers.

    Generous, so that a file that was promised to be small enough is.
    """
    names = sorted(find_values(model).sources)
    rng = np.random.default_rng(0)
    scales = {name: [float(f"{rng.random():.5g}"), int(rng.integers(256))] for name in names}
    floats = [layer.weight.name for layer in int8_layers(model)[: _FIRST_LAYERS + _MOST_BLAMED]]
    text = json.dumps({"tensors": scales, "float": floats}, separators=(",", ":"))
    return len(zlib.compress(text.encode(), 9)) + _SLACK


def graph_of(model: CompressedModel) -> Graph:
    """A compressed model as a graph with restored numbers, to be run by a Probe."""
    weights = tuple(
        Weight(tensor.name, tensor.dtype, dequantize(tensor), Role.CONSTANT, (), (), None)
        for tensor in model.tensors
    )
    return Graph("model", model.skeleton, weights, (), "", 0)


def _least(tried: Sequence[_Candidate]) -> _Candidate:
    times = race([candidate.probe.runner() for candidate in tried])
    costs = [
        math.log(seconds) + _NATS * candidate.divergence
        for seconds, candidate in zip(times, tried, strict=True)
    ]
    return tried[int(np.argmin(costs))]


def _note(run_as: RunAs, form: RunForm, speed: float | None) -> str:
    if speed is None or speed * _FASTER > 1:
        return ""
    ratio = f"{speed:.2f} times as fast as float on this machine, one thread"
    if run_as == "auto":
        return f"the int8 form runs {ratio}, so the file says float"
    return f"the int8 form runs {ratio}; --run-as auto would take float" if form == "int8" else ""
