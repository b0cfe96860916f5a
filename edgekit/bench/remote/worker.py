"""The benchmark on a device: `python -m edgekit.bench.remote.worker`, started by `agent.py`.

Runs in the folder of what was sent, reads the order from order.json and leaves what to send back in
result.json. Lines for the person who waits go to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

from edgekit.bench.measure import bench
from edgekit.bench.remote.agent import FOLDER_PREFIX, PROGRESS
from edgekit.bench.results import BenchReport
from edgekit.codec import native
from edgekit.errors import EdgekitError

_CLEANINGS = 40
"""Rounds until the folder is given up, two seconds."""
NUMPY_DECODES = (
    "no compiled decoder on this device: numpy decoded the packed files, so they opened more "
    "slowly; with cffi and a C compiler there it is compiled"
)


def main() -> int:
    """Measure; 0 if there is a result, also where that is an error meant for the caller."""
    folder = Path.cwd()
    if not (folder.name.startswith(FOLDER_PREFIX) and Path("order.json").is_file()):
        # Anywhere else the cleaning up would take what isn't ours.
        sys.stderr.write("this program is started by edgekit.bench.remote.agent alone\n")
        return 2
    threading.Thread(target=_end_with_agent, args=(folder,), daemon=True).start()
    order = json.loads(Path("order.json").read_text())
    say(f"measuring {', '.join(order['models'])}")
    try:
        report = bench(order["models"], say=say, **order["settings"])
        result = {"event": "report", "report": _with_warning(report).to_dict()}
    except EdgekitError as error:
        result = {
            "event": "failed",
            "stage": "bench",
            "kind": type(error).__name__,
            "message": str(error),
        }
    part = Path("result.part")
    part.write_text(json.dumps(result))
    part.replace("result.json")
    return 0


def say(text: str) -> None:
    """One line for the person who waits."""
    sys.stderr.write(f"{PROGRESS}{text}\n")
    sys.stderr.flush()


def _end_with_agent(folder: Path) -> None:
    """Clean up in place of an agent that was killed: its end is the end of our input."""
    sys.stdin.buffer.read()
    # The benchmark may write into the folder while it goes: a file more, and it stays.
    for _ in range(_CLEANINGS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.05)
    os._exit(1)


def _with_warning(report: BenchReport) -> BenchReport:
    packed = any(case.kind == "ekp" for case in report.cases)
    slow = (NUMPY_DECODES,) if packed and not native.available else ()
    return dataclasses.replace(report, warnings=(*report.warnings, *slow))


if __name__ == "__main__":
    sys.exit(main())
