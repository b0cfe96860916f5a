"""The benchmark on a device: `python -m edgekit.bench.remote.worker FOLDER`, started by `agent.py`.

Reads the order from FOLDER/order.json and leaves what to send in FOLDER/result.json. Lines for the
person who waits go to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path, PurePath
from typing import Any

from edgekit.bench.measure import bench
from edgekit.bench.remote.agent import PROGRESS
from edgekit.bench.results import BenchReport
from edgekit.codec import native
from edgekit.errors import EdgekitError

NUMPY_DECODES = (
    "no compiled decoder on this device: numpy decoded the packed files, so they opened more "
    "slowly; with cffi and a C compiler there it is compiled"
)


def main() -> int:
    """Measure; 0 if there is a result, also where that is an error meant for the caller."""
    folder = Path(sys.argv[1])
    order = json.loads((folder / "order.json").read_text())
    files = [folder / name for name in order["models"]]
    # The person who waits sees names of their own.
    say(f"measuring {', '.join(order['names'])}")
    try:
        report = bench(files, say=say, **order["settings"])
        finished = _finished(report, order["paths"], order["stated"])
        result = {"event": "report", "report": finished.to_dict()}
    except EdgekitError as error:
        result = {
            "event": "failed",
            "stage": "bench",
            "kind": type(error).__name__,
            "message": _translated(str(error), order),
        }
    part = folder / "result.part"
    part.write_text(json.dumps(result))
    part.replace(folder / "result.json")
    return 0


def say(text: str) -> None:
    """One line for the person who waits."""
    sys.stderr.write(f"{PROGRESS}{text}\n")
    sys.stderr.flush()


def _finished(report: BenchReport, paths: list[str], stated: dict[str, Any]) -> BenchReport:
    """The report with the caller's paths, and with what should be known of the decoder.

    Every file was measured once for each number of threads, in the order of the files.
    """
    turns = len(report.cases) // len(paths)
    cases = tuple(
        dataclasses.replace(case, path=paths[place // turns])
        for place, case in enumerate(report.cases)
    )
    packed = any(case.kind == "ekp" for case in cases)
    slow = (NUMPY_DECODES,) if packed and not native.available else ()
    return dataclasses.replace(
        report,
        settings=dataclasses.replace(report.settings, **stated),
        cases=cases,
        warnings=(*report.warnings, *slow),
    )


def _translated(message: str, order: dict[str, Any]) -> str:
    """A message that names the caller's files in place of their copies here."""
    for name, path in zip(order["models"], order["paths"], strict=True):
        copy = Path(name)
        message = message.replace(str(copy.absolute()), path).replace(name, path)
        message = message.replace(copy.name, PurePath(path).name)
    for key, path in order["stated"].items():
        message = message.replace(order["settings"][key], path)
    return message


if __name__ == "__main__":
    sys.exit(main())
