"""Types of the shared fixtures, for annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the command line left behind."""

    exit_code: int
    stdout: str
    stderr: str


class Cli(Protocol):
    """Runs `edgekit` with the given words in this process, stdout and stderr captured."""

    def __call__(self, *arguments: str | Path) -> Outcome: ...
