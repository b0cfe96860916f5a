"""Small files of the kernel: unreadable, vanished or senseless ones are None, never 0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_MOST_BYTES = 1 << 20


def read_text(path: Path) -> str | None:
    """A file's text without NULs and outer white space; None where it can't be read or is empty."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES)
    # Some drivers answer with EINVAL or EIO; a path with a NUL is a ValueError.
    except (OSError, ValueError):
        return None
    return raw.decode("utf-8", "replace").replace("\0", " ").strip() or None


def read_integer(path: Path, base: int = 10) -> int | None:
    """A file that holds one whole number; None for anything else."""
    return parse_integer(read_text(path), base)


def parse_integer(text: str | None, base: int = 10) -> int | None:
    """A whole number; None for anything else."""
    try:
        return None if text is None else int(text, base)
    except ValueError:
        return None


def parse_float(text: str | None) -> float | None:
    """A finite number; None for anything else."""
    try:
        value = None if text is None else float(text)
    except ValueError:
        return None
    return value if value is not None and abs(value) < float("inf") else None


def folders(parent: Path, prefix: str) -> Iterator[Path]:
    """Folders called prefix + number, in the order of their numbers."""
    try:
        found = [child for child in parent.iterdir() if child.name.startswith(prefix)]
    except OSError:
        return
    numbered = [(child.name.removeprefix(prefix), child) for child in found]
    yield from (
        child
        for _, child in sorted((int(n), c) for n, c in numbered if n.isascii() and n.isdigit())
    )
