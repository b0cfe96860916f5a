"""How long `edgekit --help` takes: the median of ten runs, each in a new process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 10


def run_s() -> float:
    """Seconds of wall time for one run of the program's help."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", "--help"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def main() -> None:
    """Measure after one run that warms the file cache, and print one line."""
    run_s()
    times_s = [run_s() for _ in range(RUNS)]
    print(
        f"edgekit --help: median {statistics.median(times_s) * 1000:.0f} ms of {RUNS} runs,"
        f" from {min(times_s) * 1000:.0f} to {max(times_s) * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
