"""Measure how fast models start and answer on this machine."""

from __future__ import annotations

import datetime as dt
import gc
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgekit.bench.caution import cautions
from edgekit.bench.cold import cold_start
from edgekit.bench.feed import Feed, make_feed
from edgekit.bench.host import read_host
from edgekit.bench.opening import open_model, run_once
from edgekit.bench.results import TURN, BenchReport, Case, ColdStart, Settings
from edgekit.bench.state import read_state
from edgekit.bench.statistics import summarize
from edgekit.errors import UsageError
from edgekit.runtime.session import is_packed, read_source

COLD_STARTS = 3
_FEWEST = 20
"""Runs before `precision` may end a case: the interval of a shorter sample is too uncertain."""

PathOrPaths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def bench(
    paths: PathOrPaths,
    *,
    warmup: int = 10,
    runs: int = 100,
    threads: int | Sequence[int] = 1,
    max_seconds: float | None = None,
    precision: float | None = None,
    batch: int = 1,
    input_shape: Sequence[int] | None = None,
    seed: int = 0,
    cold: bool = True,
) -> BenchReport:
    """Measure load time, first answer and latency of ONNX and packed files.

    threads: of one operator; with several numbers every file is measured with each. max_seconds:
    for all warm runs together, after which they end; each case has at least one turn. precision:
    see Settings. cold: also start each case in fresh processes.

    Warm runs take turns in an order drawn from `seed`, so that all cases share the machine's
    mood; the first run of a turn isn't counted where there are several cases, because it pays for
    the caches that the others used. The timer stands around onnxruntime's run alone, with
    Python's garbage collector off and onnxruntime's idle threads asleep. Inputs are random.

    Raises UsageError for impossible settings, InputError for a file that can't be read,
    FormatError and ModelFileError for one that can't be opened or run.
    """
    settings = Settings(
        warmup=warmup,
        runs=runs,
        threads=(threads,) if isinstance(threads, int) else tuple(threads),
        max_seconds=max_seconds,
        precision=precision,
        batch=batch,
        input_shape=None if input_shape is None else tuple(input_shape),
        seed=seed,
        cold=cold,
    )
    _check(settings)
    files = [Path(path) for path in _listed(paths)]
    if not files:
        raise UsageError("no model to measure")
    host, before = read_host(), read_state()
    subjects = [_open(file, count, settings) for file in files for count in settings.threads]
    starts = [_cold_starts(subject, settings) if cold else () for subject in subjects]
    times = measure_warm(subjects, settings)
    after = read_state()
    cases = tuple(
        _case(subject, start, samples)
        for subject, start, samples in zip(subjects, starts, times, strict=True)
    )
    return BenchReport(
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        settings=settings,
        host=host,
        before=before,
        after=after,
        warnings=cautions(host, before, after, cases),
        cases=cases,
    )


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is open, with what it is fed."""

    path: Path
    kind: str
    file_bytes: int
    sha256: str
    threads: int
    session: ort.InferenceSession
    feed: Feed


def measure_warm(subjects: Sequence[Subject], settings: Settings) -> list[list[float]]:
    """Seconds of each warm run of each subject, in the order of time."""
    for subject in subjects:
        for _ in range(settings.warmup):
            run_once(subject.session, subject.feed, subject.path.name)
    times: list[list[float]] = [[] for _ in subjects]
    rng = np.random.default_rng(settings.seed)
    deadline = None if settings.max_seconds is None else time.monotonic() + settings.max_seconds
    collecting = gc.isenabled()
    gc.disable()
    try:
        while open_cases := [i for i, sample in enumerate(times) if not _enough(sample, settings)]:
            for index in rng.permutation(open_cases):
                subject, sample = subjects[index], times[index]
                if len(subjects) > 1:
                    run_once(subject.session, subject.feed, subject.path.name)
                _turn(subject, sample, settings.runs, deadline)
            if deadline is not None and time.monotonic() >= deadline:
                break
    finally:
        if collecting:
            gc.enable()
    return times


def _turn(subject: Subject, sample: list[float], runs: int, deadline: float | None) -> None:
    for _ in range(min(TURN, runs - len(sample))):
        sample.append(run_once(subject.session, subject.feed, subject.path.name))
        if deadline is not None and time.monotonic() >= deadline:
            return


def _enough(sample: Sequence[float], settings: Settings) -> bool:
    if len(sample) >= settings.runs:
        return True
    if settings.precision is None or len(sample) < _FEWEST:
        return False
    return summarize(sample).precision <= settings.precision


def _open(path: Path, threads: int, settings: Settings) -> Subject:
    data = read_source(path)
    opened = open_model(path, threads=threads)
    feed = make_feed(
        opened.session,
        path.name,
        input_shape=settings.input_shape,
        batch=settings.batch,
        seed=settings.seed,
    )
    # A model that can't be run is found here, before time goes into the others.
    run_once(opened.session, feed, path.name)
    return Subject(
        path=path,
        kind="ekp" if is_packed(data) else "onnx",
        file_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        threads=threads,
        session=opened.session,
        feed=feed,
    )


def _cold_starts(subject: Subject, settings: Settings) -> tuple[ColdStart, ...]:
    return tuple(
        cold_start(
            subject.path,
            threads=subject.threads,
            input_shape=settings.input_shape,
            batch=settings.batch,
            seed=settings.seed,
        )
        for _ in range(COLD_STARTS)
    )


def _case(subject: Subject, cold: tuple[ColdStart, ...], times: Sequence[float]) -> Case:
    first = next(iter(subject.feed.values()), None)
    return Case(
        path=str(subject.path),
        kind=subject.kind,
        file_bytes=subject.file_bytes,
        sha256=subject.sha256,
        threads=subject.threads,
        inputs={name: array.shape for name, array in subject.feed.items()},
        dtypes={name: array.dtype.name for name, array in subject.feed.items()},
        items=1 if first is None or first.ndim == 0 else first.shape[0],
        cold=cold,
        warm=summarize(times),
        times_s=tuple(times),
    )


def _listed(paths: PathOrPaths) -> Sequence[str | os.PathLike[str]]:
    return [paths] if isinstance(paths, str | os.PathLike) else paths


def _check(settings: Settings) -> None:
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
    if settings.max_seconds is not None and not settings.max_seconds > 0:
        raise UsageError(f"max_seconds must be above 0, got {settings.max_seconds}")
    if settings.precision is not None and not 0 < settings.precision < 1:
        raise UsageError(f"precision is a share between 0 and 1, got {settings.precision}")
    if settings.batch != 1 and settings.input_shape is not None:
        raise UsageError("give either a batch or an input shape, which holds the batch already")
