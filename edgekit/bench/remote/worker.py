"""The benchmark on a device: `python -m edgekit.bench.remote.worker`, started by `agent.py`.

Runs in the folder of what was sent, reads the order from order.json and leaves what to send back in
result.json. Lines for the person who waits go to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from edgekit.bench.measure import bench
from edgekit.bench.remote.agent import FOLDER_PREFIX, PROGRESS
from edgekit.bench.results import BenchReport
from edgekit.codec import native
from edgekit.errors import EdgekitError

_CLEANER = """
import os, shutil, signal, sys, time
os.killpg(int(sys.argv[1]), signal.SIGKILL)
for _ in range(40):
    shutil.rmtree(sys.argv[2], ignore_errors=True)
    if not os.path.exists(sys.argv[2]):
        break
    time.sleep(0.05)
"""
"""Ends a process group, then removes a folder that the group may have been writing to."""

NUMPY_DECODES = (
    "no compiled decoder on this device: numpy decoded the packed files, so they opened more "
    "slowly; with cffi and a C compiler there it is compiled"
)


def main() -> int:
    """Measure; 0 if there is a result, also where that is an error meant for the caller."""
    folder = Path.cwd()
    is_ours = folder.name.startswith(FOLDER_PREFIX) and Path("order.json").is_file()
    if not is_ours or os.getpgrp() != os.getpid():
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
    """Clean up in place of an agent that was killed: its end is the end of our input.

    By a process outside of this group: whatever still runs here, a cold start's too, could write
    the folder anew after it was removed.
    """
    sys.stdin.buffer.read()
    subprocess.Popen(  # noqa: S603 - this Python, with words of ours
        [sys.executable, "-I", "-S", "-c", _CLEANER, str(os.getpgrp()), str(folder)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _with_warning(report: BenchReport) -> BenchReport:
    packed = any(case.kind == "ekp" for case in report.cases)
    slow = (NUMPY_DECODES,) if packed and not native.available else ()
    return dataclasses.replace(report, warnings=(*report.warnings, *slow))


if __name__ == "__main__":
    sys.exit(main())
