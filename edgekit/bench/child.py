"""A cold start in a process of its own: `python -m edgekit.bench.child`, started by `cold.py`.

Reads one JSON object from stdin (what `cold_start` takes) and writes one to stdout.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter_ns()

# What follows is part of what is measured.
import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from edgekit.arrays import read_inputs  # noqa: E402
from edgekit.bench.feed import make_feed  # noqa: E402
from edgekit.bench.opening import open_model, run_once  # noqa: E402
from edgekit.errors import EdgekitError  # noqa: E402

_IMPORTED = time.perf_counter_ns()


def main() -> int:
    """Measure one start; 0 if it worked, else a line on stderr."""
    request = json.loads(sys.stdin.read())
    path = Path(request["path"])
    try:
        # Read before the first look at the memory: they aren't the model's.
        given = None if request["input_data"] is None else read_inputs(Path(request["input_data"]))
        base_bytes = peak_bytes()
        opened = open_model(
            path,
            threads=request["threads"],
            spinning=request["spinning"],
            provider=request["provider"],
            run_as=request["run_as"],
        )
        feed = make_feed(
            opened.session,
            path.name,
            input_shape=request["input_shape"],
            batch=request["batch"],
            seed=request["seed"],
            given=given,
        )
        first_run_s = run_once(opened.session, feed, path.name)
    except EdgekitError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    json.dump(
        {
            "import_s": (_IMPORTED - _STARTED) * 1e-9,
            "decode_s": opened.decode_s,
            "session_s": opened.session_s,
            "first_run_s": first_run_s,
            "peak_bytes": peak_bytes(),
            "base_bytes": base_bytes,
        },
        sys.stdout,
    )
    return 0


def peak_bytes() -> int | None:
    """Most memory that this process has had in use; None where the system doesn't tell.

    From VmHWM: ru_maxrss also counts what the parent had before it started this program.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    return None


if __name__ == "__main__":
    sys.exit(main())
