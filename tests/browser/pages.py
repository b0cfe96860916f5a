"""Pages for a browser to check: `python -m tests.browser.pages FOLDER`.

measured.html: two forms of a network of the zoo, measured here with all that can be asked for.
crowded.html: many cases, long and hostile names, a board that gets hot. bare.html: one run on a
machine of which nothing is known. both.html: two reports on one page.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekit import api, data
from edgekit.bench.results import BenchReport
from edgekit.report.latency_page import render_page
from tests.bench.reports import NOBODY, UNKNOWN, case, report
from tests.report.test_latency_page import FULL, PACKED, TIMES

NETWORK = "mobilenetv2_fashion"
HOSTILE = (
    '</script><script>alert(1)</script><img src="http://127.0.0.1:9/x" onerror="alert(2)">.onnx'
)


def measured(folder: Path) -> BenchReport:
    """A network as ONNX and packed."""
    onnx, packed = folder / f"{NETWORK}.onnx", folder / f"{NETWORK}-6bit.ekp"
    api.export(NETWORK, onnx)
    api.compress(onnx, packed, bits=6)
    raw = data.read_fashion_mnist("test")
    images = folder / "images.npz"
    np.savez(images, inputs=data.normalise(raw.images[:500]), labels=raw.labels[:500])
    return api.bench(
        [onnx, packed],
        runs=60,
        threads=(1, 2),
        profile=True,
        sustain_s=0.5,
        evaluate=images,
    )


def crowded() -> BenchReport:
    """Nine cases, more than there are colours."""
    names = (HOSTILE, "networks/" + "long_name_" * 12 + ".ekp", *(f"{i}.onnx" for i in range(6)))
    cases = [case(TIMES * (1 + place), path=name) for place, name in enumerate(names)]
    warnings = tuple(f"warning number {number} with some words to read" for number in range(4))
    return replace(report(*cases, PACKED), warnings=warnings)


def main() -> None:
    """Write the pages."""
    folder = Path(sys.argv[1])
    bare = report(case([1e-3], cold=False), host=NOBODY, state=UNKNOWN)
    pages = {
        "measured": [measured(folder)],
        "crowded": [crowded()],
        "bare": [bare],
        "both": [FULL, bare],
    }
    for name, reports in pages.items():
        (folder / f"{name}.html").write_text(render_page(reports), encoding="utf-8")


if __name__ == "__main__":
    main()
