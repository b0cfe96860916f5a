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

_aten = torch.ops.aten
_POOLS = (_aten.max_pool2d_with_indices.default, _aten.avg_pool2d.default)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one input at batch 1, run layer by layer as torch does.

    peak_bytes: of all activations that live at once, the input included, at the moment when they
    are most; parameters and buffers don't count. Layers that work in place need no second map.
    receptive_field: side of the square of input pixels that one place of the last map sees, before
    global pooling or linear layers; padding counts as pixels. 1 where nothing spreads.
    """

    peak_bytes: int
    receptive_field: int


@dataclass(frozen=True, slots=True)
class _View:
    """How a map sees the input: side of its window, and pixels from one place to the next."""

    field: int = 1
    step: int = 1


def measure_footprint(module: nn.Module, input_shape: tuple[int, ...]) -> Footprint:
    """Run a module once in evaluation mode and watch its tensors; the meta device will do.

    input_shape: of one input, without the batch axis. The module's mode is restored.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    held = {_storage(tensor) for tensor in (*module.parameters(), *module.buffers())}
    watch = _Watch(held)
    try:
        with torch.no_grad(), watch:
            module(torch.zeros(1, *input_shape, device=device))
    finally:
        module.train(was_training)
    return Footprint(watch.peak_bytes, watch.field)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    """Sees each operation: what it makes, until when that lives, and what it looks at.

    Several tensors can share a storage: it lives until the last of them goes.
    """

    def __init__(self, held: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.peak_bytes = 0
        self.field = 1
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
        self.field = max(self.field, view.field)
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
    field = max((view.field for view in seen), default=1)
    step = max((view.step for view in seen), default=1)
    if func is _aten.convolution.default and not args[6]:
        kernel, stride, dilation = args[1].shape[2:], args[3], args[5]
    elif func in _POOLS and set(tree_leaves(result)[0].shape[2:]) != {1}:
        # A pooling that leaves one place is global.
        kernel, stride, dilation = args[1], (args[2] if len(args) > 2 and args[2] else args[1]), [1]
    else:
        return _View(field, step)
    reach = (max(kernel) - 1) * max(dilation)
    return _View(field + reach * step, step * max(stride))


def _storage(tensor: Tensor) -> int:
    """What tells a storage from all others that live."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - torch has no public name for it
