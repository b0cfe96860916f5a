"""The public API as a caller's type checker sees it: this file only has to pass mypy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import edgekit
from edgekit import api
from edgekit.bench.compare import BenchComparison
from edgekit.bench.doctor import DoctorReport
from edgekit.bench.results import BenchReport
from edgekit.compress.measure import CompressionReport
from edgekit.embed.generate import EmbedReport
from edgekit.export.pytorch import ExportReport
from edgekit.inspect.ledger import InspectReport
from edgekit.runtime.verify import VerifyReport
from edgekit.train.fit import TrainReport


def the_whole_chain(folder: Path) -> dict[str, Any]:
    model, packed = folder / "model.onnx", folder / "model.ekp"
    assert_type(api.train("squeezenet_fashion", folder / "best.safetensors"), TrainReport)
    assert_type(api.export("squeezenet_fashion", model), ExportReport)
    assert_type(api.compress(model, packed, bits=6, method="uniform"), CompressionReport)
    assert_type(api.verify(packed, against=model), VerifyReport)
    assert_type(api.inspect(packed), InspectReport)
    assert_type(api.bench([model, packed]), BenchReport)
    assert_type(api.bench_on("ssh://pi@board", packed, runs=50), BenchReport)
    api.report([folder / "latency.json"], folder / "latency.html")
    assert_type(api.bench_compare(folder / "old.json", folder / "new.json"), BenchComparison)
    assert_type(api.doctor(), DoctorReport)
    assert_type(api.embed(packed, folder / "app", target="c"), EmbedReport)
    api.decompress(packed, folder / "again.onnx")
    edgekit.load(packed).run(None, {})
    edgekit.load(packed.read_bytes(), threads=1).run(None, {})
    edgekit.load(packed, run_as="auto").run(None, {})
    return api.inspect(packed).to_dict()


assert_type(edgekit.__version__, str)
