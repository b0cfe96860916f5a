"""Writing results so that a killed run leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import OutputError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    An exception, Ctrl-C included, removes the temporary file and leaves `path` as it was.
    Raises OutputError where the folder is missing, is read-only, or the disk is full.
    """
    target = Path(path)
    if target.exists() and not (target.is_file() or target.is_dir()):
        # Renaming over a device would take the device away.
        raise OutputError(f"can't write {target}: it isn't a regular file; name another one")
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent
        )
    except OSError as error:
        raise OutputError(_reason(target, error)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; a result gets the permissions of any new file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(_reason(target, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` through a temporary file beside it. Raises OutputError."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Say before the work what would otherwise fail after it. Raises OutputError."""
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"can't write {target}: it is a folder; name a file")
    if not target.parent.is_dir():
        raise OutputError(_no_folder(target))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _reason(target: Path, error: OSError) -> str:
    if not target.parent.is_dir():
        return _no_folder(target)
    return f"can't write {target}: {error.strerror or error}"


def _no_folder(target: Path) -> str:
    return f"can't write {target}: the folder {target.parent} doesn't exist; create it first"
