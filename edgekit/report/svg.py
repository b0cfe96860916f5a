"""Small parts of pictures in SVG: elements, axes, scales. Every text is escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape


def tag(name: str, *children: str, **attributes: object) -> str:
    """An element. children: elements, or text from `words`. attributes: `class_` and `font_size`
    become class and font-size; None leaves one out; numbers keep two decimals.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(children)
    return f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>"


def words(text: str) -> str:
    """Text as it may stand in an element."""
    return escape(text)


def picture(width: float, height: float, title: str, *children: str) -> str:
    """A whole picture that grows and shrinks with the page. title: what it shows, for those who
    don't see it.
    """
    return tag(
        "svg",
        tag("title", words(title)),
        *children,
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        role="img",
        xmlns="http://www.w3.org/2000/svg",
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """From values low..high to places start..end; by their logarithms where `log`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; one outside goes to the nearer end."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """Round values inside, about as many as asked for."""
        return _log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high, count)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between low and high."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [size * 10.0**power for power in powers for size in (1, 2, 5)]
    return [value for value in found if low <= value <= high]


def bottom_axis(scale: Scale, y: float, label: Callable[[float], str], count: int = 4) -> str:
    """A line with ticks and their labels below."""
    parts = [tag("line", class_="axis", x1=scale.start, x2=scale.end, y1=y, y2=y)]
    for value in scale.ticks(count):
        x = scale(value)
        parts += [
            tag("line", class_="axis", x1=x, x2=x, y1=y, y2=y + 4),
            tag("text", words(label(value)), class_="tick", x=x, y=y + 15, text_anchor="middle"),
        ]
    return "".join(parts)


def left_axis(
    scale: Scale, x: float, right: float, label: Callable[[float], str], count: int = 3
) -> str:
    """Labels at the left of faint lines to `right`."""
    parts = []
    for value in scale.ticks(count):
        y = scale(value)
        parts += [
            tag("line", class_="grid", x1=x, x2=right, y1=y, y2=y),
            tag("text", words(label(value)), class_="tick", x=x - 5, y=y + 4, text_anchor="end"),
        ]
    return "".join(parts)


def line(points: Sequence[tuple[float, float]], **attributes: object) -> str:
    """A line through points; a single one becomes a dot."""
    if len(points) == 1:
        ((x, y),) = points
        return tag("circle", cx=x, cy=y, r=2, **attributes)
    joined = " ".join(f"{_short(x)},{_short(y)}" for x, y in points)
    return tag("polyline", points=joined, **attributes)


def plain(value: float) -> str:
    """A tick's number without an exponent and without zeros at its end."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return text if text not in {"", "-0"} else "0"


def cut(text: str, most: float) -> str:
    """Text of this width at most, its middle left out, because names differ at their ends."""
    if width(text) <= most:
        return text
    kept = len(text) - 1
    while kept > 1 and width(_ends(text, kept)) > most:
        kept -= 1
    return _ends(text, kept)


def _ends(text: str, kept: int) -> str:
    tail = kept // 2
    return f"{text[: kept - tail]}…{text[len(text) - tail :]}"


def width(text: str) -> float:
    """About how wide a text of 12 units is drawn in a common typeface without serifs."""
    narrow, wide = "ijlftrI.,:;'|!()[]- ", "mwMW@%…"
    sizes = (
        4.7 if letter in narrow else 11.5 if letter in wide else 8.4 if letter.isupper() else 7.6
        for letter in text
    )
    return sum(sizes)


def ms_tick(seconds: float) -> str:
    """A tick in milliseconds, to four digits."""
    return plain(float(f"{1000 * seconds:.4g}")) if math.isfinite(seconds) else ""


def unit_label(text: str, right: float, bottom: float) -> str:
    """What an axis counts in, in the lower right corner."""
    return tag("text", words(text), class_="tick", x=right, y=bottom - 5, text_anchor="end")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
