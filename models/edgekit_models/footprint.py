"""What a module needs to run beside its weights, and how far one output sees."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from edgekit_models.counting import evaluating

_aten = torch.ops.aten
_MAX_POOLS = (_aten.max_pool2d_with_indices.default, _aten.max_pool3d_with_indices.default)
_POOLS = (*_MAX_POOLS, _aten.avg_pool2d.default, _aten.avg_pool3d.default)
_MOVERS = ("lstm", "gru", "rnn", "upsample", "pixel_shuffle", "grid_sampler")
"""Operations behind which "pixels from one place to the next" means nothing any more."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one input at batch 1, run layer by layer as torch does.

    peak_bytes: of all activations that live at once, the input included, at the moment when they
    are most; parameters and buffers don't count. Layers that work in place need no second map.
    receptive_field: side of the square of input pixels that one place of the last map sees, before
    global pooling or linear layers; padding counts as pixels. 1 where nothing spreads, None where
    an operation moves places, such as a transposed convolution, an upsampling or an LSTM.
    """

    peak_bytes: int
    receptive_field: int | None


@dataclass(frozen=True, slots=True)
class _View:
    """How a map sees the input, along its last axes: window, and pixels from place to place."""

    fields: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()


def measure_footprint(module: nn.Module, input_shape: tuple[int, ...]) -> Footprint:
    """Run a module once in evaluation mode and watch its tensors; the meta device will do.

    input_shape: of one input, without the batch axis. The module's mode is restored.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    held = {_storage(tensor) for tensor in (*module.parameters(), *module.buffers())}
    watch = _Watch(held)
    with evaluating(module), torch.no_grad(), watch:
        module(torch.zeros(1, *input_shape, device=device))
    return Footprint(watch.peak_bytes, None if watch.has_moved else watch.field)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    """Sees each operation: what it makes, until when that lives, and what it looks at.

    Several tensors can share a storage: it lives until the last of them goes.
    """

    def __init__(self, held: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.peak_bytes = 0
        self.field = 1
        self.has_moved = False
        self._held = held
        self._alive = 0
        self._users = Counter[int]()
        self._views: dict[int, _View] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        sources = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        seen = [self._views[id(leaf)] for leaf in sources if id(leaf) in self._views]
        view = _moved(func, args, seen, result)
        self.field = max(self.field, *view.fields, 1)
        is_transposed = func is _aten.convolution.default and args[6]
        self.has_moved |= bool(is_transposed) or any(word in str(func) for word in _MOVERS)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._follow(tensor, view)
        return result

    def _follow(self, tensor: Tensor, view: _View) -> None:
        known = id(tensor) in self._views
        self._views[id(tensor)] = view
        storage = _storage(tensor)
        if known or storage in self._held:
            return
        size = tensor.untyped_storage().nbytes()
        if not self._users[storage]:
            self._alive += size
            self.peak_bytes = max(self.peak_bytes, self._alive)
        self._users[storage] += 1
        weakref.finalize(tensor, self._release, id(tensor), storage, size)

    def _release(self, tensor: int, storage: int, size: int) -> None:
        self._views.pop(tensor, None)
        self._users[storage] -= 1
        if not self._users[storage]:
            del self._users[storage]
            self._alive -= size


def _moved(func: Any, args: Sequence[Any], seen: Sequence[_View], result: Any) -> _View:
    """The view behind an operation: the widest of its inputs', spread by its own kernel."""
    fields = _widest([view.fields for view in seen])
    steps = _widest([view.steps for view in seen])
    window = _window(func, args, result)
    if window is None:
        return _View(fields, steps)
    kernel, strides, dilations = window
    # Along each axis, from the last one back; an axis that is new has seen nothing yet.
    fields, steps = (_ones(numbers, len(kernel)) for numbers in (fields, steps))
    spread = zip(fields, steps, kernel, _each(dilations, kernel), strict=True)
    return _View(
        tuple(field + (side - 1) * gap * step for field, step, side, gap in spread),
        tuple(step * by for step, by in zip(steps, _each(strides, kernel), strict=True)),
    )


def _window(
    func: Any, args: Sequence[Any], result: Any
) -> tuple[Sequence[int], Sequence[int], Sequence[int]] | None:
    """Kernel, strides and dilations of an operation that looks at neighbours, else None."""
    if func is _aten.convolution.default:
        return None if args[6] else (args[1].shape[2:], args[3], args[5])
    if func not in _POOLS or set(tree_leaves(result)[0].shape[2:]) == {1}:
        # A pooling that leaves one place is global.
        return None
    strides = args[2] if len(args) > 2 and args[2] else args[1]
    dilations = args[4] if func in _MAX_POOLS and len(args) > 4 else [1]
    return args[1], strides, dilations


def _widest(views: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    rank = max(map(len, views), default=0)
    return tuple(map(max, zip(*(_ones(view, rank) for view in views), strict=True)))


def _ones(numbers: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(numbers)) + numbers


def _each(numbers: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
    return tuple(numbers) if len(numbers) == len(kernel) else (numbers[0],) * len(kernel)


def _storage(tensor: Tensor) -> int:
    """What tells a storage from all others that live."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - torch has no public name for it
