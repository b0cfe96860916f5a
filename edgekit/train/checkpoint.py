"""What the saved state of a stage must be so that its training can go on from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.train.state import State, check_epochs

KEYS = frozenset({"module", "method", "optimizer", "generator", "torch_generator", "done"})


def check_state(
    state: Mapping[str, Any],
    *,
    module: nn.Module,
    method: nn.Module,
    parameters: Sequence[Tensor],
    done: int,
) -> None:
    """Raise ValueError, with the reason, unless a state fits a stage after `done` steps.

    module, method: whose tensors the state has. parameters: of the optimizer, in its order.
    """
    if state.keys() != KEYS:
        raise ValueError(f"it must hold {', '.join(sorted(KEYS))}")
    if type(state["done"]) is not int or state["done"] != done:
        raise ValueError(f"{str(state['done'])[:20]} steps are done, where its epochs have {done}")
    _check_tensors(state["module"], module.state_dict(), "the weights")
    _check_tensors(state["method"], method.state_dict(), "the method")
    for name, own in method.state_dict().items():
        found = state["method"][name]
        if name.startswith("mask_") and not bool(((found == 0) | (found == 1)).all()):
            raise ValueError(f"{name} has numbers other than 0 and 1")
        # Which weights share a value is settled before the first step.
        if name.endswith(".codes") and not torch.equal(found, own):
            raise ValueError(f"{name} isn't what the stage begins with")
    _check_moments(state["optimizer"], parameters, done)


def check_training(
    state: State,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    done: int,
) -> None:
    """Raise ValueError, with the reason, unless a training of `done` steps can go on from a state.

    model, optimizer, scheduler: of the training, as it begins.
    """
    check_epochs([line.epoch for line in state.history])
    _check_tensors(state.model, model.state_dict(), "the weights")
    _check_tensors(state.best, model.state_dict(), "the best weights")
    groups = optimizer.state_dict()["param_groups"]
    found = [
        {**group, "lr": own["lr"]}
        for group, own in zip(state.optimizer["param_groups"], groups, strict=True)
    ]
    if found != groups:
        raise ValueError("the optimizer's groups aren't the training's")
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    momenta = state.optimizer["state"]
    if not momenta or not set(momenta) <= set(range(len(parameters))):
        raise ValueError("the optimizer has no momenta of its parameters")
    for index, own in momenta.items():
        wanted = {"momentum_buffer": parameters[index]}
        _check_tensors(own, wanted, f"the momentum of parameter {index}")
    counts = {"last_epoch": done, "_step_count": done + 1}
    wanted_schedule = {**scheduler.state_dict(), **counts}
    if {**state.scheduler, "_last_lr": wanted_schedule["_last_lr"]} != wanted_schedule:
        raise ValueError(f"the schedule isn't that of {done} steps")


def _check_moments(optimizer: object, parameters: Sequence[Tensor], done: int) -> None:
    """Adam's: a parameter that never had a gradient has none."""
    moments = optimizer.get("state") if isinstance(optimizer, dict) else None
    if not isinstance(moments, dict) or (done and not moments):
        raise ValueError("the optimizer has no moments")
    for index, own in moments.items():
        if type(index) is not int or not 0 <= index < len(parameters):
            raise ValueError(f"the optimizer has moments of a parameter {str(index)[:20]}")
        wanted = {
            "step": torch.tensor(0.0),
            "exp_avg": parameters[index],
            "exp_avg_sq": parameters[index],
        }
        _check_tensors(own, wanted, f"the moments of parameter {index}")
        if not 1 <= float(own["step"]) <= done or bool((own["exp_avg_sq"] < 0).any()):
            raise ValueError(f"the moments of parameter {index} aren't of {done} steps")


def _check_tensors(found: object, wanted: Mapping[str, Tensor], what: str) -> None:
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        raise ValueError(f"{what} must hold {', '.join(wanted) or 'nothing'}"[:200])
    for name, own in wanted.items():
        value = found[name]
        if (
            not isinstance(value, Tensor)
            or value.layout != torch.strided
            or (value.shape, value.dtype) != (own.shape, own.dtype)
        ):
            raise ValueError(f"{name} of {what} isn't a tensor of shape {tuple(own.shape)}")
        # A buffer may be infinite from the start, such as the mask of an attention.
        if not bool((value.isfinite() | ~own.isfinite()).all()):
            raise ValueError(f"{name} of {what} has numbers that aren't finite")
