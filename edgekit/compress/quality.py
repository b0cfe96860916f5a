"""Wishes about answers: how often the top-1 stays, and how much accuracy is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.compress.calibrated import Calibration
from edgekit.compress.goal import Goal
from edgekit.compress.rounding import Calibrated
from edgekit.data import Labelled
from edgekit.errors import UsageError
from edgekit.top1 import classes


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A compressed model on evaluation data: top-1 before and after; None without labels."""

    data: str
    inputs: int
    agreement: float
    accuracy: float | None
    reference_accuracy: float | None


def judged_later(data: Labelled) -> dict[str, Any]:
    """What a manifest will note of evaluation data at the most, before anything is measured."""
    third = 1 / 3
    inputs = len(data.inputs)
    return {"evaluation": asdict(Evaluation(data.title, inputs, third, third / 2, third * 2))}


class Judge:
    """Measures calibrated models on evaluation data.

    data: inputs, with labels where accuracy is asked for.
    """

    def __init__(self, calibration: Calibration, data: Labelled) -> None:
        self._calibration = calibration
        self._data = data
        self._reference = classes(calibration.outputs(data.inputs, None))
        self._labels = None if data.labels is None else data.labels[: len(self._reference)]
        self._known: dict[Calibrated, Evaluation] = {}

    @property
    def has_labels(self) -> bool:
        """Whether accuracy can be told."""
        return self._labels is not None

    @property
    def inputs(self) -> str:
        """The evaluation data in words."""
        return f"{len(self._reference):,} inputs of {self._data.name} {self._data.split}"

    def evaluate(self, found: Calibrated) -> Evaluation:
        """Agreement with the float model, and both accuracies; each model is run once."""
        if found not in self._known:
            self._known[found] = self._measure(found)
        return self._known[found]

    def _measure(self, found: Calibrated) -> Evaluation:
        found_classes = classes(self._calibration.outputs(self._data.inputs, found))
        before = after = None
        if self._labels is not None:
            before = float(np.mean(self._reference == self._labels))
            after = float(np.mean(found_classes == self._labels))
        same = float(np.mean(found_classes == self._reference))
        return Evaluation(self._data.title, len(found_classes), same, after, before)


@dataclass(frozen=True, slots=True)
class Wish:
    """A bound on answers.

    bound: in words. meets: whether a calibrated model keeps it. reached: what one that doesn't
    reaches, in words and the bound's unit. by_held_back: whether these read its answers on the
    held-back inputs, and not on evaluation data.
    """

    bound: str
    meets: Callable[[Calibrated], bool]
    reached: Callable[[Calibrated], str]
    by_held_back: bool = False


def quality_wish(goal: Goal, judge: Judge | None) -> Wish:
    """A goal's least agreement or largest drop.

    judge: on evaluation data; without it agreement is that on the held-back inputs, of codes made
    without them and of the file's. Raises UsageError for a largest drop without labelled data.
    """
    if goal.max_drop is not None:
        most = goal.max_drop
        if judge is None or not judge.has_labels:
            raise UsageError("a bound on the drop of accuracy needs data with labels: --eval")

        def lost(found: Calibrated) -> float:
            measured = judge.evaluate(found)
            return 100 * ((measured.reference_accuracy or 0.0) - (measured.accuracy or 0.0))

        return Wish(
            f"a drop of at most {most:g} points",
            # Shares of whole inputs: a drop of exactly the bound is within it.
            lambda found: lost(found) <= most + 1e-9,
            lambda found: f"{lost(found):.2f} points of top-1 are lost on {judge.inputs}",
        )
    least = goal.min_agreement or 0.0

    def same(found: Calibrated) -> float:
        return found.least_agreement if judge is None else judge.evaluate(found).agreement

    def reached(found: Calibrated) -> str:
        where = f"{found.held_back} held-back inputs" if judge is None else judge.inputs
        return f"it is {same(found):.4f} on {where}"

    return Wish(
        f"a top-1 agreement of at least {least:g}",
        lambda found: same(found) >= least,
        reached,
        by_held_back=judge is None,
    )
