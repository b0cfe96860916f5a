"""Measure how fast models start and answer on this machine."""

from __future__ import annotations

import datetime as dt
import gc
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgekit.arrays import read_inputs
from edgekit.bench.caution import cautions
from edgekit.bench.change import meanwhile
from edgekit.bench.checks import bound_to, check
from edgekit.bench.cold import cold_start
from edgekit.bench.evaluate import choose_preprocess, read_labelled
from edgekit.bench.evaluate import evaluate as evaluate_model
from edgekit.bench.feed import Feed, make_feed
from edgekit.bench.findings import Endurance, Profile
from edgekit.bench.host import read_host
from edgekit.bench.neighbours import busy_elsewhere, read_accounts
from edgekit.bench.opening import CPU, full_provider_name, open_model, run_once
from edgekit.bench.profile import profile_model
from edgekit.bench.results import KINDS, TURN, BenchReport, Case, ColdStart, Settings
from edgekit.bench.state import read_state
from edgekit.bench.statistics import summarize
from edgekit.bench.sustain import sustain
from edgekit.bench.watch import Watch
from edgekit.errors import UsageError
from edgekit.runtime.session import read_source

COLD_STARTS = 3
_WATCH_S = 5.0
"""Between two looks at the machine in the warm runs: rare enough to meet few of them."""

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
    input_data: str | os.PathLike[str] | None = None,
    seed: int = 0,
    cold: bool = True,
    spinning: bool = False,
    provider: str = CPU,
    affinity: Sequence[int] | None = None,
    profile: bool = False,
    sustain_s: float | None = None,
    evaluate: str | os.PathLike[str] | None = None,
    preprocess: str | os.PathLike[str] | None = None,
    run_as: str | None = None,
    say: Callable[[str], None] | None = None,
) -> BenchReport:
    """Measure load time, first answer and latency of ONNX and packed files.

    threads: of one operator; with several numbers every file is measured with each. max_seconds:
    for all warm runs together, after which they end; each case has at least one turn. precision:
    see Settings. input_data: an .npz file, an .npy file or a folder of .npy files; without it
    inputs are random. cold: also start each case in fresh processes. provider: such as cpu or
    XnnpackExecutionProvider. affinity: cores to run on. profile: also time each layer. sustain_s:
    seconds of runs without a pause, of each case. evaluate: data with labels, as
    edgekit.data.load_labelled takes them, for top-1 accuracy; preprocess: how its pictures become
    inputs, by default as the packed files among the models say. run_as: the form that packed files
    are run in, "float" or "int8"; None for what each says. say: gets a line when a stage begins.

    Warm runs take turns in an order drawn from `seed`, so that all cases share the machine's
    mood; the first run of a turn isn't counted where there are several cases, because it pays for
    the caches that the others used. The timer stands around onnxruntime's run alone, with
    Python's garbage collector off and, unless `spinning`, onnxruntime's idle threads asleep.
    Profiles, runs without a pause and accuracy come after the timed runs, in that order.

    Raises UsageError for impossible settings, InputError for a file that can't be read,
    FormatError and ModelFileError for one that can't be opened or run, DataError for data.
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
        spinning=spinning,
        provider=full_provider_name(provider),
        affinity=None if affinity is None else tuple(affinity),
        input_data=None if input_data is None else os.fspath(input_data),
        profile=profile,
        sustain_s=sustain_s,
        evaluate=None if evaluate is None else os.fspath(evaluate),
        preprocess=None if preprocess is None else os.fspath(preprocess),
        run_as=run_as,
    )
    check(settings)
    files = [Path(path) for path in _listed(paths)]
    if not files:
        raise UsageError("no model to measure")
    with bound_to(settings.affinity):
        return _measure(files, settings, say or (lambda _: None))


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


def _measure(files: Sequence[Path], settings: Settings, say: Callable[[str], None]) -> BenchReport:
    host, before = read_host(), read_state()
    given = None if settings.input_data is None else read_inputs(Path(settings.input_data))
    subjects = [_open(file, count, settings, given) for file in files for count in settings.threads]
    labelled = None
    if settings.evaluate is not None:
        first = next(iter(subjects[0].feed.values()), None)
        shape = () if first is None else first.shape
        pictures = choose_preprocess(files, settings.preprocess, shape)
        labelled = read_labelled(settings.evaluate, pictures)
    accounts = read_accounts()
    say("cold starts" if settings.cold else "warm runs")
    starts = [_cold_starts(subject, settings) if settings.cold else () for subject in subjects]
    with Watch(_WATCH_S) as watching:
        times = measure_warm(subjects, settings)
    others_busy = busy_elsewhere(accounts, read_accounts())
    # What a board does under load for minutes is in the windows; it mustn't taint the runs before.
    after = read_state()
    profiles = [_profile(subject, settings) if settings.profile else None for subject in subjects]
    endured = [_sustain(subject, settings, say) for subject in subjects]
    cases = tuple(
        Case(
            path=str(subject.path),
            kind=subject.kind,
            file_bytes=subject.file_bytes,
            sha256=subject.sha256,
            threads=subject.threads,
            inputs={name: array.shape for name, array in subject.feed.items()},
            dtypes={name: array.dtype.name for name, array in subject.feed.items()},
            items=_items(subject.feed),
            cold=cold,
            warm=summarize(samples),
            times_s=tuple(samples),
            profile=profiled,
            endurance=endurance,
            accuracy=None
            if labelled is None
            else evaluate_model(subject.session, labelled, subject.path.name),
        )
        for subject, cold, samples, profiled, endurance in zip(
            subjects, starts, times, profiles, endured, strict=True
        )
    )
    return BenchReport(
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        settings=settings,
        host=host,
        before=before,
        after=after,
        warnings=(
            *cautions(
                host,
                before,
                after,
                cases,
                others_busy=others_busy,
                bound=None if settings.affinity is None else len(set(settings.affinity)),
            ),
            *meanwhile(before, after, watching),
        ),
        cases=cases,
        others_busy=others_busy,
    )


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


def _open(
    path: Path,
    threads: int,
    settings: Settings,
    given: Mapping[str, NDArray[Any]] | None,
) -> Subject:
    data = read_source(path)
    opened = open_model(
        path,
        threads=threads,
        spinning=settings.spinning,
        provider=settings.provider,
        run_as=settings.run_as,
    )
    feed = make_feed(
        opened.session,
        path.name,
        input_shape=settings.input_shape,
        batch=settings.batch,
        seed=settings.seed,
        given=given,
    )
    # A model that can't be run is found here, before time goes into the others.
    run_once(opened.session, feed, path.name)
    return Subject(
        path=path,
        kind=KINDS[opened.form],
        file_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        threads=threads,
        session=opened.session,
        feed=feed,
    )


def _cold_starts(subject: Subject, settings: Settings) -> tuple[ColdStart, ...]:
    return tuple(cold_start(subject.path, subject.threads, settings) for _ in range(COLD_STARTS))


def _profile(subject: Subject, settings: Settings) -> Profile:
    return profile_model(
        subject.path,
        subject.feed,
        threads=subject.threads,
        spinning=settings.spinning,
        provider=settings.provider,
        run_as=settings.run_as,
    )


def _sustain(subject: Subject, settings: Settings, say: Callable[[str], None]) -> Endurance | None:
    if settings.sustain_s is None:
        return None
    say(f"{subject.path.name} without a pause for {settings.sustain_s:g} s")
    return sustain(
        lambda: run_once(subject.session, subject.feed, subject.path.name), settings.sustain_s
    )


def _items(feed: Feed) -> int:
    first = next(iter(feed.values()), None)
    return 1 if first is None or first.ndim == 0 else first.shape[0]


def _listed(paths: PathOrPaths) -> Sequence[str | os.PathLike[str]]:
    return [paths] if isinstance(paths, str | os.PathLike) else paths
