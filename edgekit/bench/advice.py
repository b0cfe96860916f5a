"""What to expect of a processor and of a machine's state, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from edgekit.bench.host import Cpu, Host
from edgekit.bench.state import State

NOT_AVAILABLE = "not available"

WARM_CELSIUS = 70.0
HOT_CELSIUS = 80.0
"""A Raspberry Pi lowers its clock from 80 degrees on; few boards do so earlier."""

_STALLED = 0.01
_BUSY = 0.1

_PERFORMANCE = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


class Verdict(StrEnum):
    """What to think of one finding."""

    OK = "ok"
    NOTE = "note"
    """Works; something better is possible, or good to know."""
    WARNING = "warning"
    """Works; measurements made now tell little."""
    BROKEN = "broken"
    """Models can't be run here."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do where that isn't right."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def speed_checks(host: Host) -> Iterator[Check]:
    """The processor, and how int8 compares with float on it."""
    cpu = host.cpu
    cores = f"{cpu.usable or '?'} of {cpu.cores or '?'} cores usable"
    yield Check("processor", Verdict.OK, f"{cpu.model or cpu.architecture}, {cores}")
    if cpu.flags is None:
        yield Check("features", Verdict.UNKNOWN, NOT_AVAILABLE)
        return
    yield Check("features", Verdict.OK, ", ".join(cpu.flags) or "none that matter")
    yield _int8(cpu)


def _int8(cpu: Cpu) -> Check:
    """By the kernels that onnxruntime has for each feature; the most capable one first."""
    flags = set(cpu.flags or ())
    if flags & {"avx512_vnni", "avx_vnni", "amx_int8"}:
        return Check(
            "int8",
            Verdict.OK,
            "fast: VNNI",
            "quantize as U8S8, weights per channel: with S8S8 many convolutions stay in float "
            "kernels, and U8U8 misses the fast one",
        )
    if flags & {"avx2", "avx512f"}:
        return Check(
            "int8",
            Verdict.NOTE,
            "some gain over float, less than with VNNI",
            "only U8S8 gains; it adds pairs of products in 16 bits, which can saturate and spoil "
            "answers: keep weights to 7 bits, or compare with edgekit verify; S8S8 and U8U8 take "
            "as long as float",
        )
    if "i8mm" in flags or "asimddp" in flags:
        feature = "i8mm" if "i8mm" in flags else "dotprod"
        return Check("int8", Verdict.OK, f"expected to be fast: {feature}")
    if "asimd" in flags:
        return Check(
            "int8",
            Verdict.NOTE,
            "little gain over float expected: no dotprod",
            "as on a Raspberry Pi 3 or 4; a packed float model is as small on disk: measure both "
            "with edgekit bench",
        )
    return Check(
        "int8",
        Verdict.NOTE,
        "slow: no vector unit that onnxruntime has int8 kernels for",
        "use the float form",
    )


def power_checks(host: Host, state: State) -> Iterator[Check]:
    """Clocks, heat, supply, memory and load: whether a measurement made now would say much."""
    yield _governor(state)
    yield _temperature(state)
    yield _throttling(state)
    yield _supply(state)
    yield _memory(host, state)
    yield _load(host, state)


def _governor(state: State) -> Check:
    governors = sorted({clock.governor for clock in state.clocks if clock.governor is not None})
    if not governors:
        return Check("governor", Verdict.UNKNOWN, NOT_AVAILABLE)
    top = max((clock.max_hz for clock in state.clocks if clock.max_hz is not None), default=None)
    found = ", ".join(governors) + ("" if top is None else f", up to {top / 1e6:.0f} MHz")
    if governors == ["performance"]:
        return Check("governor", Verdict.OK, found)
    return Check(
        "governor", Verdict.NOTE, found, f"the clock follows the load; to compare: {_PERFORMANCE}"
    )


def _temperature(state: State) -> Check:
    readings = [(zone.celsius, zone.kind) for zone in state.zones if zone.celsius is not None]
    if not readings:
        return Check("temperature", Verdict.UNKNOWN, NOT_AVAILABLE)
    celsius, kind = max(readings)
    found = f"{celsius:.0f} °C ({kind})"
    if celsius >= HOT_CELSIUS:
        return Check("temperature", Verdict.WARNING, found, "let it cool, or add a fan")
    if celsius >= WARM_CELSIUS:
        return Check("temperature", Verdict.NOTE, found, "warm already: long runs may throttle")
    return Check("temperature", Verdict.OK, found)


def _throttling(state: State) -> Check:
    if state.throttle is None:
        return Check("throttling", Verdict.UNKNOWN, NOT_AVAILABLE)
    if state.throttle.now:
        found = f"now: {', '.join(state.throttle.now)}"
        advice = "cool the board and use the power supply made for it"
        return Check("throttling", Verdict.WARNING, found, advice)
    if state.throttle.since_boot:
        found = f"not now; since boot: {', '.join(state.throttle.since_boot)}"
        return Check("throttling", Verdict.NOTE, found, "it may come back under load")
    return Check("throttling", Verdict.OK, "none since boot")


def _supply(state: State) -> Check:
    if state.under_voltage is None:
        return Check("supply", Verdict.UNKNOWN, NOT_AVAILABLE)
    if state.under_voltage:
        advice = "use the power supply made for the board, and a short cable"
        return Check("supply", Verdict.WARNING, "voltage too low", advice)
    return Check("supply", Verdict.OK, "voltage in order")


def _memory(host: Host, state: State) -> Check:
    if host.memory_bytes is None or state.memory_available_bytes is None:
        return Check("memory", Verdict.UNKNOWN, NOT_AVAILABLE)
    free, total = state.memory_available_bytes / 1e9, host.memory_bytes / 1e9
    found = f"{free:.1f} of {total:.1f} GB free"
    if state.memory_stalled is not None and state.memory_stalled > _STALLED:
        found += f", tasks waited for it {state.memory_stalled:.0%} of the time"
        return Check("memory", Verdict.WARNING, found, "end programs that use much memory")
    return Check("memory", Verdict.OK, found)


def _load(host: Host, state: State) -> Check:
    if state.load is None:
        return Check("load", Verdict.UNKNOWN, NOT_AVAILABLE)
    found = f"{state.load:.2f} tasks in the last minute"
    if host.cpu.cores is not None and state.load > max(0.5, _BUSY * host.cpu.cores):
        return Check("load", Verdict.WARNING, found, "other programs are running: wait for them")
    return Check("load", Verdict.OK, found)
