"""The verbs of the command line as functions, in one flat namespace.

`edgekit.api.compress` is `edgekit.compress.pipeline.compress`, and so on. The packages are named
for the same stages, so the verbs can't lie in `edgekit` itself: importing the package
`edgekit.compress` would replace a function `edgekit.compress`
(docs/decisions/0001-flat-verbs-in-api.md). A verb's module, and what it imports, is loaded when
the verb is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from edgekit.errors import MissingDependencyError

if TYPE_CHECKING:
    from edgekit.bench.compare import bench_compare
    from edgekit.bench.doctor import doctor
    from edgekit.bench.measure import bench
    from edgekit.bench.remote.run import bench_on
    from edgekit.compress.pipeline import compress
    from edgekit.embed.generate import embed
    from edgekit.export.pytorch import export
    from edgekit.inspect.ledger import inspect
    from edgekit.packfile.onnx_model import decompress
    from edgekit.report.latency_files import report
    from edgekit.runtime.forms import load
    from edgekit.runtime.verify import verify
    from edgekit.train.finetune import finetune
    from edgekit.train.fit import train

__all__ = [
    "bench",
    "bench_compare",
    "bench_on",
    "compress",
    "decompress",
    "doctor",
    "embed",
    "export",
    "finetune",
    "inspect",
    "load",
    "report",
    "train",
    "verify",
]

_HOMES = {
    "bench": "edgekit.bench.measure",
    "bench_compare": "edgekit.bench.compare",
    "bench_on": "edgekit.bench.remote.run",
    "compress": "edgekit.compress.pipeline",
    "decompress": "edgekit.packfile.onnx_model",
    "doctor": "edgekit.bench.doctor",
    "embed": "edgekit.embed.generate",
    "export": "edgekit.export.pytorch",
    "finetune": "edgekit.train.finetune",
    "inspect": "edgekit.inspect.ledger",
    "load": "edgekit.runtime.forms",
    "report": "edgekit.report.latency_files",
    "train": "edgekit.train.fit",
    "verify": "edgekit.runtime.verify",
}

_EXTRAS = {
    "jinja2": "report",
    "matplotlib": "report",
    "onnxscript": "torch",
    "onnxsim": "torch",
    "safetensors": "torch",
    "torch": "torch",
}
"""The extra that brings each optional package, by its import name."""


def __getattr__(name: str) -> object:
    """The verb `name`. Raises MissingDependencyError where its extra isn't installed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        verb = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        missing = missing_dependency(error)
        if missing is None:
            raise
        raise missing from error
    globals()[name] = verb
    return verb


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def missing_dependency(error: ModuleNotFoundError) -> MissingDependencyError | None:
    """The error that names the extra to install, or None where no extra brings the module."""
    package = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(package)
    return None if extra is None else MissingDependencyError(package, extra)
