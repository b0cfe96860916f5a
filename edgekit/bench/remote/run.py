"""Benchmarks on devices: connect, check, send, measure, fetch the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from edgekit.bench.reading import report_from_dict
from edgekit.bench.remote.address import Device, parse_device
from edgekit.bench.remote.agent import source_digest
from edgekit.bench.remote.answers import Facts, Hello
from edgekit.bench.remote.names import names_of
from edgekit.bench.remote.payload import (
    PACKAGE,
    Item,
    Model,
    data_to_send,
    models_to_send,
    sources_to_send,
)
from edgekit.bench.remote.session import Session, connect
from edgekit.bench.results import BenchReport
from edgekit.data import FASHION_MNIST
from edgekit.errors import DeviceError, EdgekitError, InputError, UsageError

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, slots=True)
class DeviceOutcome:
    """What came of one device: a report, or the error that stands for it."""

    device: str
    report: BenchReport | None
    error: EdgekitError | None


def bench_on(
    device: str,
    paths: Paths,
    *,
    python: str = "python3",
    ssh_config: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> BenchReport:
    """Measure models on a device, as `edgekit.api.bench` does here.

    device: ssh://[user@]host[:port]. python: the device's Python, which must have numpy and
    onnxruntime; a leading ~/ is the home folder there. ssh_config: a file for ssh in place of the
    user's own. say: takes a line for the person who waits. settings: of `edgekit.api.bench`.

    The files, and edgekit's own where the device has another version, are sent into a private
    temporary folder, which the device removes at the end, also after an error, Ctrl-C or a lost
    link. Without a compiler on the device numpy decodes packed files; a warning in the report says
    so.

    Raises DeviceError where the device can't be reached or used, and what `bench` raises.
    """
    place = parse_device(device)
    models = _models(paths)
    with connect(place, python=python, ssh_config=ssh_config, say=say) as session:
        return _measure(session, place, models, settings, say)


def bench_on_all(
    devices: Sequence[str],
    paths: Paths,
    *,
    python: str = "python3",
    ssh_config: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> tuple[DeviceOutcome, ...]:
    """Measure models on several devices at the same time; see `bench_on`.

    The outcomes are in the order of the devices; one that fails doesn't stop the others. Raises
    UsageError for an address that makes no sense and for one that is given twice.
    """
    places = [parse_device(device) for device in devices]
    if not places:
        raise UsageError("no device to measure on")
    if len(set(places)) < len(places):
        raise UsageError("a device is given twice; two benchmarks at once would disturb each other")
    models = _models(paths)
    sessions: list[Session] = []

    def measure(place: Device) -> BenchReport | EdgekitError:
        try:
            with connect(place, python=python, ssh_config=ssh_config, say=say) as session:
                sessions.append(session)
                return _measure(session, place, models, settings, say)
        except EdgekitError as error:
            return error

    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            results = list(pool.map(measure, places))
        except BaseException:
            # Ctrl-C reaches this thread alone, and the pool waits for its threads.
            for session in sessions:
                session.stop()
            raise
    return tuple(
        DeviceOutcome(device, None, result)
        if isinstance(result, EdgekitError)
        else DeviceOutcome(device, result, None)
        for device, result in zip(devices, results, strict=True)
    )


def _models(paths: Paths) -> tuple[Model, ...]:
    models = models_to_send([paths] if isinstance(paths, str | os.PathLike) else paths)
    if not models:
        raise UsageError("no model to measure")
    return models


def _measure(
    session: Session,
    place: Device,
    models: Sequence[Model],
    settings: dict[str, Any],
    say: Callable[[str], None],
) -> BenchReport:
    say(f"{place}: connecting")
    hello = session.hello()
    facts = session.facts()
    there = facts.installed == source_digest(PACKAGE)
    sources = () if there else _sources(hello, facts, settings)
    sent, data = data_to_send(settings)
    files = [item for model in models for item in model.items] + [*data, *sources]
    sent_bytes = sum(item.size for item in files)
    session.check(facts, sent_bytes)
    say(f"{place}: {_described(hello, facts)}; sending {sent_bytes:,} bytes")
    names = names_of(models, settings, sent)
    session.order(_order(models, files, sent), [item.path for item in files], names.in_text)
    plain = session.result()
    say(f"{place}: done")
    try:
        return names.in_report(report_from_dict(plain, f"the report of {place}"))
    except InputError as error:
        raise DeviceError(str(error)) from error


def _sources(hello: Hello, facts: Facts, settings: dict[str, Any]) -> tuple[Item, ...]:
    return sources_to_send(
        hello.machine if facts.cffi else None,
        test_images=settings.get("evaluate") == FASHION_MNIST,
    )


def _order(models: Sequence[Model], files: Sequence[Item], sent: dict[str, Any]) -> dict[str, Any]:
    """What the agent and the worker do. build: whether a decoder has yet to be compiled."""
    return {
        "files": [{"name": item.name, "size": item.size} for item in files],
        "models": [model.name for model in models],
        "build": not any(item.name.endswith(".so") for item in files),
        "settings": sent,
    }


def _described(hello: Hello, facts: Facts) -> str:
    version = ".".join(map(str, hello.version))
    return f"{hello.machine}, Python {version}, onnxruntime {facts.packages['onnxruntime']}"
