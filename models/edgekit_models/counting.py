"""Parameters and multiply-adds of a torch module, counted on the meta device or any other.

Papers count differently, so a count goes by the name of its rule:

- weights: of convolutions and linear layers alone;
- weights+bias: with the biases that these layers have;
- trainable: with scale and shift of BatchNorm too; running statistics never count;
- conv+fc: one multiply-add for each use of a weight at batch 1; biases, BatchNorm, activations,
  pooling, sums and shuffles count nothing;
- conv: the same without linear layers;
- flops(2x): twice conv+fc.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_Convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_Transposed)
_Uncounted = (nn.RNNBase, nn.MultiheadAttention, nn.Bilinear)
"""Layers with weights whose multiply-adds aren't counted here."""


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One convolution or linear layer.

    tensor: name of the weight, which layers may share. kind: name of the torch class.
    form: pointwise, depthwise, grouped, 3x3 and the like, or fc.
    output_shape: shape of its output for one input, batch axis left out.
    multiply_adds: one for each use of a weight; the bias counts nothing.
    """

    name: str
    tensor: str
    kind: str
    form: str
    output_shape: tuple[int, ...]
    weights: int
    biases: int
    multiply_adds: int

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases


@dataclass(frozen=True, slots=True)
class Totals:
    """A module's counts under every named rule. A layer that is used twice holds its weights once.

    trainable: frozen parameters are left out here alone.
    """

    weights: int
    biases: int
    trainable: int
    conv: int
    fc: int

    def under(self, rule: str) -> int:
        """The count under a rule of this module's list. Raises KeyError for any other name."""
        return {
            "weights": self.weights,
            "weights+bias": self.weights + self.biases,
            "trainable": self.trainable,
            "conv": self.conv,
            "conv+fc": self.conv + self.fc,
            "flops(2x)": 2 * (self.conv + self.fc),
        }[rule]


@dataclass(frozen=True, slots=True)
class Share:
    """What all layers of one form hold and cost together, as in MobileNet's table 2."""

    form: str
    weights: int
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
    tensors = {id(parameter): name for name, parameter in module.named_parameters()}
    handles = [
        layer.register_forward_hook(_recorder(name, tensors, counts))
        for name, layer in module.named_modules()
        if isinstance(layer, (*_Convolutions, nn.Linear))
    ]
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad(), evaluating(module):
            module(torch.empty(1, *input_shape, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(counts)


def uncounted(module: nn.Module) -> tuple[str, ...]:
    """Names of layers with weights that the counts of multiply-adds leave out, such as LSTM."""
    return tuple(name for name, layer in module.named_modules() if isinstance(layer, _Uncounted))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each submodule gets back the mode it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, was_training in modes:
            part.training = was_training


def count_multiply_adds(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of convolutions and linear layers for one input."""
    return sum(layer.multiply_adds for layer in count_layers(module, input_shape))


def count_totals(module: nn.Module, input_shape: tuple[int, ...]) -> Totals:
    """Counts of the whole module. input_shape: of one input, without the batch axis."""
    layers = count_layers(module, input_shape)
    once = {layer.tensor: layer for layer in layers}.values()
    fc = sum(layer.multiply_adds for layer in layers if layer.form == "fc")
    return Totals(
        weights=sum(layer.weights for layer in once),
        biases=sum(layer.biases for layer in {layer.name: layer for layer in layers}.values()),
        trainable=count_parameters(module),
        conv=sum(layer.multiply_adds for layer in layers) - fc,
        fc=fc,
    )


def count_shares(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[Share, ...]:
    """Weights and multiply-adds of each form of layer, the costliest first."""
    layers = count_layers(module, input_shape)
    weights, multiply_adds = Counter[str](), Counter[str]()
    for layer in {layer.tensor: layer for layer in layers}.values():
        weights[layer.form] += layer.weights
    for layer in layers:
        multiply_adds[layer.form] += layer.multiply_adds
    return tuple(Share(form, weights[form], cost) for form, cost in multiply_adds.most_common())


def form_of(layer: nn.Module) -> str:
    """pointwise, depthwise (one group a channel), grouped, the kernel such as 3x3, or fc."""
    if not isinstance(layer, _Convolutions):
        return "fc"
    if 1 < layer.groups == layer.in_channels:
        return "depthwise"
    if layer.groups > 1:
        return "grouped"
    kernel = layer.kernel_size
    return "pointwise" if set(kernel) == {1} else "x".join(str(side) for side in kernel)


def _recorder(
    name: str, tensors: Mapping[int, str], counts: list[LayerCount]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # A parametrized weight, such as weight_norm's, is an attribute and no parameter.
        weight: Tensor = getattr(layer, "weight")  # noqa: B009
        bias: Tensor | None = getattr(layer, "bias")  # noqa: B009
        # Each output element uses the weights of its own channel once; in a transposed
        # convolution each input element does.
        places = inputs[0] if isinstance(layer, _Transposed) else output
        counts.append(
            LayerCount(
                name=name,
                tensor=tensors.get(id(weight), f"{name}.weight"),
                kind=type(layer).__name__,
                form=form_of(layer),
                output_shape=tuple(output.shape[1:]),
                weights=weight.numel(),
                biases=0 if bias is None else bias.numel(),
                multiply_adds=places[0].numel() * weight[0].numel(),
            )
        )

    return record
