"""Every exception that edgekit raises on purpose, each with its exit code.

```
EdgekitError                    1
├── UsageError                  2  the caller's input
│   ├── PlanError                  bits, sparsity or a plan that can't be carried out
│   ├── RecipeError                a recipe file with an unknown or impossible entry
│   └── UnknownModelError          no such network in the zoo
├── CheckFailedError            3  a check was not met
│   └── ParityError                two forms of one model answer differently
├── InputError                  4  a file that can't be read or isn't safe to read
│   ├── ModelFileError             not an ONNX model, or a broken one
│   ├── UntrainableError           an operator that training has no torch function for
│   ├── DataError                  calibration or evaluation data that can't be used
│   ├── UnsafeFileError            a file that would run code when opened
│   └── FormatError                a packed file that breaks docs/format.md
│       ├── TruncatedError           ends before a record or stream does
│       ├── ChecksumError            a CRC-32C or the SHA-256 doesn't match
│       ├── VersionError             a newer major version or an unknown feature
│       ├── CorruptError             a value that the specification forbids
│       └── LimitError               larger than a stated limit
├── ExportError                 1  a torch model that can't be exported
│   └── UnsupportedOperatorError   an operator that ONNX can't express
├── OutputError                 1  a result that can't be written
├── DeviceError                 5  a remote device that can't be reached or used
└── MissingDependencyError      1  names the extra to install
```

Messages are one line: what is wrong, where, and what to do.
"""

from __future__ import annotations


class EdgekitError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(EdgekitError):
    """The caller asked for something that can't be done."""

    exit_code = 2


class PlanError(UsageError):
    """Bits, sparsity, a method or a saved plan that can't be carried out."""


class RecipeError(UsageError):
    """A recipe with an unknown key or an impossible value."""


class UnknownModelError(UsageError):
    """No network of that name in the zoo, or no such factory."""


class CheckFailedError(EdgekitError):
    """A check was not met: parity, accuracy, budget or regression."""

    exit_code = 3


class ParityError(CheckFailedError):
    """Two forms of one model give different answers."""


class InputError(EdgekitError):
    """An input file that can't be read, or isn't safe to read."""

    exit_code = 4


class ModelFileError(InputError):
    """Not an ONNX model, or one that is damaged or outside what ONNX allows."""


class UntrainableError(InputError):
    """A model with an operator, or a form of one, that training has no torch function for."""


class DataError(InputError):
    """Calibration or evaluation data that can't be used."""


class UnsafeFileError(InputError):
    """A file that would run code when opened."""


class FormatError(InputError):
    """A packed file that breaks docs/format.md.

    offset: byte offset in the file where the rule is broken, or None.
    tensor: index of the tensor concerned, or None.
    """

    def __init__(
        self, message: str, *, offset: int | None = None, tensor: int | None = None
    ) -> None:
        where = [] if tensor is None else [f"tensor {tensor}"]
        if offset is not None:
            where.append(f"byte {offset}")
        super().__init__(f"{message} ({', '.join(where)})" if where else message)
        self.offset = offset
        self.tensor = tensor


class TruncatedError(FormatError):
    """The file ends before a record, section or stream does."""


class ChecksumError(FormatError):
    """A CRC-32C or the SHA-256 of the file doesn't match its bytes."""


class VersionError(FormatError):
    """A newer major version, or a feature bit that this reader doesn't know."""


class CorruptError(FormatError):
    """A value that docs/format.md forbids."""


class LimitError(FormatError):
    """A count or size above a stated limit of the format."""


class ExportError(EdgekitError):
    """A torch model that can't be exported."""


class UnsupportedOperatorError(ExportError):
    """A torch operator that the exporter can't express in ONNX."""


class OutputError(EdgekitError):
    """A result that can't be written."""


class DeviceError(EdgekitError):
    """A remote device that can't be reached or used."""

    exit_code = 5


class MissingDependencyError(EdgekitError):
    """A package of an extra is missing; the message names the extra."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; install it with: pip install 'edgekit[{extra}]'"
        )
        self.package = package
        self.extra = extra
