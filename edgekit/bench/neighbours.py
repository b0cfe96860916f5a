"""How much of the processors other programs took meanwhile, from the kernel's own accounts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from edgekit.bench.host import ROOT
from edgekit.bench.sysfs import parse_integer, read_text

_TICKS = 100  # /proc/stat counts hundredths of a second
_WORKING = (0, 1, 2, 5, 6, 7)
"""Fields of /proc/stat's first line: user, nice, system, irq, softirq, and what a hypervisor gave
to others. Idle and waiting for disks lie between; guests are counted in user already."""

_SHORTEST_S = 0.3
"""Below, ticks of 10 ms say too little."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """Seconds at one moment: busy_s of all cores, own_s of this process and its ended children."""

    now_s: float
    busy_s: float | None
    own_s: float


def read_accounts(root: Path = ROOT) -> Accounts:
    """The accounts now."""
    words = (read_text(root / "proc/stat") or "").partition("\n")[0].split()
    ticks = [parse_integer(word) for word in words[1:]]
    known = [tick for tick in (ticks[i] for i in _WORKING if i < len(ticks)) if tick is not None]
    complete = words[:1] == ["cpu"] and len(known) == len(_WORKING)
    own = os.times()
    return Accounts(
        time.monotonic(),
        sum(known) / _TICKS if complete else None,
        own.user + own.system + own.children_user + own.children_system,
    )


def busy_elsewhere(before: Accounts, after: Accounts) -> float | None:
    """Cores' worth of time that others took; None where it isn't known or the time was short."""
    elapsed = after.now_s - before.now_s
    if before.busy_s is None or after.busy_s is None or elapsed < _SHORTEST_S:
        return None
    others = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    # The two accounts are rounded apart.
    return max(0.0, others / elapsed)
