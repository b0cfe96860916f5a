"""Finds the torch network that a source names, and gives it its weights.

A source is a name of the zoo, `package.module:factory` or `path/to/file.py:factory`; the factory
takes no arguments and returns the module.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pickle
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import edgekit_models
from edgekit.errors import InputError, UnknownModelError, UnsafeFileError, UsageError
from edgekit.export.text import brief

_FORBIDDEN = re.compile(r"nsupported (global|class)|unrecognized function|[Bb]locked")
"""How torch words that a pickle asks for more than tensors; other complaints mean damage."""

NO_WEIGHTS = "none"
"""Given as weights: keep the random ones that the factory made."""

SEED = 0
"""Of the random weights, so that the same source gives the same bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A module ready for export, in evaluation mode.

    input_shape: with the batch axis first. weights: where its weights come from, for people.
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    weights: str


@dataclass(frozen=True, slots=True)
class Network:
    """What is known of a network by its source, before it is built.

    build: makes the module with random weights. input_shape: of one input, without the batch axis;
    None where only the caller knows. spec: the zoo's, or None for a factory.
    """

    source: str
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...] | None
    spec: edgekit_models.ModelSpec | None


def find_network(source: str) -> Network:
    """The network of a source. Raises UnknownModelError for a name or file that isn't there.

    Building one from a factory raises UsageError where the factory fails or returns no module.
    """
    if ":" in source:
        factory = find_function(source)
        return Network(source, lambda: _made(source, factory), None, None)
    spec = _zoo_spec(source)
    return Network(source, spec.factory, spec.input_shape, spec)


def load_source(
    source: str,
    *,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Source:
    """Build the module and load its weights.

    weights: a .safetensors file, a .pth or .pt file with a state dict, `none`, or None, which
    takes the zoo's shipped checkpoint where there is one and random weights otherwise.
    input_shape: with the batch axis; the zoo's own by default, needed for any other source.

    Raises UnknownModelError, UsageError, UnsafeFileError, InputError.
    """
    network = find_network(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = network.build()
    if network.input_shape is not None:
        input_shape = input_shape or (1, *network.input_shape)
    if network.spec is not None:
        weights = weights or network.spec.checkpoint_path
    if input_shape is None:
        raise UsageError(
            f"{source} doesn't tell its input shape; add for example --input 1,3,224,224"
        )
    if len(input_shape) < 2 or min(input_shape) < 1:
        raise UsageError(f"an input shape needs a batch axis and sizes above 0, got {input_shape}")
    if weights is None or os.fspath(weights) == NO_WEIGHTS:
        return Source(module.eval(), input_shape, f"random (seed {SEED})")
    path = Path(weights)
    state: Mapping[str, Tensor] = read_state_dict(path)
    if network.spec is not None and network.spec.adapt is not None:
        state = network.spec.adapt(state)
    _load(module, state, path)
    return Source(module.eval(), input_shape, path.name)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pth or .pt file by name, without running code from it.

    Raises UnsafeFileError for a pickle that holds more than tensors and plain containers,
    InputError for anything else that can't be read.
    """
    if not path.is_file():
        raise InputError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise InputError(f"{path} isn't a readable safetensors file: {error}") from error
    if path.suffix not in {".pth", ".pt"}:
        raise InputError(f"{path}: weights must be a .safetensors, .pth or .pt file")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _FORBIDDEN.search(str(error)):
            raise UnsafeFileError(
                f"{path} holds more than tensors and would run code when opened; "
                "save the module's state_dict() with safetensors instead"
            ) from error
        raise InputError(f"{path} isn't a readable torch file") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path} isn't a readable torch file") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InputError(f"{path} doesn't hold a state dict of named tensors")
    return loaded


def _load(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected:
        parts = [
            f"{len(names)} {what} (first: {names[0]})"
            for what, names in (("missing", missing), ("unknown", unexpected))
            if names
        ]
        raise InputError(f"{path} doesn't fit the network: tensors {' and '.join(parts)}")
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise InputError(
                f"{path} doesn't fit the network: {name} is {tuple(state[name].shape)} "
                f"where {tuple(value.shape)} is needed"
            )
    module.load_state_dict(state)


def _zoo_spec(name: str) -> edgekit_models.ModelSpec:
    try:
        return edgekit_models.spec(name)
    except edgekit_models.UnknownNetworkError as error:
        raise UnknownModelError(
            f"{error}; for a module of your own give package.module:factory or file.py:factory"
        ) from error


def find_function(source: str) -> Callable[[], object]:
    """What `package.module:name` or `file.py:name` names, called without arguments.

    Raises UnknownModelError where there is no such file, module or function.
    """
    place, _, name = source.rpartition(":")
    if not place:
        raise UnknownModelError(f"{source} names no function; give file.py:name or module:name")
    factory: object = getattr(_import(place), name, None)
    if not callable(factory):
        raise UnknownModelError(f"{place} has no function {name!r}; a source is PLACE:FUNCTION")
    return factory


def _made(source: str, factory: Callable[[], object]) -> nn.Module:
    try:
        # What a factory prints isn't part of a report.
        with contextlib.redirect_stdout(sys.stderr):
            module = factory()
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{source} failed with {brief(error)}; "
            "a factory takes no arguments and returns the module"
        ) from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{source} returned {type(module).__name__} instead of a torch.nn.Module")
    return module


def _import(place: str) -> ModuleType:
    if place.endswith(".py") and not Path(place).is_file():
        raise UnknownModelError(f"no file {place}; a source is file.py:factory")
    try:
        return (
            _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        )
    except Exception as error:
        raise UnknownModelError(f"can't import {place}: {brief(error)}") from error


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_edgekit_source_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} isn't Python code")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and torch.export look a module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
