"""The pictures of benchmarks/deep_compression.py, as SVG files that stand alone, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.report.svg import Scale, bottom_axis, left_axis, picture, plain, tag, width, words

WIDTH = 720.0
LEFT, RIGHT = 56.0, 704.0
_NAMES = 92.0
"""The left side where rows have names."""
_BINS = 120
_SHORT_GAPS = 32
"""Longer gaps are drawn together."""
_ABOVE = (1, 2)
"""Series whose points are named above them; the others below."""
_RAISED = {1: 18}
"""Of these two, one stands higher, since their points may fall together."""
_LOWEST = 0.08
"""Accuracies further below the float model's are drawn at the edge, hollow."""

STYLE = """
svg { --back: #fff; --ink: #16181d; --soft: #555b66; --edge: #d4d8de;
  --s0: #0b62c4; --s1: #c2410c; --s2: #15803d; --s3: #7e22ce;
  font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
@media (prefers-color-scheme: dark) { svg { --back: #111317; --ink: #e8eaee; --soft: #a5acb8;
  --edge: #363b45; --s0: #6aa9ff; --s1: #ff9a62; --s2: #5fd08a; --s3: #c79bff; } }
.back { fill: var(--back); }
text { font-size: 13px; fill: var(--ink); }
.tick { font-size: 11px; fill: var(--soft); }
.setting { font-size: 11px; stroke: var(--back); stroke-width: 3; paint-order: stroke; }
.axis { stroke: var(--soft); }
.grid { stroke: var(--edge); }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); }
.line { fill: none; stroke-width: 2; }
.line.s0, .hollow.s0 { stroke: var(--s0); } .line.s1, .hollow.s1 { stroke: var(--s1); }
.line.s2, .hollow.s2 { stroke: var(--s2); } .line.s3, .hollow.s3 { stroke: var(--s3); }
.line, .hollow { fill: none; }
.hollow { stroke-width: 1.75; }
.dashed { stroke-dasharray: 5 4; }
.thin { stroke-width: 1; }
"""

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """A layer's weights (n,) before and after pruning, its codes (n,) uint8, and what they mean.

    untuned, tuned: (k,) shared values as k-means finds them and as training leaves them; the
    first one is the pruned weights' zero.
    """

    layer: str
    before: Numbers
    pruned: Numbers
    codes: NDArray[np.uint8]
    untuned: Numbers
    tuned: Numbers

    @property
    def sparsity(self) -> float:
        """Share of weights that are pruned."""
        return float(np.mean(self.pruned == 0))

    def edges(self) -> NDArray[np.float64]:
        """Of the bins, which hold all shared values and all but a few of the weights."""
        reach = max(
            float(np.quantile(np.abs(self.before), 0.999)),
            float(np.abs(self.untuned).max()),
            float(np.abs(self.tuned).max()),
        )
        return np.linspace(-reach, reach, _BINS + 1)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Histograms before pruning, and of what is left after it."""
        edges = self.edges()
        before, left = (
            np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
            for values in (self.before, self.pruned[self.pruned != 0])
        )
        return before, left

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        before, pruned = self.counts()
        return {
            "name": self.layer,
            "weights": self.before.size,
            "sparsity": self.sparsity,
            "bin_edges": self.edges().tolist(),
            "before": before.tolist(),
            "pruned_without_zeros": pruned.tolist(),
            "values_before_tuning": self.untuned.tolist(),
            "values_after_tuning": self.tuned.tolist(),
            "weights_by_value": np.bincount(self.codes, minlength=self.tuned.size).tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Symbols:
    """A stream of symbols: counts (256,), lengths (256,) of their Huffman codes, bits a symbol.

    fixed_bits: of codes of one length that reach the largest symbol.
    """

    name: str
    counts: NDArray[np.int64]
    lengths: NDArray[np.uint8]
    mean_bits: float
    entropy_bits: float
    fixed_bits: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, up to the last symbol that occurs."""
        used = int(np.flatnonzero(self.counts)[-1]) + 1
        return {
            "name": self.name,
            "symbols": int(self.counts.sum()),
            "counts": self.counts[:used].tolist(),
            "code_lengths": self.lengths[:used].tolist(),
            "huffman_bits": self.mean_bits,
            "entropy_bits": self.entropy_bits,
            "fixed_bits": self.fixed_bits,
        }


def weights_figure(walk: Walk) -> str:
    """Histograms of a layer's weights, one below the other on one axis, and its shared values."""
    edges = walk.edges()
    before, pruned = walk.counts()
    across = Scale(float(edges[0]), float(edges[-1]), _NAMES, RIGHT)
    by_value = np.bincount(walk.codes, minlength=walk.tuned.size)
    zeros = f"{walk.sparsity:.1%} are zero and not drawn"
    parts = [
        _panel(across, before, f"before: {walk.before.size:,} weights", base=170, series="s0"),
        _panel(across, pruned, f"pruned and retrained: {zeros}", base=350, series="s1"),
    ]
    base = 530.0
    up = Scale(0, float(by_value[1:].max()) * 1.05, base, base - 118)
    parts += [
        left_axis(up, _NAMES, RIGHT, plain),
        tag(
            "text",
            words(f"sharing {walk.tuned.size} values, tuned; the zero isn't drawn"),
            x=_NAMES,
            y=base - 134,
        ),
        *(
            tag("rect", class_="s2", x=across(v) - 3, y=up(n), width=6.0, height=base - up(n))
            for v, n in _pairs(walk.tuned[1:], by_value[1:])
        ),
        tag("line", class_="axis", x1=_NAMES, x2=RIGHT, y1=base, y2=base),
        bottom_axis(across, base + 62, plain, 8),
        tag("text", words("before tuning"), class_="tick", x=4, y=base + 21),
        tag("text", words("after"), class_="tick", x=4, y=base + 47),
    ]
    for start, end in _pairs(walk.untuned, walk.tuned):
        parts += [
            tag(
                "line",
                class_="grid",
                x1=across(start),
                x2=across(end),
                y1=base + 17,
                y2=base + 43,
            ),
            tag("circle", class_="hollow s3", cx=across(start), cy=base + 17, r=4),
            tag("circle", class_="s2", cx=across(end), cy=base + 43, r=4),
        ]
    parts.append(tag("text", words("weight"), class_="tick", x=RIGHT, y=626, text_anchor="end"))
    told = (
        f"{walk.before.size} weights of {walk.layer}: before, after pruning and retraining "
        f"({zeros}), and sharing {walk.tuned.size} values, which tuning moves"
    )
    return _alone(636, told, parts)


def symbols_figure(layer: str, values: Symbols, gaps: Symbols) -> str:
    """How often each shared value and each gap occurs, and how long its Huffman code is."""
    last = int(np.flatnonzero(values.counts)[-1])
    far = int(np.flatnonzero(gaps.counts)[-1])
    shown = min(far, _SHORT_GAPS)
    parts = [
        *_stream(values, (LEFT, 340.0), range(1, last + 1), "shared values, by code"),
        *_stream(
            gaps,
            (410.0, RIGHT),
            range(shown + 1),
            "zeros before a kept weight" + (f", up to {shown} of {far}" if shown < far else ""),
        ),
    ]
    told = f"Symbols of {layer}: " + "; ".join(
        f"{each.name}s take {each.mean_bits:.2f} bits on average by Huffman's code, "
        f"{each.fixed_bits} at a fixed width"
        for each in (values, gaps)
    )
    return _alone(420, told, parts)


def accuracy_figure(
    points: Sequence[tuple[str, str, float, float]], float_top1: float, images: int
) -> str:
    """Accuracy against ratio. points: series, setting, ratio, top-1 of the test images."""
    names = list(dict.fromkeys(series for series, *_ in points))
    ratios = [ratio for *_, ratio, _ in points]
    low = max(min(top1 for *_, top1 in points), float_top1 - _LOWEST)
    high = max(float_top1, *(top1 for *_, top1 in points))
    across = Scale(min(ratios) * 0.9, max(ratios) * 1.35, LEFT, RIGHT, log=True)
    up = Scale(low - 0.006, high + 0.004, 380, 60)
    parts = [
        left_axis(up, LEFT, RIGHT, lambda share: plain(round(100 * share, 2)), 8),
        bottom_axis(across, 380, lambda ratio: f"{plain(ratio)}x"),
        tag(
            "line",
            class_="axis dashed",
            x1=LEFT,
            x2=RIGHT,
            y1=up(float_top1),
            y2=up(float_top1),
        ),
        tag(
            "text",
            words(f"float {float_top1:.2%}"),
            class_="tick",
            x=RIGHT,
            y=up(float_top1) - 5,
            text_anchor="end",
        ),
        tag("text", words(f"top-1 of {images:,} images, %"), class_="tick", x=4, y=48),
        tag(
            "text",
            words("float ONNX file over finished packed file"),
            class_="tick",
            x=RIGHT,
            y=412,
            text_anchor="end",
        ),
    ]
    named: list[str] = []
    x = LEFT
    for place, name in enumerate(names):
        own = [(setting, r, t) for series, setting, r, t in points if series == name]
        parts += [
            tag("circle", class_=f"s{place}", cx=x + 5, cy=18, r=5),
            tag("text", words(name), x=x + 16, y=22),
            tag(
                "polyline",
                class_=f"line s{place}",
                points=" ".join(f"{across(r):.1f},{up(t):.1f}" for _, r, t in own),
            ),
        ]
        x += 40 + width(name) * 13 / 12
        for setting, ratio, top1 in own:
            beyond = top1 < up.low
            parts.append(
                tag(
                    "circle",
                    tag("title", words(f"{name}, {setting}: {ratio:.2f}x, {top1:.2%}")),
                    class_=f"{'hollow ' if beyond else ''}s{place}",
                    cx=across(ratio),
                    cy=up(top1),
                    r=4.5,
                )
            )
            named.append(_setting(setting, across(ratio), up(top1), place))
    told = "; ".join(f"{s} {setting} {ratio:.1f}x {top1:.2%}" for s, setting, ratio, top1 in points)
    # Words come last, so that no line crosses them.
    return _alone(420, f"Accuracy against ratio: {told}", [*parts, *named])


def _setting(setting: str, x: float, y: float, place: int) -> str:
    """A point's few words in its series' colour, off the line that goes down to the right."""
    is_above = place in _ABOVE
    return tag(
        "text",
        words(setting),
        class_=f"setting s{place}",
        x=x + 7 if is_above else x - 7,
        y=y - _RAISED.get(place, 6) if is_above else y + 15,
        text_anchor=None if is_above else "end",
    )


def _panel(
    across: Scale, counts: NDArray[np.int64], heading: str, *, base: float, series: str
) -> str:
    up = Scale(0, float(counts.max()) * 1.05, base, base - 118)
    thick = (across.end - across.start) / counts.size
    bars = [
        tag(
            "rect",
            class_=series,
            x=across.start + place * thick,
            y=up(count),
            width=thick - 0.5,
            height=base - up(count),
        )
        for place, count in enumerate(counts.tolist())
        if count
    ]
    return "".join(
        [
            left_axis(up, across.start, across.end, plain),
            tag("text", words(heading), x=across.start, y=base - 134),
            *bars,
            tag("line", class_="axis", x1=across.start, x2=across.end, y1=base, y2=base),
        ]
    )


def _stream(
    symbols: Symbols, sides: tuple[float, float], shown: range, heading: str
) -> Iterable[str]:
    """Two panels: shares above, lengths of codes below."""
    left, right = sides
    # Bars stand around whole numbers.
    across = Scale(shown.start - 0.5, shown.stop - 0.5, left, right)
    thick = (right - left) / len(shown) - 1
    shares = symbols.counts / max(1, int(symbols.counts.sum()))
    longest = max(int(symbols.lengths[list(shown)].max()), symbols.fixed_bits)
    up = Scale(0, float(shares.max()) * 1.05, 200, 60)
    high = Scale(0, longest + 1, 370, 260)

    def bars(heights: NDArray[Any], scale: Scale, series: str) -> Iterable[str]:
        for symbol in shown:
            top = scale(float(heights[symbol]))
            if heights[symbol]:
                yield tag(
                    "rect",
                    class_=series,
                    x=across(symbol) - thick / 2,
                    y=top,
                    width=thick,
                    height=scale.start - top,
                )

    def percent(share: float) -> str:
        return plain(round(100 * share, 2))

    yield tag("text", words(heading), x=left, y=20)
    yield tag("text", words("share of symbols, %"), class_="tick", x=left, y=42)
    yield left_axis(up, left, right, percent, 4)
    yield from bars(shares, up, "s0")
    yield _whole_axis(across, 200, shown)
    said = f"bits a code: {symbols.mean_bits:.2f} on average, {symbols.fixed_bits} at fixed width"
    yield tag("text", words(said), class_="tick", x=left, y=242)
    yield left_axis(high, left, right, plain)
    yield from bars(symbols.lengths, high, "s1")
    for value, look in ((symbols.mean_bits, "line s2"), (symbols.fixed_bits, "line s3 dashed")):
        y = high(value)
        yield tag("line", class_=look, x1=left, x2=right, y1=y, y2=y)
    yield _whole_axis(across, 370, shown)
    keys = ((left, "line s2", "average"), (left + 110, "line s3 dashed", "fixed width"))
    for x, look, word in keys:
        yield tag("line", class_=look, x1=x, x2=x + 24, y1=406, y2=406)
        yield tag("text", words(word), class_="tick", x=x + 30, y=410)


def _whole_axis(across: Scale, y: float, shown: range) -> str:
    step = max(1, -(-len(shown) // 8))

    return tag("line", class_="axis", x1=across.start, x2=across.end, y1=y, y2=y) + "".join(
        tag(
            "text",
            words(plain(symbol)),
            class_="tick",
            x=across(symbol),
            y=y + 15,
            text_anchor="middle",
        )
        for symbol in shown[::step]
    )


def _pairs(first: NDArray[Any], second: NDArray[Any]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(first, second, strict=True)]


def _alone(height: float, told: str, parts: Iterable[str]) -> str:
    """A file of its own, with its colours and its background."""
    back = tag("rect", class_="back", width=WIDTH, height=height)
    return picture(WIDTH, height, told, tag("style", STYLE), back, *parts) + "\n"
