"""The networks that the comparison of bypasses trains."""

from __future__ import annotations

import pytest
import torch

import edgekit_models
from benchmarks.bypass import FACTORIES, complex_, simple, vanilla
from edgekit_models.squeezenet import Bypass


@pytest.mark.parametrize("form", FACTORIES)
def test_each_form_scores_ten_classes(form: str) -> None:
    with torch.no_grad():
        assert FACTORIES[form]().eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_simple_bypass_costs_nothing_and_a_complex_one_its_convolutions() -> None:
    plain, added, mapped = (
        edgekit_models.count_parameters(make()) for make in (vanilla, simple, complex_)
    )

    assert added == plain
    # Weights and bias of 32 -> 64, 64 -> 96 and 96 -> 128.
    assert mapped == plain + 33 * 64 + 65 * 96 + 97 * 128


def test_bypasses_stand_where_the_paper_has_them() -> None:
    def places(net: torch.nn.Module) -> int:
        return sum(isinstance(module, Bypass) for module in net.modules())

    assert [places(make()) for make in (vanilla, simple, complex_)] == [0, 3, 6]
