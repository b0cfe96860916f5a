"""Parameters and multiply-adds of a torch module, counted on the meta device or any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_Convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One convolution or linear layer.

    output_shape: shape of its output for one input, batch axis left out.
    multiply_adds: one for each use of a weight; the bias counts nothing.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def count_parameters(module: nn.Module) -> int:
    """Trainable parameters: weights, biases, BatchNorm scale and shift; no running statistics."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def count_layers(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[LayerCount, ...]:
    """Every convolution and linear layer in the order of use.

    input_shape: of one input, without the batch axis. The module runs once at batch 1 in
    evaluation mode, on the device that its parameters lie on; its mode is restored.
    """
    counts: list[LayerCount] = []
    handles = [
        layer.register_forward_hook(_recorder(name, counts))
        for name, layer in module.named_modules()
        if isinstance(layer, (*_Convolutions, nn.Linear))
    ]
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            module(torch.empty(1, *input_shape, device=device))
    finally:
        module.train(was_training)
        for handle in handles:
            handle.remove()
    return tuple(counts)


def count_multiply_adds(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of convolutions and linear layers for one input."""
    return sum(layer.multiply_adds for layer in count_layers(module, input_shape))


def _recorder(
    name: str, counts: list[LayerCount]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def record(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.get_parameter("weight")
        # Each output element uses the weights of its own channel once.
        uses_each = weight[0].numel()
        counts.append(
            LayerCount(
                name=name,
                kind=type(layer).__name__,
                output_shape=tuple(output.shape[1:]),
                parameters=sum(p.numel() for p in layer.parameters(recurse=False)),
                multiply_adds=output[0].numel() * uses_each,
            )
        )

    return record
