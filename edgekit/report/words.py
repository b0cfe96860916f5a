"""Numbers in words, as the latency tables and pages show them."""

from __future__ import annotations

MISSING = "not available"
_GIGABYTE = 1e9


def milliseconds(seconds: float | None) -> str:
    """A time in milliseconds: to the microsecond below 10 ms, to a tenth above; "-" for None."""
    if seconds is None:
        return "-"
    value = 1000 * seconds
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def megabytes(size: float | None) -> str:
    """A size in MB of 10^6 bytes, or in GB from a thousand of them on, to a tenth."""
    if size is None:
        return MISSING
    return f"{size / 1e6:.1f} MB" if size < _GIGABYTE else f"{size / _GIGABYTE:.1f} GB"


def count(number: int, noun: str) -> str:
    """A number and what it counts: `1 thread`, `2 threads`, `1,000 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def or_missing(value: object) -> str:
    """The value as text; MISSING for None."""
    return MISSING if value is None else str(value)
