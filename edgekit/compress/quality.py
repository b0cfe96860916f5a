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


def quality_wish(goal: Goal, judge: Judge | None) -> Callable[[Calibrated], bool]:
    """Whether a calibrated model meets a goal's least agreement or largest drop.

    judge: on evaluation data; without it agreement is that on the held-back inputs. Raises
    UsageError for a largest drop without labelled data.
    """
    if goal.max_drop is not None:
        most = goal.max_drop
        if judge is None or not judge.has_labels:
            raise UsageError("a bound on the drop of accuracy needs data with labels: --eval")

        def keeps_accuracy(found: Calibrated) -> bool:
            measured = judge.evaluate(found)
            lost = (measured.reference_accuracy or 0.0) - (measured.accuracy or 0.0)
            # Shares of whole inputs: a drop of exactly the bound is within it.
            return 100 * lost <= most + 1e-9

        return keeps_accuracy
    least = goal.min_agreement or 0.0

    def agrees(found: Calibrated) -> bool:
        same = found.agreement if judge is None else judge.evaluate(found).agreement
        return same >= least

    return agrees
