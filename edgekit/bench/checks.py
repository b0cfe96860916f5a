"""Refuse settings that make no sense, and bind the process to cores."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from edgekit.bench.results import Settings
from edgekit.errors import UsageError
from edgekit.runtime.session import MOST_THREADS

_LONGEST_S = 24 * 3600.0


def check(settings: Settings) -> None:
    """Raises UsageError that names the setting."""
    limits = [
        ("warmup", settings.warmup, 0),
        ("runs", settings.runs, 1),
        ("batch", settings.batch, 1),
        ("seed", settings.seed, 0),
        *(("threads", count, 1) for count in settings.threads or (0,)),
    ]
    for name, value, least in limits:
        if value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")
    if max(settings.threads, default=1) > MOST_THREADS:
        raise UsageError(f"threads must be at most {MOST_THREADS}, got {max(settings.threads)}")
    if settings.max_seconds is not None and not settings.max_seconds > 0:
        raise UsageError(f"max_seconds must be above 0, got {settings.max_seconds}")
    if settings.precision is not None and not 0 < settings.precision < 1:
        raise UsageError(f"precision is a share between 0 and 1, got {settings.precision}")
    if settings.sustain_s is not None and not 0 < settings.sustain_s <= _LONGEST_S:
        raise UsageError(f"sustain must be above 0 and at most a day, got {settings.sustain_s} s")
    if settings.run_as not in {None, "float", "int8"}:
        raise UsageError(f"run_as must be float or int8, got {settings.run_as!r}")
    if settings.input_shape is not None:
        _check_input_shape(settings)
    if settings.preprocess is not None and settings.evaluate is None:
        raise UsageError("preprocess says how pictures to evaluate on become inputs: give them too")


def _check_input_shape(settings: Settings) -> None:
    if settings.batch != 1:
        raise UsageError("give either a batch or an input shape, which holds the batch already")
    if settings.input_data is not None:
        raise UsageError("give either input data or an input shape, which the data have already")


@contextlib.contextmanager
def bound_to(cores: Sequence[int] | None) -> Iterator[None]:
    """This thread, and what it starts, on these cores only; None for no change.

    Raises UsageError for cores that the process may not use.
    """
    if cores is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("this system can't bind a process to cores; leave affinity out")
    usable = os.sched_getaffinity(0)
    wrong = sorted(set(cores) - usable)
    if wrong or not cores:
        raise UsageError(
            f"affinity: core {wrong[0] if wrong else '-'} isn't among the usable ones, "
            f"{', '.join(map(str, sorted(usable)))}"
        )
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)
