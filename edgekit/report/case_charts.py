"""Pictures of one case of a latency report: its layers, and how it does under load."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from edgekit.bench.findings import Endurance, Profile
from edgekit.report.latency_charts import RIGHT, WIDTH
from edgekit.report.svg import (
    Scale,
    bottom_axis,
    cut,
    left_axis,
    line,
    ms_tick,
    picture,
    plain,
    tag,
    unit_label,
    words,
)
from edgekit.report.words import milliseconds

_NAME_WIDTH = 170.0


def layer_bars(profile: Profile, series: str) -> str:
    """A bar for each layer, in the order in which they run."""
    row, left, right = 17.0, 168.0, 352.0
    longest = max((layer.seconds for layer in profile.layers), default=0.0)
    scale = Scale(0, longest or 1.0, left, right)
    parts = []
    for place, layer in enumerate(profile.layers):
        y = row * place
        said = f"{layer.name}: {layer.operator}, {milliseconds(layer.seconds)} ms"
        parts += [
            tag("text", words(cut(layer.name, _NAME_WIDTH)), class_="tick", x=left - 6, y=y + 12,
                text_anchor="end"),
            tag(
                "rect",
                tag("title", words(said)),
                class_=f"fill {series}",
                x=left,
                y=y + 2,
                width=max(0.5, scale(layer.seconds) - left),
                height=row - 5,
            ),
            tag(
                "text",
                words(milliseconds(layer.seconds)),
                class_="tick",
                x=scale(layer.seconds) + 4,
                y=y + 12,
            ),
        ]  # fmt: skip
    costliest = sorted(profile.layers, key=lambda layer: -layer.seconds)[:3]
    told = ", ".join(f"{layer.name} {profile.share(layer):.1%}" for layer in costliest)
    title = f"Time of {len(profile.layers)} layers in milliseconds; costliest: {told}"
    return picture(WIDTH, max(row, row * len(profile.layers)), title, *parts)


def under_load(endurance: Endurance, series: str) -> str:
    """Latency, temperature and clock above one another on one axis of time; what is known."""
    windows = endurance.windows
    ends = [window.end_s for window in windows]
    panels: list[tuple[str, list[tuple[str, list[float | None]]], Callable[[float], str]]] = [
        (
            "latency, ms: median, and p95 dashed",
            [
                (f"stroke {series}", [window.p50_s for window in windows]),
                (f"stroke dashed {series}", [window.p95_s for window in windows]),
            ],
            ms_tick,
        ),
        ("temperature, °C", [("stroke warm", [window.celsius for window in windows])], plain),
        (
            "clock, MHz",
            [("stroke clock", [window.clock_hz for window in windows])],
            lambda hertz: plain(hertz / 1e6),
        ),
    ]
    left, panel = 54.0, 104.0
    across = Scale(0, max(ends), left, RIGHT)
    parts, top = [], 0.0
    for title, lines, tick in panels:
        known = [value for _, values in lines for value in values if value is not None]
        if not known:
            continue
        spare = max((max(known) - min(known)) * 0.1, max(known) * 0.005)
        # One window in which a neighbour ran mustn't flatten all others.
        high = min(max(known) + spare, 3 * statistics.median(known))
        up = Scale(min(known) - spare, high, top + panel - 10, top + 24)
        parts += [
            tag("text", words(title), x=4, y=top + 13),
            left_axis(up, left, RIGHT, tick, 2),
        ]
        for style, values in lines:
            points = [
                (across(end), up(value))
                for end, value in zip(ends, values, strict=True)
                if value is not None
            ]
            parts.append(line(points, class_=style))
        top += panel
    limited = [window.end_s for window in windows if window.throttled]
    parts += [
        tag("line", class_="limited", x1=across(end), x2=across(end), y1=0, y2=top)
        for end in limited
    ]
    parts += [bottom_axis(across, top, plain), unit_label("seconds", RIGHT, top + 34)]
    way = "slower" if endurance.slowdown >= 0 else "faster"
    title = (
        f"{endurance.runs} runs in {max(ends):.0f} seconds; the last tenth "
        f"{abs(endurance.slowdown):.1%} {way} than the first"
        + (f"; the board limited itself in {len(limited)} windows" if limited else "")
    )
    return picture(WIDTH, top + 36, title, *parts)
