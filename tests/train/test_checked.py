"""Splits of others, whatever they give."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from edgekit.errors import DataError
from edgekit.train.checked import check_data
from edgekit.train.datasets import Samples
from edgekit.train.sources import Subset
from tests.train.nets import samples, tiny_data

SHAPE = (0, 1, 6, 6)


def test_labels_that_are_read_later_are_looked_at_batch_by_batch() -> None:
    def late(inputs: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        return inputs, torch.where(chosen == 17, 10, 0)

    data = dataclasses.replace(tiny_data(), validation=Giving(late))
    split = check_data(data, SHAPE, classes=3).validation

    split.batch(torch.arange(17))
    with pytest.raises(DataError, match=r"sample 17 has the label 10, but .* 3 classes are 0 to 2"):
        split.batch(torch.arange(20))


def test_a_held_out_sample_goes_by_its_place_in_the_data_set() -> None:
    rows = samples(64, 1)
    assert rows.labels is not None
    rows.labels[40] = 9
    data = dataclasses.replace(tiny_data(), test=Subset(rows, torch.arange(64).flip(0)))

    with pytest.raises(DataError, match="sample 40 has the label 9"):
        check_data(data, SHAPE, classes=3)


def test_labels_that_nobody_heeds_may_be_anything() -> None:
    rows = samples(64, 1)
    data = dataclasses.replace(tiny_data(), training=Samples(rows.inputs, torch.full((64,), -1)))

    check_data(data, SHAPE, classes=3, heeds_labels=False)
    with pytest.raises(DataError, match="sample 0 has the label -1"):
        check_data(data, SHAPE, classes=3)


@dataclasses.dataclass(frozen=True)
class Giving:
    """A split of 20 samples whose batches are what a function makes of good ones."""

    change: Callable[[Tensor, Tensor], object]

    def __len__(self) -> int:
        return 20

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.change(torch.zeros(len(chosen), *SHAPE[1:]), chosen)  # type: ignore[return-value]  # wrong on purpose


def _nan_at(inputs: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    inputs[chosen == 13, 0, 2] = torch.nan
    return inputs, chosen


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_nan_at, "the input of sample 13 isn't finite"),
        (lambda x, n: (x, torch.where(n == 7, torch.inf, 0.0)), "the label of sample 7 isn't"),
        (lambda x, n: (x, None if len(n) > 1 else n), "have a label and some have none"),
        (lambda x, n: (x[:, :, :5], n), r"shape \(1, 5, 6\), but the network takes \(1, 6, 6\)"),
        (lambda x, n: (x[:0], n), "must give a tensor of 1 inputs"),
        (lambda x, n: (x, n[:0]), "must give a tensor of 1 inputs and one of as many labels"),
        (lambda x, n: (None, n), "must give a tensor of 1 inputs"),
        (lambda x, n: (x.double(), n), r"has inputs of torch\.float64; they must be"),
        (lambda x, n: 1 // 0, "failed with ZeroDivisionError: .*, asked for samples such as 0"),
    ],
)
@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_a_batch_that_cannot_be_used_is_told(
    part: str, change: Callable[[Tensor, Tensor], object], words: str
) -> None:
    changed: dict[str, Any] = {part: Giving(change)}
    data = dataclasses.replace(tiny_data(), **changed)

    with pytest.raises(DataError, match=words):
        getattr(check_data(data, SHAPE), part).batch(torch.arange(20))


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_a_split_without_samples_is_told(part: str) -> None:
    nothing = Samples(torch.zeros(SHAPE), torch.zeros(0))
    changed: dict[str, Any] = {part: nothing}
    data = dataclasses.replace(tiny_data(), **changed)

    with pytest.raises(DataError, match=f"the {part} split of rows has no samples"):
        check_data(data, SHAPE)


def test_good_batches_pass_as_they_are() -> None:
    checked = check_data(tiny_data(), (0, 1, 0, 0)).training
    inputs, labels = checked.batch(torch.tensor([3, 1]))

    whole = samples(256, 1)
    assert whole.labels is not None
    assert labels is not None
    assert torch.equal(inputs, whole.inputs[[3, 1]])
    assert torch.equal(labels, whole.labels[[3, 1]])
    assert len(checked) == 256
