"""What the benchmark itself costs, and whether it finds a difference where there is none.

Three questions, on this machine as it is:

1. an empty network (Identity) in a bare loop around onnxruntime, and by `edgekit bench`: the
   medians may differ by 3 us;
2. one network twice in one measurement: on a quiet machine the medians differ by at most 2 %;
3. twenty such comparisons, and twenty of measurements in processes of their own: at the 99 %
   interval at most one of each twenty may say faster or slower, however busy the machine is.

Run: python benchmarks/bench_overhead.py
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from edgekit import api
from edgekit.bench.compare import BenchComparison, bench_compare
from edgekit.bench.results import BenchReport
from edgekit.bench.verdict import Verdict
from edgekit.runtime.session import session_options

MOST_OVERHEAD_S = 3e-6
MOST_DIFFERENCE = 0.02
QUIET_CORES = 0.1
ATTEMPTS = 9
COMPARISONS = 20
RUNS = 200
NETWORK = "squeezenet_fashion"


def empty_network(path: Path) -> None:
    """A network that gives its input back: one node, one number."""
    value = ("x", TensorProto.FLOAT, [1])
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "empty",
            [helper.make_tensor_value_info(*value)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    path.write_bytes(model.SerializeToString())


def bare_loop(path: Path, runs: int) -> float:
    """Median seconds of onnxruntime's run with nothing around it but a clock."""
    session = ort.InferenceSession(str(path), session_options(1))
    feed = {"x": np.zeros(1, np.float32)}
    for _ in range(100):
        session.run(None, feed)
    times = []
    gc.disable()
    for _ in range(runs):
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    gc.enable()
    return statistics.median(times)


def overhead(folder: Path) -> float:
    """Median by the benchmark less the bare loop's, in seconds.

    Each is the lowest of several attempts, because a neighbour can only add to one.
    """
    path = folder / "empty.onnx"
    empty_network(path)
    ours, bare = [], []
    for _ in range(ATTEMPTS):
        report = api.bench(path, runs=2000, warmup=100, cold=False)
        ours.append(report.cases[0].warm.p50_s)
        bare.append(bare_loop(path, 2000))
    return min(ours) - min(bare)


def saved(report: BenchReport, path: Path) -> Path:
    """The report as a file, as `bench compare` takes it."""
    path.write_text(json.dumps(report.to_dict()), encoding="utf-8")
    return path


def together(network: Path, folder: Path) -> list[BenchComparison]:
    """The same file twice in one measurement, again and again."""
    found = []
    for _ in range(COMPARISONS):
        report = api.bench([network, network], runs=RUNS, cold=False)
        found.append(
            bench_compare(saved(report, folder / "both.json"), a=network.name, b=network.name)
        )
    return found


def apart(network: Path, folder: Path) -> list[BenchComparison]:
    """The same file in two processes, one after the other, again and again."""
    words = [sys.executable, "-m", "edgekit.cli.main", "bench", str(network), "--no-cold"]
    found = []
    for _ in range(COMPARISONS):
        paths = [folder / "old.json", folder / "new.json"]
        for path in paths:
            subprocess.run(
                [*words, "--runs", str(RUNS), "-o", str(path)], check=True, capture_output=True
            )
        found.append(bench_compare(*paths))
    return found


def told_apart(title: str, comparisons: list[BenchComparison]) -> int:
    """Print what came out; how many said faster or slower."""
    ratios = [pair.ratio for found in comparisons for pair in found.pairs if pair.ratio is not None]
    verdicts = Counter(pair.verdict for found in comparisons for pair in found.pairs)
    wrong = verdicts[Verdict.FASTER] + verdicts[Verdict.SLOWER]
    largest = max(abs(ratio.value - 1) for ratio in ratios)
    width = statistics.median(ratio.high / ratio.low - 1 for ratio in ratios)
    print(
        f"{title}: {wrong} of {len(ratios)} said faster or slower, {verdicts[Verdict.UNDECIDED]} "
        f"left it open; ratio up to {largest:.1%} from 1, intervals {width:.1%} wide in the median"
    )
    return wrong


def main() -> int:
    """Print the answers; 1 where one of them is no."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = folder / f"{NETWORK}.onnx"
        api.export(NETWORK, network)
        extra = overhead(folder)
        print(f"overhead of a run: {1e6 * extra:.2f} us (allowed {1e6 * MOST_OVERHEAD_S:.0f})")
        report = api.bench([network, network], runs=1000, cold=False)
        first, second = (case.warm.p50_s for case in report.cases)
        others = report.others_busy
        busy = others is None or others > QUIET_CORES
        state = "unknown" if others is None else f"others took {others:.2f} cores"
        print(f"the same file twice: {abs(second / first - 1):.2%} apart ({state})")
        wrong = told_apart("compared in one measurement", together(network, folder))
        wrong_apart = told_apart("compared across two processes", apart(network, folder))
    failed = extra > MOST_OVERHEAD_S or max(wrong, wrong_apart) > 1
    # Only a quiet machine promises a small difference; the interval is for all others.
    failed = failed or (not busy and abs(second / first - 1) > MOST_DIFFERENCE)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
