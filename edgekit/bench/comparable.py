"""Why two latencies may not be compared: each difference beside the model itself, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgekit.bench.caution import new_throttling
from edgekit.bench.results import BenchReport, Case

REASONS = {
    "throttled": "a board limited itself during the runs",
    "voltage": "a supply voltage was too low",
    "neighbours": "other programs ran during one of two measurements",
    "processor": "another processor, or other features of it",
    "board": "another board",
    "cores": "another number of usable cores",
    "governor": "another governor of the clock",
    "clock": "another highest clock",
    "onnxruntime": "another version of onnxruntime",
    "provider": "another execution provider",
    "run_as": "another run form of packed files",
    "spinning": "idle threads spin in one only",
    "affinity": "bound to other cores",
    "container": "in a container in one only",
    "threads": "another number of threads",
    "inputs": "inputs of another shape or type",
    "data": "inputs from another place",
}
"""Every reason by its key, which `accept` takes."""

SPOILED = frozenset({"throttled", "voltage", "neighbours"})
"""Reasons that make times wrong, so that they allow no verdict. The others make them right under
different conditions: faster is faster then, though not for the model's sake."""

_BUSY = 0.1
_OWN_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Reason:
    """key: of REASONS. words: both values, for people."""

    key: str
    words: str


def machine_reasons(old: BenchReport, new: BenchReport) -> tuple[Reason, ...]:
    """What differs between the machines, their states and the settings."""
    return (*_own_trouble(old, new), *_differing(old, new))


def case_reasons(old: Case, new: Case) -> tuple[Reason, ...]:
    """What differs between two cases beside the file."""
    found = []
    if old.threads != new.threads:
        found.append(Reason("threads", f"threads: {old.threads} and {new.threads}"))
    left, right = _inputs(old), _inputs(new)
    if left != right:
        found.append(
            Reason(
                "inputs", f"inputs: {', '.join(left) or 'none'} and {', '.join(right) or 'none'}"
            )
        )
    return tuple(found)


def _own_trouble(old: BenchReport, new: BenchReport) -> Iterator[Reason]:
    sides = [("old", old)] if old is new else [("old", old), ("new", new)]
    for side, report in sides:
        before, after = report.before, report.after
        if before.throttle is not None and after.throttle is not None:
            limits = new_throttling(before.throttle, after.throttle)
            if limits:
                yield Reason(
                    "throttled", f"{side} report: the board limited itself: {', '.join(limits)}"
                )
        if before.under_voltage or after.under_voltage:
            yield Reason("voltage", f"{side} report: the supply voltage was too low")
        # Cases of one report took turns, so that neighbours slowed all of them.
        words = None if old is new else _neighbours(report)
        if words is not None:
            yield Reason("neighbours", f"{side} report: {words}")


def _neighbours(report: BenchReport) -> str | None:
    if report.others_busy is not None:
        busy = report.others_busy > _BUSY
        return f"other programs took {report.others_busy:.2f} cores meanwhile" if busy else None
    # A mean over the minute before, in which this program may have run as well.
    load = report.before.load
    if load is not None and load > max(report.settings.threads) + _OWN_LOAD:
        return f"other programs were running, load {load:.2f}"
    return None


def _differing(old: BenchReport, new: BenchReport) -> Iterator[Reason]:
    """Facts that both reports know and that differ; what one doesn't know can't be held against."""
    cpus = old.host.cpu, new.host.cpu
    settings = old.settings, new.settings
    facts: list[tuple[str, str, object, object]] = [
        ("processor", "processor", cpus[0].model, cpus[1].model),
        ("processor", "architecture", cpus[0].architecture, cpus[1].architecture),
        ("processor", "processor features", _joined(cpus[0].flags), _joined(cpus[1].flags)),
        ("board", "board", old.host.board, new.host.board),
        ("cores", "usable cores", cpus[0].usable, cpus[1].usable),
        ("governor", "governor", _governors(old), _governors(new)),
        ("clock", "highest clock in MHz", _highest_clock(old), _highest_clock(new)),
        (
            "onnxruntime",
            "onnxruntime",
            old.host.versions.get("onnxruntime"),
            new.host.versions.get("onnxruntime"),
        ),
        ("container", "container", _container(old), _container(new)),
    ]
    for key, what, left, right in facts:
        if left is not None and right is not None and left != right:
            yield Reason(key, f"{what}: {left} and {right}")
    first, second = settings
    if first.provider != second.provider:
        yield Reason("provider", f"provider: {first.provider} and {second.provider}")
    if first.run_as != second.run_as:
        forms = (chosen.run_as or "as the file says" for chosen in settings)
        yield Reason("run_as", f"run as: {' and '.join(forms)}")
    if first.spinning != second.spinning:
        spinning = ("on" if chosen.spinning else "off" for chosen in settings)
        yield Reason("spinning", f"spin-wait: {' and '.join(spinning)}")
    if first.affinity != second.affinity:
        bound = (_joined(chosen.affinity) or "any" for chosen in settings)
        yield Reason("affinity", f"cores: {' and '.join(bound)}")
    if first.input_data != second.input_data:
        data = (chosen.input_data or "random" for chosen in settings)
        yield Reason("data", f"inputs from: {' and '.join(data)}")


def _inputs(case: Case) -> list[str]:
    # Names may differ between two exports of one model; shapes and types decide the work.
    return [
        f"{case.dtypes[name]} {'x'.join(map(str, shape)) or 'scalar'}"
        for name, shape in case.inputs.items()
    ]


def _governors(report: BenchReport) -> str | None:
    names = {clock.governor for clock in report.before.clocks if clock.governor}
    return ", ".join(sorted(names)) or None


def _highest_clock(report: BenchReport) -> int | None:
    known = [clock.max_hz for clock in report.before.clocks if clock.max_hz is not None]
    return max(known) // 1_000_000 if known else None


def _container(report: BenchReport) -> str | None:
    return "none" if report.host.container == "" else report.host.container


def _joined(values: tuple[object, ...] | None) -> str | None:
    return None if values is None else ", ".join(map(str, values))
