"""What runs on a device: unpacks a benchmark, runs it, sends the result, cleans up.

Its source is sent through ssh to the device's own Python, so it uses the standard library alone.
Both sides speak in lines: `EDGEKIT ` and a JSON object with an `event` towards us, plain JSON and
then the files' bytes towards the device.

```
device  hello -> facts ->                 -> received -> progress* -> report or failed -> cleaned
us                        order and bytes    an empty line now and then
                          of the files
```

All that is written lies in one private folder, which is removed at the end, also when the link is
lost: the end of input, or silence for a minute, ends the benchmark.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import IO, Any

PREFIX = "EDGEKIT "
"""Begins every line of ours; whatever a login script prints has no such beginning."""

PROGRESS = "progress: "
"""Begins the lines on the worker's stderr that are meant for the person who waits."""

FOLDER_PREFIX = "edgekit-bench-"
"""Begins the name of the folder on the device."""

_SILENCE_S = 60
_TAIL = 5
_CHUNK = 1 << 16
_IMPORT_TIMEOUT_S = 120
_BUILD_TIMEOUT_S = 300
_BUILD = "from edgekit.codec._build import ffibuilder; ffibuilder.compile()"


class LinkLostError(Exception):
    """The other side is gone."""


def main() -> int:
    """Serve one benchmark on stdin and stdout; 0 whatever the benchmark's own result is."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    temporary = tempfile.gettempdir()
    try:
        # Private to this user: mkdtemp makes folders with mode 0700.
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        # What others write, such as onnxruntime's notes of its telemetry, goes with the folder;
        # and a benchmark reports to nobody but us.
        os.environ.update(TMPDIR=str(folder), ORT_DISABLE_TELEMETRY="1")
        try:
            send("facts", **facts(temporary))
            serve(read_order(sys.stdin.buffer), folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        send("cleaned")
    except (LinkLostError, BrokenPipeError):
        return 1
    except OSError as error:
        send("failed", stage="receive", message=error.strerror or str(error))
    return 0


def send(event: str, **entries: Any) -> None:
    """One line for the other side."""
    # After a line break, because a login script may have left a line open.
    sys.stdout.write(f"\n{PREFIX}{json.dumps({'event': event, **entries})}\n")
    sys.stdout.flush()


def facts(temporary: str) -> dict[str, Any]:
    """What decides whether a benchmark can run here, and what need not be sent.

    temporary: the folder in which files would lie.
    """
    return {
        "packages": {name: _version(name) for name in ("numpy", "onnxruntime")},
        "fault": _import_fault("numpy, onnxruntime"),
        "temporary": temporary,
        "free_bytes": shutil.disk_usage(temporary).free,
        "cffi": importlib.util.find_spec("cffi") is not None,
        "installed": _installed(),
    }


def source_digest(package: Path) -> str:
    """SHA-256 over the Python files of a package, names included: equal for equal code."""
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).parts):
        data = path.read_bytes()
        total.update(f"{path.relative_to(package).as_posix()}\n{len(data)}\n".encode() + data)
    return total.hexdigest()


def read_order(stream: IO[bytes]) -> dict[str, Any]:
    """What to do: names and sizes of the files that follow, and the benchmark's settings."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise LinkLostError
    order: dict[str, Any] = json.loads(line)
    return order


def serve(order: dict[str, Any], folder: Path) -> None:
    """Receive, build, run; the outcome is sent."""
    for entry in order["files"]:
        _receive(sys.stdin.buffer, folder / entry["name"], entry["size"])
    send("received")
    lines: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    environment = dict(os.environ)
    sources = folder / "src"
    if sources.is_dir():
        paths = [str(sources), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        if order["build"]:
            _build_decoder(sources, environment, lines)
    run(order, folder, environment, lines)


def run(
    order: dict[str, Any],
    folder: Path,
    environment: dict[str, str],
    lines: queue.SimpleQueue[tuple[str, Any]],
) -> None:
    """Start the worker and wait for its result; end it where the other side is gone."""
    (folder / "order.json").write_text(json.dumps(order))
    code, tail = _supervise(
        [sys.executable, "-P", "-m", "edgekit.bench.remote.worker"],
        environment,
        folder,
        lines,
    )
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        send("failed", stage="run", code=code, tail=tail)
        return
    send(**result)


def _supervise(
    command: list[str],
    environment: dict[str, str],
    folder: Path,
    lines: queue.SimpleQueue[tuple[str, Any]],
) -> tuple[int, list[str]]:
    """Exit code and last words of a program, which ends when the link does."""
    child = subprocess.Popen(  # noqa: S603 - this Python, with words of ours
        command,
        # Stays open as long as this process lives; the worker ends with it.
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    threading.Thread(target=_relay, args=(child.stderr or (), lines), daemon=True).start()
    tail: list[str] = []
    try:
        while True:
            try:
                kind, text = lines.get(timeout=_SILENCE_S)
            except queue.Empty:
                raise LinkLostError from None
            if kind == "lost":
                raise LinkLostError
            if kind == "ended":
                return child.wait(), tail
            if kind == "said" and text.startswith(PROGRESS):
                send("progress", text=text.removeprefix(PROGRESS))
            elif kind == "said":
                tail = [*tail, text][-_TAIL:]
    finally:
        # Its own children too: it may be in the middle of a cold start.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _build_decoder(
    sources: Path, environment: dict[str, str], lines: queue.SimpleQueue[tuple[str, Any]]
) -> None:
    """Compile the decoder where a compiler and cffi are there; without it numpy decodes."""
    if shutil.which("cc") is None or importlib.util.find_spec("cffi") is None:
        return
    send("progress", text="compiling the decoder")
    _supervise([sys.executable, "-P", "-c", _BUILD], environment, sources, lines)


def _listen(lines: queue.SimpleQueue[tuple[str, Any]]) -> None:
    """Signs of life from the other side."""
    while sys.stdin.buffer.readline():
        lines.put(("alive", None))
    lines.put(("lost", None))


def _relay(stream: Iterable[bytes], lines: queue.SimpleQueue[tuple[str, Any]]) -> None:
    for line in stream:
        text = line.decode("utf-8", "replace").strip()
        if text:
            lines.put(("said", text))
    lines.put(("ended", None))


def _receive(stream: IO[bytes], path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while size:
            data = stream.read(min(size, _CHUNK))
            if not data:
                raise LinkLostError
            file.write(data)
            size -= len(data)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_fault(modules: str) -> str | None:
    """The last words of an import in a process of its own, because it may crash."""
    try:
        child = subprocess.run(  # noqa: S603 - this Python, with words of ours
            [sys.executable, "-c", f"import {modules}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_IMPORT_TIMEOUT_S,
            check=False,
            cwd=os.environ["TMPDIR"],
        )
    except subprocess.TimeoutExpired:
        return f"takes more than {_IMPORT_TIMEOUT_S} s"
    if child.returncode == 0:
        return None
    if child.returncode < 0:
        return f"crashes with signal {-child.returncode}"
    said = child.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said else f"ends with code {child.returncode}"


def _installed() -> str | None:
    """Digest of an edgekit that is installed."""
    found = importlib.util.find_spec("edgekit")
    if found is None or found.origin is None:
        return None
    return source_digest(Path(found.origin).parent)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
