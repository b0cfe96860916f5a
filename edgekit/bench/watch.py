"""A machine's state again and again while something runs."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from edgekit.bench.host import ROOT
from edgekit.bench.state import THROTTLE_BITS, State, Zone, read_state

_LEAST_INTERVAL_S = 0.01


class Watch:
    """Reads the state every `interval_s` seconds in a thread of its own, as a context manager.

    `samples` are pairs of elapsed seconds and state; the first is taken at the start and the last
    at the end, so a block of any length has two. A reading that fails as a whole is left out:
    watching never ends what is watched. Reading takes a few milliseconds of Python's time, so an
    interval of some seconds keeps it out of almost all runs.
    """

    def __init__(self, interval_s: float, root: Path = ROOT) -> None:
        self._interval_s = max(interval_s, _LEAST_INTERVAL_S)
        self._root = root
        self._samples: list[tuple[float, State]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgekit-watch", daemon=True)
        self._start = 0.0

    @property
    def samples(self) -> tuple[tuple[float, State], ...]:
        """What was seen so far, in the order of time."""
        return tuple(self._samples)

    @property
    def hottest(self) -> Zone | None:
        """The highest temperature of all samples; None where no zone gives one."""
        zones = [z for _, state in self._samples for z in state.zones if z.celsius is not None]
        return max(zones, key=lambda zone: zone.celsius or 0.0, default=None)

    @property
    def throttled(self) -> tuple[str, ...]:
        """Words of THROTTLE_BITS that were live in some sample, in their order."""
        live = {word for _, state in self._samples if state.throttle for word in state.throttle.now}
        return tuple(word for word in THROTTLE_BITS if word in live)

    def __enter__(self) -> Self:
        """Take the first sample and start the thread."""
        self._start = time.monotonic()
        self._take()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the thread and take the last sample."""
        self._done.set()
        self._thread.join()
        self._take()

    def _run(self) -> None:
        while not self._done.wait(self._interval_s):
            self._take()

    def _take(self) -> None:
        try:
            state = read_state(self._root)
        except OSError:
            return
        self._samples.append((time.monotonic() - self._start, state))
