"""Writing results so that a killed run leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import OutputError, UsageError


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


def check_apart(
    outputs: Iterable[str | os.PathLike[str] | None], sources: Iterable[object] = ()
) -> None:
    """Say before the work that a result would take the place of a source, or of another result.

    sources: paths, also as `file.py:function`; what names no file, such as None, bytes or a name
    that edgekit knows, is passed over. Links are followed. Raises UsageError.
    """
    named = [Path(output) for output in outputs if output is not None]
    read = [path for source in sources for path in _files_of(source)]
    for number, output in enumerate(named):
        for source in read:
            if _is_same(output, source):
                raise UsageError(
                    f"{output} would take the place of {source}, which is read; name another file"
                )
        if any(_is_same(output, other) for other in named[:number]):
            raise UsageError(f"two results can't be one file, {output}; name another one")


def _files_of(source: object) -> list[Path]:
    """The file that a source names, if it is there."""
    if not isinstance(source, str | os.PathLike):
        return []
    name = os.fspath(source)
    texts = [name, name.rpartition(":")[0]] if isinstance(name, str) else []
    return [Path(text) for text in texts if "\0" not in text and Path(text).is_file()][:1]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        # A result that isn't there yet has a place all the same.
        return os.path.realpath(one) == os.path.realpath(other)


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
