"""Cold starts of a model, each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import edgekit
from edgekit.bench.results import ColdStart, Settings
from edgekit.errors import ModelFileError

_IMPORT_ROOT = Path(edgekit.__file__).parents[1]


def cold_start(path: Path, threads: int, settings: Settings) -> ColdStart:
    """Start a model once, as an app does. Raises ModelFileError with the process's last words."""
    request = {
        "path": str(path.resolve()),
        "threads": threads,
        "spinning": settings.spinning,
        "provider": settings.provider,
        "run_as": settings.run_as,
        "input_shape": settings.input_shape,
        "input_data": settings.input_data,
        "batch": settings.batch,
        "seed": settings.seed,
    }
    paths = [str(_IMPORT_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    # -P keeps the folder that the user is in off the import path; ours is put on it, because this
    # package may not be installed.
    child = subprocess.run(
        [sys.executable, "-P", "-m", "edgekit.bench.child"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    if child.returncode != 0:
        said = child.stderr.strip().splitlines() or [f"ended with code {child.returncode}"]
        raise ModelFileError(f"cold start of {path} failed: {said[-1]}")
    return ColdStart(**json.loads(child.stdout))
