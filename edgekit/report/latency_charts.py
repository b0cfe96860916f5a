"""Pictures of a latency report, each an SVG of its own with its numbers told in the title.

They are drawn 400 units wide, so that their letters stay readable on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.bench.results import Case
from edgekit.report.latency_grids import percent
from edgekit.report.svg import (
    Scale,
    bottom_axis,
    cut,
    left_axis,
    ms_tick,
    picture,
    plain,
    tag,
    unit_label,
    width,
    words,
)
from edgekit.report.words import milliseconds

WIDTH = 400.0
SERIES = 8
"""Colours of the style sheet, s0 to s7; later series begin again."""

LEFT, RIGHT = 8.0, 392.0
_ROW = 72.0
_BINS = 56
_LOG_FROM = 5.0
"""Where the slowest is this many times the fastest, an axis goes by logarithms."""

_FEW_BYTES = 2e6
"""Sizes below are told in kB."""

_SMALL = 11 / 12
"""Letters of ticks, by the style sheet, to those of names."""

_MOST_DOTS = 1000


@dataclass(frozen=True, slots=True)
class Named:
    """A case with what it is called on the page. number: its row in the summary, from 1."""

    number: int
    name: str
    case: Case

    @property
    def series(self) -> str:
        """The class of its colour."""
        return f"s{(self.number - 1) % SERIES}"

    @property
    def label(self) -> str:
        """Number and name."""
        return f"{self.number} {self.name}"


def distributions(cases: Sequence[Named]) -> str:
    """How often which time was measured, a row a case on one axis up to the largest p99."""
    low = min(each.case.warm.min_s for each in cases)
    high = max(each.case.warm.p99_s for each in cases)
    high = high if high > low else low * 1.01
    scale = Scale(low, high, LEFT, RIGHT, log=high / low > _LOG_FROM)
    height = _ROW * len(cases) + 36
    parts = []
    for row, each in enumerate(cases):
        base = _ROW * (row + 1)
        beyond = sum(time > high for time in each.case.times_s)
        said = f"{milliseconds(each.case.warm.p50_s)} ms"
        said += f", {beyond} beyond" if beyond else ""
        places = [scale(time) for time in each.case.times_s if time <= high]
        counts, edges = np.histogram(places, _BINS, (scale.start, scale.end))
        unit = (_ROW - 28) / max(1, counts.max())
        bars = [
            tag(
                "rect",
                x=float(left),
                y=base - float(count) * unit,
                width=float(right - left) - 0.6,
                height=float(count) * unit,
            )
            for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True)
            if count
        ]
        middle = scale(each.case.warm.p50_s)
        parts += [
            tag("g", *bars, class_=f"fill {each.series}"),
            tag("line", class_="axis", x1=LEFT, x2=RIGHT, y1=base, y2=base),
            tag("line", class_="median", x1=middle, x2=middle, y1=base - _ROW + 26, y2=base),
            _heading(each, said, base - _ROW + 19),
        ]
    parts.append(bottom_axis(scale, height - 34, ms_tick))
    parts.append(unit_label("ms", RIGHT, height))
    told = "; ".join(f"{each.name} {_summary(each.case)}" for each in cases)
    return picture(WIDTH, height, f"Histogram of warm runs: {told}", *parts)


def in_order(cases: Sequence[Named]) -> str:
    """Every run where it was made: drift and disturbances show. A dot at the top edge is beyond."""
    parts = []
    for row, each in enumerate(cases):
        base, warm = _ROW * (row + 1), each.case.warm
        top = max(warm.p99_s, warm.min_s * 1.05)
        across = Scale(0, max(1, warm.count - 1), LEFT + 2, RIGHT - 2)
        up = Scale(warm.min_s, top, base - 5, base - _ROW + 29)
        step = max(1, warm.count // _MOST_DOTS)
        dots = "".join(
            f"M{across(place):.1f} {up(time):.1f}h.01"
            for place, time in enumerate(each.case.times_s)
            if place % step == 0
        )
        said = f"{milliseconds(warm.min_s)} to {milliseconds(top)} ms"
        parts += [
            tag("path", class_=f"dots {each.series}", d=dots),
            tag("line", class_="axis", x1=LEFT, x2=RIGHT, y1=base, y2=base),
            _heading(each, said, base - _ROW + 19),
        ]
    told = "; ".join(
        f"{each.name}: second half {abs(each.case.drift):.1%} "
        f"{'slower' if each.case.drift > 0 else 'faster'} than the first"
        for each in cases
    )
    height = _ROW * len(cases) + 8
    return picture(WIDTH, height, f"Warm runs in order of time: {told}", *parts)


def cold_starts(cases: Sequence[Named]) -> str:
    """Stacked bars: decoding, making the session, first answer; of the start in the middle."""
    stages = ("decode", "session", "first run")
    times: dict[int, tuple[float, ...]] = {}
    for each in cases:
        # Of one start and not medians of each stage, which don't add up.
        ordered = sorted(each.case.cold, key=lambda start: start.load_s)
        middle = ordered[len(ordered) // 2]
        times[each.number] = (middle.decode_s or 0.0, middle.session_s, middle.first_run_s)
    longest = max(sum(parts) for parts in times.values())
    scale = Scale(0, longest, LEFT, RIGHT)
    parts, x = [], LEFT
    for place, stage in enumerate(stages):
        parts += [
            tag("rect", class_=f"fill stage{place}", x=x, y=4, width=11, height=11),
            tag("text", words(stage), class_="tick", x=x + 16, y=14),
        ]
        x += 32 + 7.0 * len(stage)
    row = 44.0
    for index, each in enumerate(cases):
        top = 26 + row * index
        total = milliseconds(sum(times[each.number]))
        parts += [
            _heading(each, f"{total} ms", top + 12),
        ]
        before = 0.0
        for place, seconds in enumerate(times[each.number]):
            start, end = scale(before), scale(before + seconds)
            if end > start:
                parts.append(
                    tag(
                        "rect",
                        class_=f"fill stage{place}",
                        x=start,
                        y=top + 17,
                        width=max(0.5, end - start - 0.5),
                        height=15,
                    )
                )
            before += seconds
    height = 26 + row * len(cases) + 30
    parts += [bottom_axis(scale, height - 34, ms_tick), unit_label("ms", RIGHT, height)]
    told = "; ".join(
        f"{each.name} "
        + ", ".join(
            f"{stage} {milliseconds(seconds)} ms"
            for stage, seconds in zip(stages, times[each.number], strict=True)
        )
        for each in cases
    )
    return picture(WIDTH, height, f"Cold starts: {told}", *parts)


@dataclass(frozen=True, slots=True)
class _Quantity:
    """What goes up in a picture of sizes: its values, how they are told, and its axis."""

    of: Callable[[Case], float]
    told: Callable[[float], str]
    tick: Callable[[float], str]
    unit: str
    low: float
    high: float


def size_against_latency(cases: Sequence[Named]) -> str:
    """File size across, warm median up; both from zero."""
    latency = _Quantity(
        of=lambda case: case.warm.p50_s,
        told=lambda seconds: f"{milliseconds(seconds)} ms",
        tick=ms_tick,
        unit="p50, ms",
        low=0.0,
        high=1.15 * max(each.case.warm.p50_s for each in cases),
    )
    return _scatter(cases, latency, "Size and warm median")


def size_against_accuracy(cases: Sequence[Named]) -> str:
    """File size across, top-1 accuracy up; the latter not from zero."""
    # One file on several threads is one point.
    known = list({each.case.sha256: each for each in reversed(cases)}.values())[::-1]
    known = [each for each in known if each.case.accuracy is not None]
    shares = [_top1(each.case) for each in known]
    spare = max(0.002, (max(shares) - min(shares)) * 0.3)
    top1 = _Quantity(
        of=_top1,
        told=percent,
        tick=lambda share: plain(round(100 * share, 4)),
        unit="top-1, %",
        low=max(0.0, min(shares) - spare),
        high=min(1.0, max(shares) + spare),
    )
    return _scatter(known, top1, "Size and accuracy")


def _top1(case: Case) -> float:
    return 0.0 if case.accuracy is None else case.accuracy.top1


def _scatter(cases: Sequence[Named], quantity: _Quantity, title: str) -> str:
    height, left = 230.0, 54.0
    across = Scale(0, max(each.case.file_bytes for each in cases) * 1.1, left, RIGHT)
    up = Scale(quantity.low, quantity.high, height - 40, 24)
    scale, name = (1e3, "kB") if across.high < _FEW_BYTES else (1e6, "MB")
    parts = [
        tag("text", words(quantity.unit), class_="tick", x=4, y=12),
        left_axis(up, left, RIGHT, quantity.tick),
        bottom_axis(across, height - 40, lambda size: plain(size / scale)),
        unit_label(f"file, {name}", RIGHT, height),
    ]
    for each in cases:
        x, y = across(each.case.file_bytes), up(quantity.of(each.case))
        parts += [
            tag("circle", class_=f"fill {each.series}", cx=x, cy=y, r=9),
            tag("text", str(each.number), class_="number", x=x, y=y + 4, text_anchor="middle"),
        ]
    told = "; ".join(
        f"{each.name} {each.case.file_bytes:,} bytes, {quantity.told(quantity.of(each.case))}"
        for each in cases
    )
    return picture(WIDTH, height, f"{title}: {told}", *parts)


def _heading(each: Named, said: str, y: float) -> str:
    """A case's name at the left and a few words at the right, the name cut so that both fit."""
    room = RIGHT - LEFT - 10 - width(said) * _SMALL
    return tag("text", words(cut(each.label, room)), x=LEFT, y=y) + tag(
        "text", words(said), class_="tick", x=RIGHT, y=y, text_anchor="end"
    )


def _summary(case: Case) -> str:
    warm = case.warm
    return f"median {milliseconds(warm.p50_s)}, p95 {milliseconds(warm.p95_s)} ms"
