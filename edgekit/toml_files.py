"""Settings of the user's own in TOML files, read with one line for what is wrong."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError

_MOST_BYTES = 2**20
"""A device without an end is no file of settings."""


def read_toml(
    path: str | os.PathLike[str], refuse: type[EdgekitError], *, what: str = ""
) -> dict[str, Any]:
    """The table of a TOML file. what: the file is, such as `the plan`, for the error.

    Raises `refuse` where it can't be read or isn't TOML.
    """
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise refuse(f"{name} has over {_MOST_BYTES:,} bytes, too many for settings")
        return tomllib.loads(data.decode())
    except OSError as error:
        label = f"{what} {name}" if what else name
        raise refuse(f"can't read {label}: {error.strerror or error}") from error
    # Also for text that isn't UTF-8 and for numbers of thousands of digits.
    except ValueError as error:
        raise refuse(f"{name} isn't TOML: {error}") from error
    except RecursionError as error:
        raise refuse(f"{name} isn't TOML that can be read: it is nested too deeply") from error


def unknown_setting(key: str, known: Iterable[str]) -> str:
    """`no setting 'bit'; did you mean 'bits'?`, for a key that isn't among the known ones."""
    return f"no setting {key!r}{nearest(key, known)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'bits'?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, sorted(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
